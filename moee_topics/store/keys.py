"""What a folder of the store is named by: the digest of its key. Its documents are named by their content hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

# The store and a corpus must name a text alike.
from moee_topics.corpus import HASH_BYTES as HASH_BYTES
from moee_topics.corpus import content_hash as content_hash
from moee_topics.errors import StoreError

AS_IN_0_1_0 = {"sort_keys": True, "ensure_ascii": True}  # how its key.json and index.json are written
JSON: TypeAlias = "str | int | float | bool | Sequence[JSON] | Mapping[str, JSON] | None"


def key_digest(key: Mapping[str, JSON]) -> str:
    """The name of a key's folder: 32 hexadecimal digits that do not depend on the order of its entries."""
    return hashlib.blake2b(canonical(key), digest_size=16).hexdigest()


def plain(key: Mapping[str, JSON]) -> Any:
    """The key as it comes back from JSON, tuples as lists."""
    return json.loads(canonical(key))


def canonical(key: Mapping[str, JSON]) -> bytes:
    """The key as JSON with its entries in order.

    Raises:
        StoreError: it holds something that JSON does not.
    """
    try:
        return json.dumps(key, sort_keys=True, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise StoreError(f"A store's key holds text, numbers, booleans and lists of them only: {error}.") from error
