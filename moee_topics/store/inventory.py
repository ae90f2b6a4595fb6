"""The shards of one folder: which there are, what is in them, and which cannot be trusted. ``index.json`` says it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moee_topics.errors import StoreError
from moee_topics.store.files import write_json
from moee_topics.store.hash_table import HashTable, hash_array
from moee_topics.store.keys import AS_IN_0_1_0, HASH_BYTES, JSON
from moee_topics.store.shard import FORMAT, SHARD_NAME, Damage, DamagedShard, Shard, ShardFile

logger = logging.getLogger(__name__)

Layout = dict[str, tuple[int, ...]]

# The index is written anew as a whole, which for each of 100,000 shards would be 1 TB. So of many shards a few may be
# missing in it after a kill; whoever opens the store next reads these through.
SHARDS_PER_LATE_ONE = 64


class Inventory:
    """What a folder holds. A shard is read through, once, before it is said of a document that it is there.

    One thread at a time may use it: the store has the lock.

    Args:
        folder: of the shards.
        key: that all of them must carry.
        writable: whether the index may be written.

    Attributes:
        shards: the finished ones by name.
        damaged: those that were found damaged so far, by name.
        layout: the shape of one document in every array; that of all shards.
        names: of the shards as the table of hashes numbers them.
    """

    def __init__(self, folder: Path, key: Mapping[str, JSON], *, writable: bool) -> None:
        self.folder, self.key, self.writable = folder, key, writable
        self.load()

    def load(self) -> None:
        """Takes in the shards of the folder, those that the index knows by their headers alone."""
        self.shards: dict[str, Shard] = {}
        self.damaged: list[DamagedShard] = []
        self.layout: Layout = {}
        self._unindexed = 0
        self._unread: set[str] = set()  # names of shards that have not been read through
        indexed = self._read_index()
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

    def __len__(self) -> int:
        return len(self._table)

    def sorted(self) -> list[Shard]:
        """The finished shards by name."""
        return sorted(self.shards.values(), key=lambda shard: shard.name)

    def find(self, hashes: NDArray[np.bytes_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Shard and row of each document, -1 where there is none, once these shards have been read through."""
        shards, rows = self._table.find(hashes)
        if self._unread:
            unread = self._unread & {self.names[shard] for shard in np.unique(shards) if shard >= 0}
            if unread and self.read_through(unread):
                shards, rows = self._table.find(hashes)
        return shards, rows

    def read_through(self, names: Iterable[str] | None = None) -> bool:
        """Reads shards, by default all that have not been read, and says whether one of them is damaged."""
        before = dict(self.shards)
        self._read_each(self._unread if names is None else names)
        damaged = len(self.shards) < len(before)
        if damaged:
            self._fill_table()
        if self.writable and self.shards != before:
            self.save_index()  # with xxh3, which an index of 0.1.0 lacks
        return damaged

    def add(self, shard: Shard, layout: Layout, hashes: Sequence[bytes]) -> None:
        """Takes in a shard that was just written."""
        self.layout = layout
        self.shards[shard.name] = shard
        self._unread.add(shard.name)  # what was written is not yet what the disk gives back
        self.names.append(shard.name)
        self._table.add(hash_array(hashes), len(self.names) - 1)
        self.damaged = [other for other in self.damaged if other.name != shard.name]
        self._unindexed += 1
        if self.writable and self._unindexed * SHARDS_PER_LATE_ONE >= len(self.shards):
            self.save_index()

    def settle(self) -> None:
        """Writes the index if it lacks shards that were taken in."""
        if self.writable and self._unindexed:
            self.save_index()

    def drop(self, names: Iterable[str]) -> list[Path]:
        """Forgets shards, but for those that another writer has made again, and gives the files to be deleted."""
        names = [name for name in names if SHARD_NAME.fullmatch(name)]
        self.damaged = [shard for shard in self.damaged if shard.name not in names]
        files = []
        for name in names:
            self.shards.pop(name, None)
            self._unread.discard(name)
            try:
                self._take(ShardFile.open(self.folder / name, self.key), None)
            except Damage:
                files.append(self.folder / name)
        self._fill_table()
        return files

    def file(self, name: str) -> ShardFile:
        """An opened shard.

        Raises:
            StoreError: it is not what it was when the store was opened.
        """
        try:
            return ShardFile.open(self.folder / name)
        except Damage as damage:
            raise StoreError(
                f"Shard {name} of {self.folder} was damaged after the store was opened: {damage}. Open it again."
            ) from damage

    def save_index(self, *, beside_others: bool = False) -> None:
        """Writes the index, which can always be made again from the shards.

        Args:
            beside_others: keep what other writers have put there since.
        """
        entries = {**self._read_index(), **self.shards} if beside_others else self.shards
        shards = [
            {name: value for name, value in asdict(entries[shard]).items() if value or name != "xxh3"}
            for shard in sorted(entries)
        ]
        self._unindexed = 0
        write_json(self.folder / "index.json", {"format": FORMAT, "shards": shards}, **AS_IN_0_1_0)

    def _take(self, file: ShardFile, entry: Shard | None) -> None:
        """Takes a shard in, read through at once unless the index says of it what it says itself."""
        shard = entry if entry is not None and entry == replace(file.shard, xxh3=entry.xxh3) else None
        if self.shards and file.layout != self.layout:
            # One header is wrong, and not always this one: a flipped bit in the first must not cost all others.
            self._read_each(self.shards)
            shard = None
        if shard is None:
            shard = file.checked()
        else:
            self._unread.add(shard.name)
        if self.shards and file.layout != self.layout:
            raise Damage(f"its arrays have the shapes {file.layout}, those of the other shards {self.layout}")
        self.layout = file.layout
        self.shards[shard.name] = shard

    def _read_each(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            entry = self.shards[name]
            try:
                self.shards[name] = ShardFile.open(self.folder / name, self.key).checked(entry.xxh3)
                self._unread.discard(name)
            except Damage as damage:
                self._leave_out(name, damage, entry)

    def _leave_out(self, name: str, damage: Damage, entry: Shard | None) -> None:
        logger.warning("damaged shard %s in %s: %s", name, self.folder, damage)
        self.shards.pop(name, None)
        self._unread.discard(name)
        shard = DamagedShard(name, str(damage), entry.rows if entry else None)
        self.damaged = sorted([*self.damaged, shard], key=lambda shard: shard.name)

    def _fill_table(self) -> None:
        self.names = [shard.name for shard in self.sorted()]
        hashes = (np.array(self.file(name).array("hashes")) for name in self.names)
        self._table = HashTable.of([content.view(f"S{HASH_BYTES}").ravel() for content in hashes])

    def _read_index(self) -> dict[str, Shard]:
        """The shards of the index; one that is absent or broken says nothing, and is made anew from the shards."""
        try:
            entries = json.loads((self.folder / "index.json").read_text(encoding="utf-8"))["shards"]
            shards = [Shard(**entry) for entry in entries]
            # Names are data: one that is not a shard's, such as a path that leaves the folder, is not followed.
            if all(SHARD_NAME.fullmatch(shard.name) and type(shard.rows) is int for shard in shards):
                return {shard.name: shard for shard in shards}
            reason = "a name or a number in it cannot be read"
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            reason = str(error)
        logger.warning("the index of %s cannot be read (%s); it is made again from the shards", self.folder, reason)
        return {}
