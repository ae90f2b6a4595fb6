"""Keys: their digest names a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from moee_topics.errors import StoreError
from moee_topics.store import EmbeddingStore, key_digest


def test_a_key_is_its_content_not_its_order() -> None:
    assert key_digest({"a": 1, "b": [1, 2]}) == key_digest({"b": (1, 2), "a": 1})
    assert key_digest({"a": 1}) != key_digest({"a": 2})


def test_a_key_that_is_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="text, numbers"):
        EmbeddingStore.open(tmp_path, {"path": tmp_path}, writable=True)  # type: ignore[dict-item]
