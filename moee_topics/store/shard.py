"""One shard: a safetensors file that says itself what it holds, how it was encoded and whether it is whole."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray
from safetensors.numpy import save as to_safetensors

from moee_topics.embeddings import Embeddings, FloatArray
from moee_topics.errors import InputError, StoreError
from moee_topics.messages import counted
from moee_topics.store.files import write_bytes
from moee_topics.store.hash_table import hash_array
from moee_topics.store.keys import HASH_BYTES, JSON, plain

FORMAT = "moee_topics embeddings 1"
ARRAYS = ("hidden_states", "router_logits", "mean_routing_weights")
SHARD_NAME = re.compile(r"shard-[0-9a-f]{32}\.safetensors")

_DTYPES: Mapping[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "I64": np.dtype("<i8"), "U8": np.dtype("u1")}
_DTYPE_OF = dict.fromkeys(ARRAYS, "F16") | {"ids": "U8", "id_offsets": "I64", "hashes": "U8"}
_CHECKSUM = b'checksum\\": \\"'
_ZEROS = "0" * 32


@dataclass(frozen=True)
class Shard:
    """What the index says of one finished shard file.

    Attributes:
        name: of the file, after the content of its documents.
        rows: documents in it.
        bytes: size of the file.
        checksum: the one that stands in the file, blake2b of all its bytes with zeros in its own place.
        xxh3: xxh3_128 of the file, which is ten times as fast; empty where an index of 0.1.0 lacks it.
    """

    name: str
    rows: int
    bytes: int
    checksum: str
    xxh3: str = ""


@dataclass(frozen=True)
class DamagedShard:
    """A shard that cannot be trusted, why, and how many documents it held if that is known."""

    name: str
    reason: str
    rows: int | None = None


class Damage(StoreError):
    """Why a shard cannot be trusted."""


@contextmanager
def _unreadable(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Damage(f"it cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise Damage(f"{what} cannot be read ({error})") from error


@dataclass(frozen=True)
class ShardFile:
    """The header of a shard file; arrays are memory-mapped when asked for."""

    path: Path
    shard: Shard
    key: Mapping[str, JSON]
    tensors: Mapping[str, Mapping[str, Any]]
    data_start: int

    @classmethod
    def open(cls, path: Path, key: Mapping[str, JSON] | None = None) -> ShardFile:
        """Reads and checks the header, and the size of the file by it.

        Raises:
            Damage: the file is not a whole shard, or one of another key.
        """
        with _unreadable("its header"):
            size = path.stat().st_size
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if not 0 < length <= size - 8:
                    raise Damage(f"it is cut off or not a shard ({size} bytes)")
                tensors = json.loads(file.read(length))
            metadata = json.loads(tensors.pop("__metadata__")["moee_topics"])
            if metadata["format"] != FORMAT:
                raise Damage(f"its format is {metadata['format']!r} instead of {FORMAT!r}")
            if key is not None and metadata["key"] != plain(key):
                raise Damage("it was encoded with another key")
            _check_tensors(tensors, size - 8 - length)
            shard = Shard(path.name, tensors["hashes"]["shape"][0], size, metadata["checksum"])
            return cls(path, shard, metadata["key"], tensors, 8 + length)

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

    def documents(self) -> Iterator[tuple[str, bytes]]:
        """The id and content hash of every document."""
        text, offsets = self.array("ids").tobytes(), self.array("id_offsets")
        for row, content in enumerate(self.array("hashes")):
            yield text[offsets[row] : offsets[row + 1]].decode("utf-8", "surrogatepass"), content.tobytes()

    def checked(self, xxh3: str = "") -> Shard:
        """Reads every byte, and gives the shard with its xxh3.

        Args:
            xxh3: what the index says. A file that has it is as it was written. Any other is judged by the checksum it
                carries: the index may be old, or itself be damaged.

        Raises:
            Damage: a byte is not as it was written.
        """
        with _unreadable("it"), self.path.open("rb") as file:
            digest = hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()  # 6 GB/s, where blake2b reads 0.4
            if digest != xxh3:
                file.seek(0)
                header = file.read(self.data_start)
                checksum = hashlib.blake2b(digest_size=16)
                # It was taken with zeros in its own place.
                carried = _CHECKSUM + self.shard.checksum.encode()
                checksum.update(header.replace(carried, _CHECKSUM + _ZEROS.encode(), 1))
                while chunk := file.read(1 << 20):
                    checksum.update(chunk)
                if checksum.hexdigest() != self.shard.checksum:
                    raise Damage("its bytes do not match its checksum")
        return replace(self.shard, xxh3=digest)


def write_shard(
    folder: Path, key: Mapping[str, JSON], embeddings: Embeddings, ids: Sequence[str], hashes: Sequence[bytes]
) -> Shard:
    """Writes one self-describing shard, without touching the index, and gives what the index would say of it.

    Any number of workers may do this in one folder at once: the name is the digest of the content hashes, and whoever
    opens the store next takes in the shards that the index lacks.

    Raises:
        StoreError: a value does not fit float16.
        ResourceError: the disk is full.
    """
    check_lengths(embeddings, ids, hashes)
    if not ids:
        raise InputError("A shard needs at least one document, got none.")
    name = f"shard-{hashlib.blake2b(b''.join(hashes), digest_size=16).hexdigest()}.safetensors"
    metadata = json.dumps({"checksum": _ZEROS, "format": FORMAT, "key": plain(key)}, sort_keys=True)
    # One metadata entry only: safetensors writes several in random order.
    blob = to_safetensors(_tensors(embeddings, ids, hashes), metadata={"moee_topics": metadata})
    checksum = hashlib.blake2b(blob, digest_size=16).hexdigest()
    blob = blob.replace(_CHECKSUM + _ZEROS.encode(), _CHECKSUM + checksum.encode(), 1)
    write_bytes(folder / name, blob)
    return Shard(name, len(hashes), len(blob), checksum, xxhash.xxh3_128(blob).hexdigest())


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
    tensors: dict[str, NDArray[Any]] = {}
    for name, array in arrays_of(embeddings).items():
        with np.errstate(over="ignore"):
            tensors[name] = np.ascontiguousarray(array, dtype=np.float16)
        bad = np.flatnonzero(~np.isfinite(tensors[name]).all(axis=tuple(range(1, array.ndim))))
        if len(bad):
            raise StoreError(
                f"{name} of {counted(len(bad), 'document')} (first: {ids[bad[0]]!r}) has values that float16 cannot "
                f"hold: not a number, infinite, or beyond 65504. The model's numbers overflow; load it with another "
                "dtype."
            )
    encoded = [name.encode("utf-8", "surrogatepass") for name in ids]
    return tensors | {
        "ids": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        "id_offsets": np.cumsum([0, *map(len, encoded)], dtype=np.int64),
        "hashes": np.frombuffer(hash_array(hashes).tobytes(), dtype=np.uint8).reshape(-1, HASH_BYTES),
    }


def _check_tensors(tensors: Mapping[str, Mapping[str, Any]], data_bytes: int) -> None:
    """That the tensors are those of a shard, have the bytes their shapes need, and the file ends with the last."""
    if not {*_DTYPE_OF} - {"mean_routing_weights"} <= {*tensors} <= {*_DTYPE_OF}:
        raise Damage(f"it holds the arrays {sorted(tensors)}")
    rows = tensors["hashes"]["shape"][0]
    if rows < 1 or tensors["hashes"]["shape"][1:] != [HASH_BYTES] or tensors["id_offsets"]["shape"] != [rows + 1]:
        raise Damage("its hashes or ids have the wrong shape")
    for name, tensor in tensors.items():
        (start, end), shape = tensor["data_offsets"], tensor["shape"]
        if tensor["dtype"] != _DTYPE_OF[name] or any(type(number) is not int or number < 0 for number in shape):
            raise Damage(f"{name} is {tensor['dtype']} of the shape {shape}")
        # math.prod and not numpy's, which wraps around: a shape may be a lie.
        size = math.prod(shape) * _DTYPES[tensor["dtype"]].itemsize
        if not 0 <= start <= end <= data_bytes or end - start != size:
            raise Damage(f"{name} does not fit: the file is cut off or its header is wrong")
        if name in ARRAYS and shape[0] != rows:
            raise Damage(f"{name} has {shape[0]} rows instead of {rows}")
    if max(tensor["data_offsets"][1] for tensor in tensors.values()) != data_bytes:
        raise Damage("the file is longer than its header says")
