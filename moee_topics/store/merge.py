"""Several stores of one way of encoding become one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moee_topics.errors import InputError, StoreError
from moee_topics.progress import Progress
from moee_topics.remote import is_remote, local_copy
from moee_topics.store.files import atomic_path
from moee_topics.store.key_file import fewest_differences, stored_keys
from moee_topics.store.keys import JSON, key_digest
from moee_topics.store.shard import DamagedShard, Shard, ShardFile
from moee_topics.store.store import EmbeddingStore


@dataclass(frozen=True)
class MergedStore:
    """What became of the stores of one key.

    Attributes:
        folder: of the target.
        documents: that it holds now.
        new: those of them that it did not hold before.
        damaged: shards of the sources that were left out, each after the folder it is in.
    """

    folder: Path
    documents: int
    new: int
    damaged: list[tuple[Path, DamagedShard]]


def merge_stores(target: Path, sources: Sequence[Path | str], *, progress: Progress | None = None) -> list[MergedStore]:
    """Copies what other stores hold into one; the others stay as they are.

    A source may hold other views of the same pass than the target: each view is merged by itself, and documents that
    lack one have it made when it is asked for. A shard whose documents the target lacks keeps its bytes. Stopped at
    any moment and begun again, it goes on where it was. Every byte of the sources is read.

    Args:
        target: root folder of a store; a new one is made.
        sources: root folders of others, or addresses of an object store, of which a copy is made for the time.
        progress: is told how many shards have been looked at.

    Returns:
        An entry for each way of encoding, and each view of it.

    Raises:
        InputError: a source holds nothing, or is the target.
        StoreError: the stores were not encoded alike, or another process writes to the target.
        ResourceError: the disk is full.
    """
    keys = {key_digest(key): key for key in stored_keys(target)}
    folders = [local_copy(str(source)) if is_remote(source) else Path(source) for source in sources]
    for source, folder in zip(sources, folders, strict=True):
        if folder.resolve() == target.resolve():
            raise InputError(f"{source} cannot be merged into itself. Name the others alone.")
        keys_of_source = stored_keys(folder)
        if not keys_of_source:
            raise InputError(f"{source} holds no embeddings. Expected the --output of moee-topics embed.")
        keys = keys or {key_digest(key): key for key in keys_of_source}
        shares_one = any(key_digest(key) in keys for key in keys_of_source)
        for key in keys_of_source:
            # Of the same pass, and named as a view of it, or lying beside one that both hold.
            if ("view" in key or shares_one) and any(_of_a_pass(key) == _of_a_pass(other) for other in keys.values()):
                keys.setdefault(key_digest(key), key)
            if key_digest(key) not in keys:
                nearest = fewest_differences(keys.values(), key)
                raise StoreError(
                    f"{source} was not encoded like what it is to be merged into ({nearest}). Nothing was changed. "
                    "Merge it into a folder of its own."
                )
    return [_merge_key(target, folders, key, progress or Progress()) for key in keys.values()]


def _of_a_pass(key: Mapping[str, JSON]) -> dict[str, JSON]:
    """A key without what tells the views of a pass apart."""
    return {name: value for name, value in key.items() if name not in ("view", "pooling")}


def _merge_key(target: Path, sources: Sequence[Path], key: Mapping[str, JSON], progress: Progress) -> MergedStore:
    folders = [source / key_digest(key) for source in sources]
    parts = [EmbeddingStore.open(folder.parent, key) for folder in folders if folder.is_dir()]
    damaged: list[tuple[Path, DamagedShard]] = []
    done, total = 0, sum(len(part.shards) for part in parts)
    with EmbeddingStore.open(target, key, writable=True) as store:
        before = len(store)
        for part in parts:
            damaged += [(part.folder, shard) for shard in part.verify()]
            for shard in part.shards:
                _copy(part, shard, store)
                done += 1
                progress.advance(done, total, "shards")
        return MergedStore(store.folder, len(store), len(store) - before, damaged)


def _copy(part: EmbeddingStore, shard: Shard, store: EmbeddingStore) -> None:
    """Puts the documents of a shard that another store lacks into it."""
    file = ShardFile.open(part.folder / shard.name)
    ids, hashes = zip(*file.documents(), strict=True)
    missing = store.missing(hashes)
    if len(missing) == len(hashes):
        with atomic_path(store.folder / shard.name, size=shard.bytes) as temporary:
            shutil.copyfile(file.path, temporary)
        store.take_in(shard)
    elif missing:  # shards of stores that were filled in other orders overlap
        rest: Any = [hashes[row] for row in missing]
        store.write(part.read(rest), [ids[row] for row in missing], rest)
