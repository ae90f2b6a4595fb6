"""Where a document is: its content hash to a shard and a row, in plain sorted arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from moee_topics.errors import InputError
from moee_topics.store.keys import HASH_BYTES


class HashTable:
    """Content hash to (shard number, row): sorted runs of numpy arrays, merged as they grow, 24 bytes a document."""

    def __init__(self) -> None:
        self._runs: list[tuple[NDArray[np.bytes_], NDArray[np.int32], NDArray[np.int32]]] = []

    @classmethod
    def of(cls, parts: Sequence[NDArray[np.bytes_]]) -> HashTable:
        """The table of some shards, numbered in their order; of two with the same hash the first counts."""
        table = cls()
        if parts:
            shards = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in parts])
            rows = np.concatenate([np.arange(len(part), dtype=np.int32) for part in parts])
            table._runs.append(_sorted_run(np.concatenate(parts), shards, rows))
        return table

    def __len__(self) -> int:
        return sum(len(run[0]) for run in self._runs)

    def add(self, hashes: NDArray[np.bytes_], shard: int) -> None:
        """Adds a shard under a number."""
        rows = np.arange(len(hashes), dtype=np.int32)
        self._runs.append(_sorted_run(hashes, np.full(len(hashes), shard, np.int32), rows))
        # As in a log-structured merge tree: few runs to look into, and each row is moved only as often as they double.
        while len(self._runs) > 1 and 2 * len(self._runs[-1][0]) > len(self._runs[-2][0]):
            newer, older = self._runs.pop(), self._runs.pop()
            a, b, c = (np.concatenate(pair) for pair in zip(older, newer, strict=True))
            self._runs.append(_sorted_run(a, b, c))

    def find(self, hashes: NDArray[np.bytes_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The shard number and row of each hash, -1 where there is none."""
        shards = np.full(len(hashes), -1, dtype=np.int32)
        rows = np.full(len(hashes), -1, dtype=np.int32)
        for keys, run_shards, run_rows in self._runs:
            places = np.minimum(np.searchsorted(keys, hashes), len(keys) - 1)  # after the last key there is none
            hits = (keys[places] == hashes) & (shards < 0)
            shards[hits], rows[hits] = run_shards[places[hits]], run_rows[places[hits]]
        return shards, rows


def _sorted_run(
    hashes: NDArray[np.bytes_], shards: NDArray[np.int32], rows: NDArray[np.int32]
) -> tuple[NDArray[np.bytes_], NDArray[np.int32], NDArray[np.int32]]:
    order = np.argsort(hashes, kind="stable")  # of equal hashes the one added first stays the first
    hashes = hashes[order]
    first = np.append(True, hashes[1:] != hashes[:-1])
    return hashes[first], shards[order[first]], rows[order[first]]


def hash_array(hashes: Sequence[bytes]) -> NDArray[np.bytes_]:
    """Content hashes as one array of fixed-length bytes, (n,).

    Raises:
        InputError: a hash has another length.
    """
    if any(len(content) != HASH_BYTES for content in hashes):
        raise InputError(f"A content hash has {HASH_BYTES} bytes; make them with content_hash(text).")
    return np.frombuffer(b"".join(hashes), dtype=f"S{HASH_BYTES}")
