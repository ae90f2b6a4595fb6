"""The store itself: the shards of one key, found by content, with an index and one writer."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from filelock import BaseFileLock
from numpy.typing import NDArray

from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError, StoreError
from moee_topics.store.files import disk_errors, make_folder, remove_leftovers, write_json
from moee_topics.store.keys import HASH_BYTES, JSON, canonical, key_digest, plain
from moee_topics.store.lock import lock_writer, unlock_writer
from moee_topics.store.shard import (
    FORMAT,
    SHARD_NAME,
    Damage,
    DamagedShard,
    Shard,
    ShardFile,
    arrays_of,
    check_lengths,
    write_shard,
)
from moee_topics.store.table import HashTable, hash_array

logger = logging.getLogger(__name__)

AS_IN_0_1_0 = {"sort_keys": True, "ensure_ascii": True}  # how its key.json and index.json are written


class EmbeddingStore:
    """The embeddings of one key on disk, found by the content of the documents.

    Use it as a context manager, or call :meth:`close` after writing. Any thread may use it.

    A shard is read through, once, before anything is said or given of its documents; those of a damaged one count as
    not stored.

    Attributes:
        folder: where the shards are.
        key: what the vectors depend on.
        damaged: the shards that were found damaged so far, by name.
    """

    def __init__(self, folder: Path, key: Mapping[str, JSON], lock: BaseFileLock | None) -> None:
        self.folder = folder
        self.key = key
        self._lock = lock
        self._mutex = threading.RLock()
        self.damaged: list[DamagedShard] = []
        self._shards: dict[str, Shard] = {}
        self._unread: set[str] = set()  # those of them that have not been read through
        self._layout: dict[str, tuple[int, ...]] = {}
        self._names: list[str] = []
        self._table = HashTable()
        self._load()

    @classmethod
    def open(cls, root: Path, key: Mapping[str, JSON], *, writable: bool = False) -> EmbeddingStore:
        """Opens the store of a key below ``root``, for one writer or any number of readers.

        Every shard's size and header are checked, and a shard that the index does not know is read through and taken
        in.

        Raises:
            StoreError: another process writes, the folder holds another key, or there is nothing to read.
            ResourceError: the disk is full.
        """
        folder = Path(root) / key_digest(key)
        if not writable:
            if not folder.is_dir():
                raise StoreError(
                    f"There are no embeddings for {canonical(key).decode()} in {root}. Encode the corpus first, or "
                    "use the settings it was encoded with."
                )
            _check_key(folder, key)
            return cls(folder, key, None)
        if folder.is_symlink():
            raise StoreError(f"{folder} is a link, and what it points to is not written. Put the folder itself there.")
        make_folder(folder)
        lock = lock_writer(folder)
        try:
            remove_leftovers(folder)
            if not _check_key(folder, key):
                write_json(folder / "key.json", plain(key), **AS_IN_0_1_0)
            store = cls(folder, key, lock)
            store._save_index()
        except BaseException:
            unlock_writer(folder, lock)
            raise
        return store

    def close(self) -> None:
        """Lets another process write; reading goes on working."""
        with self._mutex:
            if self._lock is not None:
                unlock_writer(self.folder, self._lock)
                self._lock = None

    def __enter__(self) -> EmbeddingStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        with self._mutex:
            return len(self._table)

    def __contains__(self, content: bytes) -> bool:
        with self._mutex:
            return bool(self._find(hash_array([content]))[0][0] >= 0)

    @property
    def writable(self) -> bool:
        """Whether this process is the one that may write."""
        return self._lock is not None

    @property
    def shards(self) -> list[Shard]:
        """The finished shards by name."""
        with self._mutex:
            return sorted(self._shards.values(), key=lambda shard: shard.name)

    def documents(self) -> Iterator[tuple[str, bytes]]:
        """The id and content hash of every stored document, shard by shard."""
        with self._mutex:
            self._read_through(self._unread)
        for shard in self.shards:
            yield from self._file(shard.name).documents()

    def missing(self, hashes: Sequence[bytes]) -> list[int]:
        """The positions of the hashes whose document is not stored, or in a damaged shard, in order."""
        with self._mutex:
            return [int(row) for row in np.flatnonzero(self._find(hash_array(hashes))[0] < 0)]

    def require(self, hashes: Sequence[bytes]) -> None:
        """That some documents are stored.

        Raises:
            StoreError: some are not, or their shard is damaged.
        """
        missing = len(self.missing(hashes))
        if missing:
            names = ", ".join(f"{shard.name} ({shard.reason})" for shard in self.damaged[:3])
            damage = f" {len(self.damaged)} damaged shards were left out: {names}." if self.damaged else ""
            raise StoreError(
                f"{missing:,} of {len(hashes):,} documents are not in the store {self.folder}.{damage} Encode the "
                "corpus again with the same settings, only what is missing is encoded: moee-topics embed RECIPE "
                f"--output {self.folder.parent}"
            )

    def write(self, embeddings: Embeddings, ids: Sequence[str], hashes: Sequence[bytes]) -> None:
        """Writes the documents that are not stored yet as one shard, and indexes it.

        Raises:
            StoreError: the store was opened for reading, the shapes are not those of the store, or a value does not
                fit float16.
            ResourceError: the disk is full; every shard written before is kept.
        """
        check_lengths(embeddings, ids, hashes)
        with self._mutex:
            self._require_writable()
            # Of equal documents the first: the same corpus in the same order gives the same bytes.
            new = sorted({hashes[row]: row for row in reversed(self.missing(hashes))}.values())
            if not new:
                return
            part, contents = embeddings[new], [hashes[row] for row in new]
            layout = {name: array.shape[1:] for name, array in arrays_of(part).items()}
            if self._shards and layout != self._layout:
                raise StoreError(
                    f"The store {self.folder} holds documents of the shapes {self._layout}, got {layout}. "
                    "Something that vectors depend on is missing from the key."
                )
            shard = write_shard(self.folder, self.key, part, [ids[row] for row in new], contents)
            self._layout = layout
            self._shards[shard.name] = shard
            self._unread.add(shard.name)
            self._names.append(shard.name)
            self._table.add(hash_array(contents), len(self._names) - 1)
            self.damaged = [other for other in self.damaged if other.name != shard.name]
            self._save_index()

    def read(self, hashes: Sequence[bytes]) -> Embeddings:
        """The embeddings of some documents in the order of their hashes, (n, ...) in float16.

        Raises:
            StoreError: some documents are not stored, or their shard is damaged.
        """
        with self._mutex:
            self.require(hashes)
            shards, rows = self._find(hash_array(hashes))
            layout = self._layout or {"hidden_states": (0,), "router_logits": (0, 0)}
            names = list(self._names)
        out = {name: np.empty((len(hashes), *shape), dtype=np.float16) for name, shape in layout.items()}
        for shard in np.unique(shards):
            file = self._file(names[shard])
            places = np.flatnonzero(shards == shard)
            for name, array in out.items():
                array[places] = file.array(name)[rows[places]]
        return Embeddings(out["hidden_states"], out["router_logits"], out.get("mean_routing_weights"))

    def read_blocks(self, hashes: Sequence[bytes], rows: int) -> Iterator[Embeddings]:
        """Like :meth:`read`, ``rows`` documents at a time, so that the whole never has to fit in memory."""
        if rows < 1:
            raise InputError(f"read_blocks needs at least 1 row at a time, got {rows}.")
        for start in range(0, len(hashes), rows):
            yield self.read(hashes[start : start + rows])

    def verify(self) -> list[DamagedShard]:
        """Reads every byte of every shard, also of those that have been read before, and gives the damaged ones.

        :meth:`drop` deletes their files.
        """
        with self._mutex:
            self._unread.update(self._shards)
            self._read_through(self._unread)
            return list(self.damaged)

    def drop(self, damaged: Iterable[DamagedShard]) -> None:
        """Deletes damaged shards, so that nothing but encoding their documents again is left to do.

        A shard that another writer has made again in the meantime is taken in.
        """
        with self._mutex:
            self._require_writable()
            names = {shard.name for shard in damaged if SHARD_NAME.fullmatch(shard.name)}
            self.damaged = [shard for shard in self.damaged if shard.name not in names]
            for name in names:
                self._shards.pop(name, None)
                self._unread.discard(name)
                try:
                    self._take(ShardFile.open(self.folder / name, self.key), None)
                except Damage:
                    with disk_errors(self.folder / name):
                        (self.folder / name).unlink(missing_ok=True)
            self._fill_table()
            self._save_index()

    def rebuild_index(self) -> None:
        """Makes the index anew from the shards alone, each read through."""
        with self._mutex:
            self._require_writable()
            (self.folder / "index.json").unlink(missing_ok=True)
            self._load()
            self._save_index()

    def _load(self) -> None:
        indexed = _read_index(self.folder)
        self.damaged, self._shards = [], {}
        self._unread.clear()
        for path in sorted(self.folder.glob("shard-*.safetensors")):
            if SHARD_NAME.fullmatch(path.name):
                entry = indexed.pop(path.name, None)
                try:
                    self._take(ShardFile.open(path, self.key), entry)
                except Damage as damage:
                    self._leave_out(path.name, damage, entry)
        for entry in indexed.values():
            self._leave_out(entry.name, Damage("the file is gone"), entry)
        self._fill_table()

    def _take(self, file: ShardFile, entry: Shard | None) -> None:
        """Takes a shard in, read through at once unless the index says of it what it says itself."""
        shard = entry if entry is not None and entry == replace(file.shard, xxh3=entry.xxh3) else None
        if self._shards and file.layout != self._layout:
            # One header is wrong, and not always this one: a flipped bit in the first must not cost all others.
            self._read_each(self._shards)
            shard = None
        if shard is None:
            shard = file.checked()
        else:
            self._unread.add(shard.name)
        if self._shards and file.layout != self._layout:
            raise Damage(f"its arrays have the shapes {file.layout}, those of the other shards {self._layout}")
        self._layout = file.layout
        self._shards[shard.name] = shard

    def _find(self, hashes: NDArray[np.bytes_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Shard and row of each document, -1 where there is none, once these shards have been read through."""
        shards, rows = self._table.find(hashes)
        if self._unread:
            unread = self._unread & {self._names[shard] for shard in np.unique(shards) if shard >= 0}
            if unread and self._read_through(unread):
                shards, rows = self._table.find(hashes)
        return shards, rows

    def _read_through(self, names: Iterable[str]) -> bool:
        """Reads shards, and says whether one of them is damaged."""
        before = dict(self._shards)
        self._read_each(names)
        damaged = len(self._shards) < len(before)
        if damaged:
            self._fill_table()
        if self._lock is not None and self._shards != before:
            self._save_index()  # with xxh3, which an index of 0.1.0 lacks
        return damaged

    def _read_each(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            entry = self._shards[name]
            try:
                self._shards[name] = ShardFile.open(self.folder / name, self.key).checked(entry.xxh3)
                self._unread.discard(name)
            except Damage as damage:
                self._leave_out(name, damage, entry)

    def _leave_out(self, name: str, damage: Damage, entry: Shard | None) -> None:
        logger.warning("damaged shard %s in %s: %s", name, self.folder, damage)
        self._shards.pop(name, None)
        self._unread.discard(name)
        shard = DamagedShard(name, str(damage), entry.rows if entry else None)
        self.damaged = sorted([*self.damaged, shard], key=lambda shard: shard.name)

    def _fill_table(self) -> None:
        self._names = [shard.name for shard in self.shards]
        hashes = (np.array(self._file(name).array("hashes")) for name in self._names)
        self._table = HashTable.of([content.view(f"S{HASH_BYTES}").ravel() for content in hashes])

    def _file(self, name: str) -> ShardFile:
        try:
            return ShardFile.open(self.folder / name)
        except Damage as damage:
            raise StoreError(
                f"Shard {name} of {self.folder} was damaged after the store was opened: {damage}. Open it again."
            ) from damage

    def _save_index(self) -> None:
        shards = [
            {name: value for name, value in asdict(shard).items() if value or name != "xxh3"} for shard in self.shards
        ]
        write_json(self.folder / "index.json", {"format": FORMAT, "shards": shards}, **AS_IN_0_1_0)

    def _require_writable(self) -> None:
        if self._lock is None:
            raise StoreError(f"The store {self.folder} is open for reading only. Open it with writable=True.")


def stored_keys(root: Path) -> list[dict[str, Any]]:
    """The keys under which something is stored below ``root``, in the order of their folders.

    Where ``key.json`` is lost or damaged, the shards say it.
    """
    keys = []
    for folder in sorted(path for path in Path(root).glob("*") if re.fullmatch("[0-9a-f]{32}", path.name)):
        key = next((key for key in _keys_of(folder) if key_digest(key) == folder.name), None)
        if key is not None:
            keys.append(dict(key))
    return keys


def _keys_of(folder: Path) -> Iterator[Mapping[str, JSON]]:
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


def _read_index(folder: Path) -> dict[str, Shard]:
    """The shards of the index; one that is absent or broken says nothing, and is made anew from the shards.

    Its names are data: one that is not a shard's, such as a path that leaves the folder, is not followed.
    """
    try:
        entries = json.loads((folder / "index.json").read_text(encoding="utf-8"))["shards"]
        shards = [Shard(**entry) for entry in entries]
        if all(SHARD_NAME.fullmatch(shard.name) and type(shard.rows) is int for shard in shards):
            return {shard.name: shard for shard in shards}
        reason = "a name or a number in it is none"
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = str(error)
    logger.warning("the index of %s cannot be read (%s); it is made again from the shards", folder, reason)
    return {}


def _check_key(folder: Path, key: Mapping[str, JSON]) -> bool:
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
