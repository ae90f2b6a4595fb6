"""Stores with bytes and values changed in any file: right values, or our error; written on, they are whole again."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from mutations import mutated, mutated_json
from stores import KEY, assert_reads, encode, fill, hashes_of, make, snapshot, texts

from moee_topics.errors import StoreError
from moee_topics.store import EmbeddingStore, stored_keys

NEW_KEYS = ("format", "shards", "name", "rows", "xxh3", "digest", "model")


def mutate(folder: Path, clean: dict[str, bytes], rng: random.Random) -> None:
    """The clean files, but for one or two that are changed; of a shard the header as often as all of it."""
    for path in set(folder.iterdir()) - {folder / name for name in clean}:
        path.unlink()
    for name, content in clean.items():
        (folder / name).write_bytes(content)
    for name in rng.sample(sorted(set(clean) - {"writer.lock"}), rng.choice((1, 1, 1, 2))):
        content = clean[name]
        header = int.from_bytes(content[:8], "little") + 16
        is_json = name.endswith(".json")
        changed = mutated_json(content, rng, NEW_KEYS) if is_json else None
        (folder / name).write_bytes(changed or mutated(content, rng, within=rng.choice((None, header))))


def use(root: Path, how: str, documents: list[str]) -> None:
    """Reads a store, asks for its keys, or writes on in it, which must leave it whole."""
    if how == "keys":
        assert stored_keys(root) in ([], [KEY])
    elif how == "read":
        stored, right = EmbeddingStore.open(root, KEY).read(hashes_of(documents)), encode(documents)
        assert np.array_equal(stored.hidden_states, right.hidden_states.astype(np.float16))
        assert np.array_equal(stored.router_logits, right.router_logits.astype(np.float16))
    else:
        with EmbeddingStore.open(root, KEY, writable=True) as store:
            if how == "verify":
                store.drop(store.verify())
            elif how == "rebuild":
                store.rebuild_index()
            fill(store, documents)
        assert_reads(root, documents)


@pytest.mark.parametrize("tries", [60, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_mutated_store_gives_right_values_or_an_error(
    tmp_path: Path, tries: int, caplog: pytest.LogCaptureFixture
) -> None:
    rng, outcomes, documents = random.Random(20261125), Counter[str](), texts(15)
    folder = make(tmp_path, documents)
    clean = snapshot(folder)
    for _ in range(tries):
        mutate(folder, clean, rng)
        how = rng.choice(("read", "write", "verify", "rebuild", "keys"))
        try:
            use(tmp_path, how, documents)
            outcomes["right"] += 1
        except StoreError:
            assert how != "keys"  # what is damaged says nothing, and all else is listed
            outcomes["refused"] += 1
        caplog.clear()
    assert outcomes["right"] and outcomes["refused"]
