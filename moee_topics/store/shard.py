"""One shard: a safetensors file that says itself what it holds, how it was encoded and whether it is whole."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as to_safetensors

from moee_topics.embeddings import Embeddings, FloatArray
from moee_topics.errors import InputError, StoreError
from moee_topics.store.files import write_bytes
from moee_topics.store.keys import HASH_BYTES, JSON, plain
from moee_topics.store.table import hash_array

FORMAT = "moee_topics embeddings 1"
ARRAYS = ("hidden_states", "router_logits", "mean_routing_weights")

_DTYPES: Mapping[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "I64": np.dtype("<i8"), "U8": np.dtype("u1")}
_CHECKSUM = b'checksum\\": \\"'
_ZEROS = "0" * 32


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


class Damage(StoreError):
    """Why a shard cannot be trusted."""


@dataclass(frozen=True)
class ShardFile:
    """The header of a shard file; arrays are memory-mapped when asked for."""

    path: Path
    shard: Shard
    tensors: Mapping[str, Mapping[str, Any]]
    data_start: int

    @classmethod
    def open(cls, path: Path, key: Mapping[str, JSON] | None = None) -> ShardFile:
        """Reads and checks the header, and the size of the file by it.

        Raises:
            Damage: the file is not a whole shard, or one of another key.
        """
        try:
            return cls._parse(path, key)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise Damage(f"its header cannot be read ({error})") from error
        except OSError as error:
            raise Damage(f"it cannot be read ({error.strerror})") from error

    @classmethod
    def _parse(cls, path: Path, key: Mapping[str, JSON] | None) -> ShardFile:
        size = path.stat().st_size
        raw = _header_bytes(path, size)
        tensors = json.loads(raw)
        metadata = json.loads(tensors.pop("__metadata__")["moee_topics"])
        if metadata["format"] != FORMAT:
            raise Damage(f"its format is {metadata['format']!r} instead of {FORMAT!r}")
        if key is not None and metadata["key"] != plain(key):
            raise Damage("it was encoded with another key")
        _check_tensors(tensors, size - 8 - len(raw))
        shard = Shard(path.name, tensors["hashes"]["shape"][0], size, metadata["checksum"])
        return cls(path, shard, tensors, 8 + len(raw))

    @property
    def layout(self) -> dict[str, tuple[int, ...]]:
        """The shape of one document in every array."""
        return {name: tuple(self.tensors[name]["shape"][1:]) for name in ARRAYS if name in self.tensors}

    def array(self, name: str) -> NDArray[Any]:
        """One tensor, memory-mapped."""
        tensor = self.tensors[name]
        shape, dtype = tuple(tensor["shape"]), _DTYPES[tensor["dtype"]]
        if 0 in shape:
            return np.empty(shape, dtype)
        offset = self.data_start + tensor["data_offsets"][0]
        mapped: NDArray[Any] = np.memmap(self.path, dtype, mode="r", offset=offset, shape=shape)
        return mapped


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
    check_lengths(embeddings, ids, hashes)
    if not ids:
        raise InputError("A shard needs at least one document, got none.")
    name = hashlib.blake2b(b"".join(hashes), digest_size=16).hexdigest()
    path = folder / f"shard-{name}.safetensors"
    metadata = json.dumps({"checksum": _ZEROS, "format": FORMAT, "key": plain(key)}, sort_keys=True)
    # One metadata entry only: safetensors writes several in random order.
    blob = to_safetensors(_tensors(embeddings, ids, hashes), metadata={"moee_topics": metadata})
    checksum = hashlib.blake2b(blob, digest_size=16).hexdigest()
    write_bytes(path, blob.replace(_CHECKSUM + _ZEROS.encode(), _CHECKSUM + checksum.encode(), 1))
    return path


def check_lengths(embeddings: Embeddings, ids: Sequence[str], hashes: Sequence[bytes]) -> None:
    """That there is one id and one hash per document."""
    if not len(embeddings) == len(ids) == len(hashes):
        raise InputError(
            f"A shard needs one id and one hash per document, got {len(embeddings)} documents, {len(ids)} ids and "
            f"{len(hashes)} hashes."
        )


def arrays_of(embeddings: Embeddings) -> dict[str, FloatArray]:
    """The arrays that are there, by name."""
    arrays = {name: getattr(embeddings, name) for name in ARRAYS}
    return {name: array for name, array in arrays.items() if array is not None}


def _tensors(embeddings: Embeddings, ids: Sequence[str], hashes: Sequence[bytes]) -> dict[str, NDArray[Any]]:
    encoded = [name.encode("utf-8", "surrogatepass") for name in ids]
    halves = {name: _half(name, array, ids) for name, array in arrays_of(embeddings).items()}
    return halves | {
        "ids": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        "id_offsets": np.cumsum([0, *map(len, encoded)], dtype=np.int64),
        "hashes": np.frombuffer(hash_array(hashes).tobytes(), dtype=np.uint8).reshape(-1, HASH_BYTES),
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
            raise Damage(f"it is cut off or not a shard ({size} bytes)")
        return file.read(length)


def _check_tensors(tensors: Mapping[str, Mapping[str, Any]], data_bytes: int) -> None:
    """That every tensor has the bytes its shape needs, and the file ends where the last one does."""
    rows = tensors["hashes"]["shape"][0]
    if rows < 1 or tensors["hashes"]["shape"][1:] != [HASH_BYTES] or tensors["id_offsets"]["shape"] != [rows + 1]:
        raise Damage("its hashes or ids have the wrong shape")
    for name, tensor in tensors.items():
        start, end = tensor["data_offsets"]
        wanted = int(np.prod(tensor["shape"], dtype=np.int64)) * _DTYPES[tensor["dtype"]].itemsize
        if not 0 <= start <= end <= data_bytes or end - start != wanted:
            raise Damage(f"{name} does not fit: the file is cut off or its header is wrong")
        if name in ARRAYS and tensor["shape"][0] != rows:
            raise Damage(f"{name} has {tensor['shape'][0]} rows instead of {rows}")
    if max(tensor["data_offsets"][1] for tensor in tensors.values()) != data_bytes:
        raise Damage("the file is longer than its header says")


def checksum_of(path: Path, written: str) -> str:
    """The digest of a whole shard file with zeros where its own checksum stands."""
    header = _header_bytes(path, path.stat().st_size)
    with path.open("rb") as file:
        digest = hashlib.blake2b(file.read(8), digest_size=16)
        file.seek(len(header), os.SEEK_CUR)
        digest.update(header.replace(_CHECKSUM + written.encode(), _CHECKSUM + _ZEROS.encode(), 1))
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
