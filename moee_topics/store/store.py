"""The store itself: the shards of one key, found by content, with an index and one writer."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from moee_topics.embeddings import Embeddings, FloatArray
from moee_topics.errors import InputError, StoreError
from moee_topics.store.files import lock_writer, make_folder, remove_leftovers, unlock_writer, write_json
from moee_topics.store.keys import HASH_BYTES, JSON, canonical, key_digest, plain
from moee_topics.store.shard import (
    FORMAT,
    Damage,
    DamagedShard,
    Shard,
    ShardFile,
    arrays_of,
    check_lengths,
    checksum_of,
    write_shard,
)
from moee_topics.store.table import HashTable, hash_array

logger = logging.getLogger(__name__)

AS_IN_0_1_0 = {"sort_keys": True, "ensure_ascii": True}  # so that the same store has the same bytes as then


class EmbeddingStore:
    """The embeddings of one key on disk, found by the content of the documents.

    Use it as a context manager, or call :meth:`close` after writing.

    Attributes:
        folder: where the shards are.
        key: what the vectors depend on.
        damaged: shards that opening or :meth:`verify` found damaged; their documents count as not stored.
    """

    def __init__(self, folder: Path, key: Mapping[str, JSON], lock: FileLock | None) -> None:
        self.folder = folder
        self.key = key
        self.damaged: list[DamagedShard] = []
        self._lock = lock
        self._layout: dict[str, tuple[int, ...]] = {}
        self._load()

    @classmethod
    def open(cls, root: Path, key: Mapping[str, JSON], *, writable: bool = False) -> EmbeddingStore:
        """Opens the store of a key below ``root``, for one writer or any number of readers.

        Every shard's size and header are checked, and a shard that the index does not know is checked in full and
        taken in. :meth:`verify` checks everything.

        Raises:
            StoreError: another process writes, the folder holds another key, or there is nothing to read.
        """
        folder = Path(root) / key_digest(key)
        if not writable:
            _require_store(folder, key)
            return cls(folder, key, None)
        make_folder(folder)
        lock = lock_writer(folder)
        try:
            remove_leftovers(folder)
            _check_key(folder, key)
            store = cls(folder, key, lock)
            store._save_index()
        except BaseException:
            unlock_writer(folder, lock)
            raise
        return store

    def close(self) -> None:
        """Lets another process write; reading goes on working."""
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
        return len(self._table)

    def __contains__(self, content: bytes) -> bool:
        return bool(self._table.find(hash_array([content]))[0][0] >= 0)

    @property
    def writable(self) -> bool:
        """Whether this process is the one that may write."""
        return self._lock is not None

    @property
    def shards(self) -> list[Shard]:
        """The finished shards by name."""
        return sorted(self._shards.values(), key=lambda shard: shard.name)

    def documents(self) -> Iterator[tuple[str, bytes]]:
        """The id and content hash of every stored document, shard by shard."""
        for shard in self.shards:
            file = self._file(shard.name)
            text, offsets = file.array("ids").tobytes(), file.array("id_offsets")
            for row, content in enumerate(file.array("hashes")):
                yield text[offsets[row] : offsets[row + 1]].decode("utf-8", "surrogatepass"), content.tobytes()

    def missing(self, hashes: Sequence[bytes]) -> list[int]:
        """The positions of the hashes whose document is not stored, in order."""
        return [int(i) for i in np.flatnonzero(self._table.find(hash_array(hashes))[0] < 0)]

    def write(self, embeddings: Embeddings, ids: Sequence[str], hashes: Sequence[bytes]) -> None:
        """Writes the documents that are not stored yet as one shard, and indexes it.

        Raises:
            StoreError: the store was opened for reading, the shapes are not those of the store, or a value does not
                fit float16.
            ResourceError: the disk is full; every shard written before is kept.
        """
        self._require_writable()
        check_lengths(embeddings, ids, hashes)
        new = _first_rows(hashes, self.missing(hashes))
        if not new:
            return
        part = embeddings[new]
        self._check_shapes(part)
        path = write_shard(self.folder, self.key, part, [ids[i] for i in new], [hashes[i] for i in new])
        file = self._file(path.name)
        self._take(file)
        self._table.add(self._hashes_of(file), len(self._names) - 1)
        self.damaged = [shard for shard in self.damaged if shard.name != path.name]
        self._save_index()

    def read(self, hashes: Sequence[bytes]) -> Embeddings:
        """The embeddings of some documents in the order of their hashes, (n, ...) in float16.

        Raises:
            StoreError: some documents are not stored.
        """
        shards, rows = self._table.find(hash_array(hashes))
        self._require_all(shards)
        out = self._empty(len(hashes))
        for shard in np.unique(shards):
            file = self._file(self._names[shard])
            places = np.flatnonzero(shards == shard)
            for name, array in out.items():
                array[places] = file.array(name)[rows[places]]
        return _embeddings(out)

    def read_blocks(self, hashes: Sequence[bytes], rows: int) -> Iterator[Embeddings]:
        """Like :meth:`read`, ``rows`` documents at a time, so that the whole never has to fit in memory."""
        if rows < 1:
            raise InputError(f"read_blocks needs at least 1 row at a time, got {rows}.")
        for start in range(0, len(hashes), rows):
            yield self.read(hashes[start : start + rows])

    def verify(self) -> list[DamagedShard]:
        """Reads every byte of every shard, and gives those that are damaged or lost, by name.

        Their documents count as not stored from then on; :meth:`drop` deletes the files.
        """
        found = {shard.name: shard for shard in self.damaged}
        for shard in self.shards:
            try:
                self._check_deep(self.folder / shard.name)
            except Damage as damage:
                found[shard.name] = DamagedShard(shard.name, str(damage), shard.rows)
                del self._shards[shard.name]
        self.damaged = [found[name] for name in sorted(found)]
        self._fill_table()
        return list(self.damaged)

    def drop(self, damaged: Iterable[DamagedShard]) -> None:
        """Deletes damaged shards, so that nothing but encoding their documents again is left to do."""
        self._require_writable()
        names = {shard.name for shard in damaged}
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
            self._shards.pop(name, None)
        self.damaged = [shard for shard in self.damaged if shard.name not in names]
        self._fill_table()
        self._save_index()

    def rebuild_index(self) -> None:
        """Makes the index anew from the shards alone, each read and checked in full."""
        self._require_writable()
        (self.folder / "index.json").unlink(missing_ok=True)
        self._load()
        self._save_index()

    def _load(self) -> None:
        known = _read_index(self.folder)
        self._shards: dict[str, Shard] = {}
        self.damaged = []
        for path in sorted(self.folder.glob("shard-*.safetensors")):
            self._load_shard(path, known.pop(path.name, None))
        for shard in known.values():
            self.damaged.append(DamagedShard(shard.name, "the file is gone", shard.rows))
        for damage in self.damaged:
            logger.warning("damaged shard %s in %s: %s", damage.name, self.folder, damage.reason)
        self._fill_table()

    def _load_shard(self, path: Path, known: Shard | None) -> None:
        try:
            file = ShardFile.open(path, self.key)
            if file.shard != known:
                self._check_deep(path)
            self._take(file)
        except Damage as damage:
            self.damaged.append(DamagedShard(path.name, str(damage), known.rows if known else None))

    def _check_deep(self, path: Path) -> None:
        file = ShardFile.open(path, self.key)
        if checksum_of(path, file.shard.checksum) != file.shard.checksum:
            raise Damage("its bytes do not match its checksum")

    def _fill_table(self) -> None:
        self._names: list[str] = []
        parts = [self._hashes_of(self._file(shard.name)) for shard in self.shards]
        self._table = HashTable.of(parts)

    def _file(self, name: str) -> ShardFile:
        try:
            return ShardFile.open(self.folder / name)
        except Damage as damage:
            raise StoreError(
                f"Shard {name} of {self.folder} was damaged after the store was opened: {damage}. Open it again."
            ) from damage

    def _hashes_of(self, file: ShardFile) -> NDArray[np.bytes_]:
        self._names.append(file.shard.name)
        return np.array(file.array("hashes")).view(f"S{HASH_BYTES}").ravel()

    def _take(self, file: ShardFile) -> None:
        if self._shards and file.layout != self._layout:
            raise Damage(f"its arrays have the shapes {file.layout}, those of the other shards {self._layout}")
        self._layout = file.layout
        self._shards[file.shard.name] = file.shard

    def _save_index(self) -> None:
        shards = [asdict(shard) for shard in self.shards]
        write_json(self.folder / "index.json", {"format": FORMAT, "shards": shards}, **AS_IN_0_1_0)

    def _empty(self, rows: int) -> dict[str, NDArray[np.float16]]:
        layout = self._layout if self._shards else {"hidden_states": (0,), "router_logits": (0, 0)}
        return {name: np.empty((rows, *shape), dtype=np.float16) for name, shape in layout.items()}

    def _check_shapes(self, embeddings: Embeddings) -> None:
        layout = {name: array.shape[1:] for name, array in arrays_of(embeddings).items()}
        if self._shards and layout != self._layout:
            raise StoreError(
                f"The store {self.folder} holds documents of the shapes {self._layout}, got {layout}. "
                "Something that vectors depend on is missing from the key."
            )

    def _require_writable(self) -> None:
        if self._lock is None:
            raise StoreError(f"The store {self.folder} is open for reading only. Open it with writable=True.")

    def _require_all(self, shards: NDArray[np.int32]) -> None:
        lacking = int((shards < 0).sum())
        if lacking:
            damage = f" {len(self.damaged)} damaged shards were left out." if self.damaged else ""
            raise StoreError(
                f"{lacking} of {len(shards)} documents are not in the store {self.folder}.{damage} "
                "Encode the corpus again with the same settings: only what is missing is encoded."
            )


def _embeddings(arrays: Mapping[str, FloatArray]) -> Embeddings:
    return Embeddings(arrays["hidden_states"], arrays["router_logits"], arrays.get("mean_routing_weights"))


def _first_rows(hashes: Sequence[bytes], rows: Sequence[int]) -> list[int]:
    """Of some rows, those whose content was not in a row before."""
    return list({hashes[row]: row for row in reversed(rows)}.values())[::-1]


def _read_index(folder: Path) -> dict[str, Shard]:
    """The shards of the index; an index that is absent or broken knows none, and is made anew from the shards."""
    try:
        entries = json.loads((folder / "index.json").read_text(encoding="utf-8"))["shards"]
        return {entry["name"]: Shard(**entry) for entry in entries}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError):
        logger.warning("the index of %s cannot be read; it is made again from the shards", folder)
        return {}


def _check_key(folder: Path, key: Mapping[str, JSON]) -> None:
    path = folder / "key.json"
    if not path.exists():
        write_json(path, plain(key), **AS_IN_0_1_0)
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}). Delete it: the shards carry the key too.") from error
    if found != plain(key):
        raise StoreError(f"{path} holds another key than its folder stands for. Delete the folder or that file.")


def _require_store(folder: Path, key: Mapping[str, JSON]) -> None:
    if not folder.is_dir():
        raise StoreError(
            f"There are no embeddings for {canonical(key).decode()} in {folder.parent}. Encode the corpus first, or "
            "use the settings it was encoded with."
        )
    if (folder / "key.json").exists():
        _check_key(folder, key)
