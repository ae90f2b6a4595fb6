"""The wall: embeddings on disk, raw and in float16, so that nothing below it ever encodes again.

One folder per key (everything a vector depends on), in it::

    key.json                     what was encoded how
    shard-<digest>.safetensors   ids, content hashes and arrays of some documents; key and checksum in its metadata
    index.json                   the finished shards with size and checksum; can always be rebuilt from them
    writer.lock, writer.json     held while a process writes

A shard is written under a temporary name, synced and renamed, then indexed, so a process killed at any moment loses at
most the shard it was writing. Shards are named by the digest of their content hashes and carry no times, so the same
writes give the same bytes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
import psutil
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors.numpy import save as to_safetensors

from moee_topics.embeddings import Embeddings, FloatArray
from moee_topics.errors import InputError, ResourceError, StoreError

JSON: TypeAlias = "str | int | float | bool | Sequence[JSON] | Mapping[str, JSON] | None"

FORMAT = "moee_topics embeddings 1"
HASH_BYTES = 16

_ARRAYS = ("hidden_states", "router_logits", "mean_routing_weights")
_DTYPES: Mapping[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "I64": np.dtype("<i8"), "U8": np.dtype("u1")}
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CHECKSUM = b'checksum\\": \\"'
_ZEROS = "0" * 32
_TEMPORARY = re.compile(r"\.(\d+)@(.+)\.tmp$")
_STALE_SECONDS = 3600

logger = logging.getLogger(__name__)


def content_hash(text: str) -> bytes:
    """The 16 bytes by which the store knows a document: blake2b of its UTF-8 text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()


@dataclass(frozen=True)
class Shard:
    """What the index says of one finished shard file."""

    name: str
    rows: int
    bytes: int
    checksum: str


@dataclass(frozen=True)
class DamagedShard:
    """A shard that cannot be trusted, why, and how many documents it held if that is known."""

    name: str
    reason: str
    rows: int | None = None


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
        with _disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = _lock_writer(folder)
        try:
            _remove_leftovers(folder)
            _check_key(folder, key)
            store = cls(folder, key, lock)
            store._save_index()
        except BaseException:
            _unlock_writer(folder, lock)
            raise
        return store

    def close(self) -> None:
        """Lets another process write; reading goes on working."""
        if self._lock is not None:
            _unlock_writer(self.folder, self._lock)
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
        return bool(self._table.find(_hash_array([content]))[0][0] >= 0)

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
        return [int(i) for i in np.flatnonzero(self._table.find(_hash_array(hashes))[0] < 0)]

    def write(self, embeddings: Embeddings, ids: Sequence[str], hashes: Sequence[bytes]) -> None:
        """Writes the documents that are not stored yet as one shard, and indexes it.

        Raises:
            StoreError: the store was opened for reading, the shapes are not those of the store, or a value does not
                fit float16.
            ResourceError: the disk is full; every shard written before is kept.
        """
        self._require_writable()
        _check_lengths(embeddings, ids, hashes)
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
        shards, rows = self._table.find(_hash_array(hashes))
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
            except _Damage as damage:
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
            file = _ShardFile.open(path, self.key)
            if file.shard != known:
                self._check_deep(path)
            self._take(file)
        except _Damage as damage:
            self.damaged.append(DamagedShard(path.name, str(damage), known.rows if known else None))

    def _check_deep(self, path: Path) -> None:
        file = _ShardFile.open(path, self.key)
        if _checksum(path, file.shard.checksum) != file.shard.checksum:
            raise _Damage("its bytes do not match its checksum")

    def _fill_table(self) -> None:
        self._names: list[str] = []
        parts = [self._hashes_of(self._file(shard.name)) for shard in self.shards]
        self._table = _HashTable.of(parts)

    def _file(self, name: str) -> _ShardFile:
        try:
            return _ShardFile.open(self.folder / name)
        except _Damage as damage:
            raise StoreError(
                f"Shard {name} of {self.folder} was damaged after the store was opened: {damage}. Open it again."
            ) from damage

    def _hashes_of(self, file: _ShardFile) -> NDArray[np.bytes_]:
        self._names.append(file.shard.name)
        return np.array(file.array("hashes")).view(f"S{HASH_BYTES}").ravel()

    def _take(self, file: _ShardFile) -> None:
        if self._shards and file.layout != self._layout:
            raise _Damage(f"its arrays have the shapes {file.layout}, those of the other shards {self._layout}")
        self._layout = file.layout
        self._shards[file.shard.name] = file.shard

    def _save_index(self) -> None:
        shards = [asdict(shard) for shard in self.shards]
        _write_json(self.folder / "index.json", {"format": FORMAT, "shards": shards})

    def _empty(self, rows: int) -> dict[str, NDArray[np.float16]]:
        layout = self._layout if self._shards else {"hidden_states": (0,), "router_logits": (0, 0)}
        return {name: np.empty((rows, *shape), dtype=np.float16) for name, shape in layout.items()}

    def _check_shapes(self, embeddings: Embeddings) -> None:
        layout = {name: array.shape[1:] for name, array in _arrays(embeddings).items()}
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


def key_digest(key: Mapping[str, JSON]) -> str:
    """The name of a key's folder: 32 hexadecimal digits that do not depend on the order of its entries."""
    return hashlib.blake2b(_canonical(key), digest_size=16).hexdigest()


def write_shard(
    folder: Path, key: Mapping[str, JSON], embeddings: Embeddings, ids: Sequence[str], hashes: Sequence[bytes]
) -> Path:
    """Writes one self-describing shard, without touching the index, and gives its path.

    Any number of workers may do this in one folder at once: the name is the digest of the content hashes, and whoever
    opens the store next takes in the shards that the index lacks.

    Raises:
        StoreError: a value does not fit float16.
        ResourceError: the disk is full.
    """
    _check_lengths(embeddings, ids, hashes)
    if not ids:
        raise InputError("A shard needs at least one document, got none.")
    name = hashlib.blake2b(b"".join(hashes), digest_size=16).hexdigest()
    path = folder / f"shard-{name}.safetensors"
    metadata = json.dumps({"checksum": _ZEROS, "format": FORMAT, "key": _plain(key)}, sort_keys=True)
    # One metadata entry only: safetensors writes several in random order.
    blob = to_safetensors(_tensors(embeddings, ids, hashes), metadata={"moee_topics": metadata})
    checksum = hashlib.blake2b(blob, digest_size=16).hexdigest()
    _write_atomically(path, blob.replace(_CHECKSUM + _ZEROS.encode(), _CHECKSUM + checksum.encode(), 1))
    return path


class _Damage(StoreError):
    """Why a shard cannot be trusted."""


@dataclass(frozen=True)
class _ShardFile:
    """The header of a shard file; arrays are memory-mapped when asked for."""

    path: Path
    shard: Shard
    tensors: Mapping[str, Mapping[str, Any]]
    data_start: int

    @classmethod
    def open(cls, path: Path, key: Mapping[str, JSON] | None = None) -> _ShardFile:
        try:
            return cls._parse(path, key)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise _Damage(f"its header cannot be read ({error})") from error
        except OSError as error:
            raise _Damage(f"it cannot be read ({error.strerror})") from error

    @classmethod
    def _parse(cls, path: Path, key: Mapping[str, JSON] | None) -> _ShardFile:
        size = path.stat().st_size
        raw = _header_bytes(path, size)
        tensors = json.loads(raw)
        metadata = json.loads(tensors.pop("__metadata__")["moee_topics"])
        if metadata["format"] != FORMAT:
            raise _Damage(f"its format is {metadata['format']!r} instead of {FORMAT!r}")
        if key is not None and metadata["key"] != _plain(key):
            raise _Damage("it was encoded with another key")
        _check_tensors(tensors, size - 8 - len(raw))
        shard = Shard(path.name, tensors["hashes"]["shape"][0], size, metadata["checksum"])
        return cls(path, shard, tensors, 8 + len(raw))

    @property
    def layout(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(self.tensors[name]["shape"][1:]) for name in _ARRAYS if name in self.tensors}

    def array(self, name: str) -> NDArray[Any]:
        tensor = self.tensors[name]
        shape, dtype = tuple(tensor["shape"]), _DTYPES[tensor["dtype"]]
        if 0 in shape:
            return np.empty(shape, dtype)
        offset = self.data_start + tensor["data_offsets"][0]
        mapped: NDArray[Any] = np.memmap(self.path, dtype, mode="r", offset=offset, shape=shape)
        return mapped


class _HashTable:
    """Content hash to (shard number, row): sorted runs of numpy arrays, merged as they grow, 24 bytes a document."""

    def __init__(self) -> None:
        self._runs: list[tuple[NDArray[np.bytes_], NDArray[np.int32], NDArray[np.int32]]] = []

    @classmethod
    def of(cls, parts: Sequence[NDArray[np.bytes_]]) -> _HashTable:
        table = cls()
        if parts:
            shards = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in parts])
            rows = np.concatenate([np.arange(len(part), dtype=np.int32) for part in parts])
            table._runs.append(_sorted_run(np.concatenate(parts), shards, rows))
        return table

    def __len__(self) -> int:
        return sum(len(run[0]) for run in self._runs)

    def add(self, hashes: NDArray[np.bytes_], shard: int) -> None:
        rows = np.arange(len(hashes), dtype=np.int32)
        self._runs.append(_sorted_run(hashes, np.full(len(hashes), shard, np.int32), rows))
        while len(self._runs) > 1 and 2 * len(self._runs[-1][0]) > len(self._runs[-2][0]):
            newer, older = self._runs.pop(), self._runs.pop()
            a, b, c = (np.concatenate(pair) for pair in zip(older, newer, strict=True))
            self._runs.append(_sorted_run(a, b, c))

    def find(self, hashes: NDArray[np.bytes_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The shard number and row of each hash, -1 where there is none."""
        shards = np.full(len(hashes), -1, dtype=np.int32)
        rows = np.full(len(hashes), -1, dtype=np.int32)
        for keys, run_shards, run_rows in self._runs:
            places = np.minimum(np.searchsorted(keys, hashes), len(keys) - 1)
            found = (keys[places] == hashes) & (shards < 0)
            shards[found], rows[found] = run_shards[places[found]], run_rows[places[found]]
        return shards, rows


def _sorted_run(
    hashes: NDArray[np.bytes_], shards: NDArray[np.int32], rows: NDArray[np.int32]
) -> tuple[NDArray[np.bytes_], NDArray[np.int32], NDArray[np.int32]]:
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    first = np.append(True, hashes[1:] != hashes[:-1])
    return hashes[first], shards[order[first]], rows[order[first]]


def _hash_array(hashes: Sequence[bytes]) -> NDArray[np.bytes_]:
    if any(len(content) != HASH_BYTES for content in hashes):
        raise InputError(f"A content hash has {HASH_BYTES} bytes; make them with content_hash(text).")
    return np.frombuffer(b"".join(hashes), dtype=f"S{HASH_BYTES}")


def _first_rows(hashes: Sequence[bytes], rows: Sequence[int]) -> list[int]:
    """Of some rows, those whose content was not in a row before."""
    return list({hashes[row]: row for row in reversed(rows)}.values())[::-1]


def _check_lengths(embeddings: Embeddings, ids: Sequence[str], hashes: Sequence[bytes]) -> None:
    if not len(embeddings) == len(ids) == len(hashes):
        raise InputError(
            f"A shard needs one id and one hash per document, got {len(embeddings)} documents, {len(ids)} ids and "
            f"{len(hashes)} hashes."
        )


def _arrays(embeddings: Embeddings) -> dict[str, FloatArray]:
    arrays = {name: getattr(embeddings, name) for name in _ARRAYS}
    return {name: array for name, array in arrays.items() if array is not None}


def _embeddings(arrays: Mapping[str, FloatArray]) -> Embeddings:
    return Embeddings(arrays["hidden_states"], arrays["router_logits"], arrays.get("mean_routing_weights"))


def _tensors(embeddings: Embeddings, ids: Sequence[str], hashes: Sequence[bytes]) -> dict[str, NDArray[Any]]:
    encoded = [name.encode("utf-8", "surrogatepass") for name in ids]
    halves = {name: _half(name, array, ids) for name, array in _arrays(embeddings).items()}
    return halves | {
        "ids": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        "id_offsets": np.cumsum([0, *map(len, encoded)], dtype=np.int64),
        "hashes": np.frombuffer(_hash_array(hashes).tobytes(), dtype=np.uint8).reshape(-1, HASH_BYTES),
    }


def _half(name: str, array: FloatArray, ids: Sequence[str]) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        half = np.ascontiguousarray(array, dtype=np.float16)
    bad = np.flatnonzero(~np.isfinite(half).all(axis=tuple(range(1, half.ndim))))
    if len(bad):
        raise StoreError(
            f"{name} of {len(bad)} documents (first: {ids[bad[0]]!r}) has values that float16 cannot hold: not a "
            f"number, infinite, or beyond 65504. The model's numbers overflow; load it with another dtype."
        )
    return half


def _header_bytes(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= size - 8:
            raise _Damage(f"it is cut off or not a shard ({size} bytes)")
        return file.read(length)


def _check_tensors(tensors: Mapping[str, Mapping[str, Any]], data_bytes: int) -> None:
    """That every tensor has the bytes its shape needs, and the file ends where the last one does."""
    rows = tensors["hashes"]["shape"][0]
    if rows < 1 or tensors["hashes"]["shape"][1:] != [HASH_BYTES] or tensors["id_offsets"]["shape"] != [rows + 1]:
        raise _Damage("its hashes or ids have the wrong shape")
    for name, tensor in tensors.items():
        start, end = tensor["data_offsets"]
        wanted = int(np.prod(tensor["shape"], dtype=np.int64)) * _DTYPES[tensor["dtype"]].itemsize
        if not 0 <= start <= end <= data_bytes or end - start != wanted:
            raise _Damage(f"{name} does not fit: the file is cut off or its header is wrong")
        if name in _ARRAYS and tensor["shape"][0] != rows:
            raise _Damage(f"{name} has {tensor['shape'][0]} rows instead of {rows}")
    if max(tensor["data_offsets"][1] for tensor in tensors.values()) != data_bytes:
        raise _Damage("the file is longer than its header says")


def _checksum(path: Path, written: str) -> str:
    """The digest of a whole shard file with zeros where its own checksum stands."""
    header = _header_bytes(path, path.stat().st_size)
    with path.open("rb") as file:
        digest = hashlib.blake2b(file.read(8), digest_size=16)
        file.seek(len(header), os.SEEK_CUR)
        digest.update(header.replace(_CHECKSUM + written.encode(), _CHECKSUM + _ZEROS.encode(), 1))
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _plain(key: Mapping[str, JSON]) -> Any:
    return json.loads(_canonical(key))


def _canonical(key: Mapping[str, JSON]) -> bytes:
    try:
        return json.dumps(key, sort_keys=True, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise StoreError(f"A store's key holds text, numbers, booleans and lists of them only: {error}.") from error


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
        _write_json(path, _plain(key))
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}). Delete it: the shards carry the key too.") from error
    if found != _plain(key):
        raise StoreError(f"{path} holds another key than its folder stands for. Delete the folder or that file.")


def _require_store(folder: Path, key: Mapping[str, JSON]) -> None:
    if not folder.is_dir():
        raise StoreError(
            f"There are no embeddings for {_canonical(key).decode()} in {folder.parent}. Encode the corpus first, or "
            "use the settings it was encoded with."
        )
    if (folder / "key.json").exists():
        _check_key(folder, key)


def _write_json(path: Path, value: Any) -> None:
    _write_atomically(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode("utf-8"))


def _write_atomically(path: Path, blob: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}@{socket.gethostname()}.tmp")
    with _disk_errors(path):
        try:
            with temporary.open("wb") as file:
                file.write(blob)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise ResourceError(
                f"The disk is full: {path} could not be written ({error.strerror}). Everything before it is kept; "
                "make room and run again."
            ) from error
        raise StoreError(f"{path} could not be written: {error.strerror}.") from error


def _lock_writer(folder: Path) -> FileLock:
    lock = FileLock(folder / "writer.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreError(
            f"{_writer(folder)} is writing to the store {folder} (lock file {folder / 'writer.lock'}). Wait until it "
            "has finished, or stop it."
        ) from error
    holder = {"pid": os.getpid(), "host": socket.gethostname()}
    (folder / "writer.json").write_text(json.dumps(holder), encoding="utf-8")
    return lock


def _unlock_writer(folder: Path, lock: FileLock) -> None:
    (folder / "writer.json").unlink(missing_ok=True)
    lock.release()


def _writer(folder: Path) -> str:
    try:
        holder = json.loads((folder / "writer.json").read_text(encoding="utf-8"))
        return f"Process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "Another process"


def _remove_leftovers(folder: Path) -> None:
    for path in folder.glob("*.tmp"):
        if _is_stale(path):
            path.unlink(missing_ok=True)


def _is_stale(path: Path) -> bool:
    """Whether nobody is writing a temporary file: its process is gone, or it was left an hour ago."""
    match = _TEMPORARY.search(path.name)
    if match and match[2] == socket.gethostname():
        pid = int(match[1])
        return pid == os.getpid() or not psutil.pid_exists(pid)
    return time.time() - path.stat().st_mtime > _STALE_SECONDS
