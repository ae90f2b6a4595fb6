"""Hashes to shards and rows."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from stores import KEY, encode, texts

from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError
from moee_topics.store import EmbeddingStore, content_hash
from moee_topics.store.hash_table import HashTable, hash_array


def test_hashes_with_zero_bytes_are_told_apart(tmp_path: Path) -> None:
    hashes = [b"\0" * 16, b"\0" * 15 + b"\1", b"\1" + b"\0" * 15, b"a" * 15 + b"\0", b"a" * 16]
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        store.write(encode(texts(5)), texts(5), hashes)
        for row, content in enumerate(hashes):
            assert store.read([content]).hidden_states[0, 0] == row / 8
        assert store.missing([b"a" * 14 + b"\0\0"]) == [0]


def test_opening_takes_at_most_a_hundred_bytes_a_document(tmp_path: Path) -> None:
    count, shards = 100_000, 5
    generator = np.random.default_rng(0)
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        for _ in range(shards):
            rows = count // shards
            blob = generator.bytes(16 * rows)
            part = Embeddings(np.zeros((rows, 1), np.float32), np.zeros((rows, 0, 0), np.float32))
            store.write(part, [""] * rows, [blob[i : i + 16] for i in range(0, len(blob), 16)])
    tracemalloc.start()
    opened = EmbeddingStore.open(tmp_path, KEY)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(opened) == count
    assert peak < 100 * count


@pytest.mark.parametrize("seed", range(5))
def test_a_table_grown_shard_by_shard_finds_what_one_made_at_once_does(seed: int) -> None:
    chance = np.random.default_rng(seed)
    parts = [hash_array([content_hash(str(n)) for n in chance.integers(0, 60, 12)]) for _ in range(9)]
    grown, whole = HashTable(), HashTable.of(parts)
    for number, part in enumerate(parts):
        grown.add(part, number)
    asked = hash_array([content_hash(str(n)) for n in range(80)])
    shards, rows = whole.find(asked)
    assert [found.tolist() for found in grown.find(asked)] == [shards.tolist(), rows.tolist()]
    for content, shard, row in zip(asked, shards, rows, strict=True):
        places = [(n, int(at)) for n, part in enumerate(parts) for at in np.flatnonzero(part == content)]
        assert (shard, row) == (places[0] if places else (-1, -1))


def test_a_hash_of_another_length_is_refused() -> None:
    with pytest.raises(InputError, match="16 bytes"):
        hash_array([b"short"])
