"""``key.json``: what a folder of the store was encoded with, in words; its name is the digest of it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from moee_topics.errors import StoreError
from moee_topics.messages import shortened
from moee_topics.store.files import make_folder, write_json
from moee_topics.store.keys import AS_IN_0_1_0, JSON, key_digest, plain
from moee_topics.store.lock import lock_writer, unlock_writer
from moee_topics.store.shard import Damage, ShardFile

logger = logging.getLogger(__name__)


def check_key(folder: Path, key: Mapping[str, JSON]) -> bool:
    """Whether a store names its key, which then is this one.

    Raises:
        StoreError: its key file is damaged or names another key.
    """
    path = folder / "key.json"
    try:
        named = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} is damaged ({error}). Delete it: the shards carry the key too.") from error
    if named != plain(key):
        raise StoreError(f"{path} holds another key than its folder stands for. Delete the folder or that file.")
    return True


def claim(root: Path, key: Mapping[str, JSON], beside: Sequence[Mapping[str, JSON]] = ()) -> None:
    """Makes the folder of a key in a store that several processes are about to fill.

    Raises:
        StoreError: something is stored there under a key that is neither this one nor one of ``beside``, or another
            process has the store for a minute.
    """
    make_folder(root)
    # Nodes of a cluster begin at once and may differ in what they take for granted, such as the type of the numbers.
    lock = lock_writer(root, seconds=60.0)
    try:
        expected = [plain(own) for own in (key, *beside)]
        for other in stored_keys(root):
            if other not in expected:
                raise StoreError(
                    f"{root} holds embeddings that were made with other settings ({differences(other, key)}), and all "
                    "shares of a corpus need the same. Name them in the recipe, or take another folder with --output."
                )
        folder = root / key_digest(key)
        make_folder(folder)
        if not check_key(folder, key):
            write_key(folder, key)
    finally:
        unlock_writer(root, lock)


def write_key(folder: Path, key: Mapping[str, JSON]) -> None:
    """Writes ``key.json``."""
    write_json(folder / "key.json", plain(key), **AS_IN_0_1_0)


def differences(there: Mapping[str, JSON], here: Mapping[str, JSON]) -> str:
    """The entries in which two keys differ, in words."""
    names = _differing(there, here)
    return ", ".join(f"{name} {shortened(there.get(name))} there, {shortened(here.get(name))} here" for name in names)


def fewest_differences(there: Iterable[Mapping[str, JSON]], here: Mapping[str, JSON]) -> str:
    """How the nearest of some keys differs from another, in words; empty if there are none."""
    nearest = min(there, key=lambda key: len(_differing(key, here)), default=here)
    return differences(nearest, here)


def _differing(there: Mapping[str, JSON], here: Mapping[str, JSON]) -> list[str]:
    return [name for name in sorted({*there, *here}) if there.get(name) != here.get(name)]


def stored_keys(root: Path) -> list[dict[str, Any]]:
    """The keys under which something is stored below ``root``, in the order of their folders.

    Where ``key.json`` is lost or damaged, the shards say it.
    """
    keys = []
    for folder in sorted(path for path in Path(root).glob("*") if re.fullmatch("[0-9a-f]{32}", path.name)):
        # The folder's name decides which is true: a file may have been copied in from another store.
        key = next((key for key in _named_keys(folder) if _is_named(folder, key)), None)
        if key is not None:
            keys.append(dict(key))
    return keys


def _is_named(folder: Path, key: Mapping[str, JSON]) -> bool:
    try:
        return key_digest(key) == folder.name
    except StoreError:  # JSON of Python's reader, such as NaN or half a character, that no key can hold
        return False


def _named_keys(folder: Path) -> Iterator[Mapping[str, JSON]]:
    """What ``key.json`` names, and after it each shard, opened only if it is asked for."""
    try:
        key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
        if isinstance(key, dict):
            yield key
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("%s cannot be read (%s)", folder / "key.json", error)
    for path in sorted(folder.glob("shard-*.safetensors")):
        try:
            yield ShardFile.open(path).key
        except Damage:
            continue
