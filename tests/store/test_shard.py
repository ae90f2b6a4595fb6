"""A shard says itself what it holds, and is refused where that is a lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stores import KEY, assert_reads, encode, fill, flip, hashes_of, make, shard_paths, snapshot, texts

from moee_topics.embeddings import Embeddings
from moee_topics.errors import StoreError
from moee_topics.store import EmbeddingStore, write_shard


@pytest.mark.parametrize("value", [np.inf, np.nan, 70000.0, -1e30])
@pytest.mark.parametrize("name", ["hidden_states", "router_logits"])
def test_a_value_that_float16_cannot_hold_is_refused_by_document(tmp_path: Path, value: float, name: str) -> None:
    arrays = {"hidden_states": np.ones((3, 4), np.float32), "router_logits": np.ones((3, 2, 2), np.float32)}
    arrays[name][1, 0] = value
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        with pytest.raises(StoreError, match=rf"{name} of 1 document \(first: 'document 1'\)"):
            store.write(Embeddings(**arrays), texts(3), hashes_of(texts(3)))
        assert len(store) == 0
        assert shard_paths(store.folder) == []


def test_shards_of_many_workers_never_collide_and_are_all_taken_in(tmp_path: Path) -> None:
    folder = make(tmp_path, texts(5))
    parts = [texts(5, start) for start in (5, 10, 15)]
    paths = {write_shard(folder, KEY, encode(part), part, hashes_of(part)) for part in parts}
    assert len(paths) == 3
    write_shard(folder, KEY, encode(parts[0]), parts[0], hashes_of(parts[0]))
    assert len(EmbeddingStore.open(tmp_path, KEY)) == 20
    assert_reads(tmp_path, texts(20))


def test_a_shard_whose_header_lies_on_purpose_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path, texts(5))
    (path,) = shard_paths(folder)
    blob = path.read_bytes()
    end = 8 + int.from_bytes(blob[:8], "little")
    for shape in ("[5.0,4]", "[-5,-4]", "[5,4,9223372036854775808,0]", "[5,4,4294967296,4294967296]", "[[5],4]"):
        header = blob[8:end].replace(b"[5,4]", shape.encode())
        path.write_bytes(len(header).to_bytes(8, "little") + header + blob[end:])
        assert [shard.name for shard in EmbeddingStore.open(tmp_path, KEY).damaged] == [path.name]
    for header in (b"[" * 100_000, b"{}", b"[]", b"null", b'{"__metadata__": {"moee_topics": "[]"}}'):
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        assert [shard.name for shard in EmbeddingStore.open(tmp_path, KEY).damaged] == [path.name]


@pytest.mark.slow
def test_no_flipped_bit_anywhere_gives_wrong_values(tmp_path: Path) -> None:
    """400 flips with a seed, in headers, data, checksums, index and key: right values, or an error, or re-encoded."""
    generator = np.random.default_rng(0)
    folder = make(tmp_path, texts(40))
    before = snapshot(folder)
    names = [name for name in before if before[name]]
    for _ in range(400):
        path = folder / names[generator.integers(len(names))]
        for _ in range(generator.integers(1, 4)):
            size = len(before[path.name])
            header = generator.integers(2) and path.suffix == ".safetensors"
            flip(path, int(generator.integers(min(size, 600) if header else size)), int(generator.integers(8)))
        if path.name == "key.json" and path.read_bytes() != before[path.name]:
            with pytest.raises(StoreError, match=r"key\.json"):
                assert_reads(tmp_path, texts(40))
            path.write_bytes(before[path.name])
        store = EmbeddingStore.open(tmp_path, KEY)
        lost = set(store.missing(hashes_of(texts(40))))
        rest = [text for row, text in enumerate(texts(40)) if row not in lost]
        assert len(rest) >= 35, "one damaged file costs one shard at most"
        assert_reads(tmp_path, rest)
        with EmbeddingStore.open(tmp_path, KEY, writable=True) as writer:
            writer.drop(writer.verify())
            fill(writer, texts(40))
        assert snapshot(folder) == before


@pytest.mark.slow
def test_every_flipped_bit_of_a_shard_is_found(tmp_path: Path) -> None:
    folder = make(tmp_path, texts(2))
    (path,) = shard_paths(folder)
    blob = path.read_bytes()
    for place in range(len(blob)):
        path.write_bytes(blob[:place] + bytes([blob[place] ^ (1 << place % 8)]) + blob[place + 1 :])
        assert EmbeddingStore.open(tmp_path, KEY).verify(), place
