"""The shards of a folder: damage is found and named, and the index is made again."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from stores import KEY, OLD, assert_reads, encode, fill, flip, hashes_of, make, shard_paths, snapshot, texts

from moee_topics.embeddings import Embeddings
from moee_topics.errors import StoreError
from moee_topics.store import DamagedShard, EmbeddingStore, Shard, inventory, key_digest, stored_keys, write_shard
from moee_topics.store.files import write_json
from moee_topics.store.shard import ShardFile


def test_a_shard_that_was_renamed_but_not_indexed_is_taken_in(tmp_path: Path) -> None:
    folder = make(tmp_path, texts(5))
    before = snapshot(folder)
    write_shard(folder, KEY, encode(texts(5, 5)), texts(5, 5), hashes_of(texts(5, 5)))
    assert_reads(tmp_path, texts(10))
    assert (folder / "index.json").read_bytes() == before["index.json"], "a reader must not write"
    make(tmp_path, texts(10))
    assert snapshot(folder) == snapshot(make(tmp_path / "whole", texts(10)))


def test_the_index_of_many_shards_is_written_ever_more_rarely_and_is_whole_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "SHARDS_PER_LATE_ONE", 4)
    written: list[int] = []

    def noting(path: Path, value: dict[str, list[object]], **options: object) -> None:
        written.append(len(value["shards"]))
        write_json(path, value, **options)

    monkeypatch.setattr(inventory, "write_json", noting)
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        fill(store, texts(30), step=1)
        assert written == [0, 1, 2, 3, 4, 6, 8, 11, 15, 20, 27], "each time that a fourth is missing"
        assert_reads(tmp_path, texts(30))
    assert written[-1] == 30
    monkeypatch.setattr(inventory, "SHARDS_PER_LATE_ONE", 10**9)
    assert snapshot(store.folder) == snapshot(make(tmp_path / "each", texts(30), step=1))


def test_a_document_in_two_shards_counts_once(tmp_path: Path) -> None:
    folder = make(tmp_path, texts(5))
    overlap = texts(5, 3)
    write_shard(folder, KEY, encode(overlap), overlap, hashes_of(overlap))
    assert len(EmbeddingStore.open(tmp_path, KEY)) == 8
    assert_reads(tmp_path, texts(8))


def damage_and_check(root: Path, path: Path) -> None:
    """The damage is named, its documents count as missing, and encoding them again restores the bytes."""
    whole = make(root / "whole", texts(20))
    with EmbeddingStore.open(root, KEY, writable=True) as store:
        damaged = store.verify()
        assert [shard.name for shard in damaged] == [path.name]
        assert damaged[0].reason
        assert damaged[0].rows in (5, None)
        assert len(store.missing(hashes_of(texts(20)))) == 5
        with pytest.raises(StoreError, match=r"5 of 20 documents .* 1 damaged shard left"):
            store.read(hashes_of(texts(20)))
        store.drop(damaged)
        assert store.verify() == []
        assert fill(store, texts(20)) == 5
    assert snapshot(path.parent) == snapshot(whole)


@pytest.mark.parametrize("place", [0, 3, 8, 9, 60, 200, 300, 420, 700, -200, -40, -1])
def test_a_flipped_bit_anywhere_is_found_and_mended(tmp_path: Path, place: int) -> None:
    path = shard_paths(make(tmp_path, texts(20)))[1]
    blob = bytearray(path.read_bytes())
    blob[place] ^= 4
    path.write_bytes(blob)
    damage_and_check(tmp_path, path)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_shard_cut_short_is_found_when_the_store_is_opened(tmp_path: Path, keep: int) -> None:
    path = shard_paths(make(tmp_path, texts(20)))[2]
    path.write_bytes(path.read_bytes()[:keep])
    assert [shard.name for shard in EmbeddingStore.open(tmp_path, KEY).damaged] == [path.name]
    damage_and_check(tmp_path, path)


def test_a_shard_that_grew_is_found(tmp_path: Path) -> None:
    path = shard_paths(make(tmp_path, texts(20)))[2]
    path.write_bytes(path.read_bytes() + b"more")
    damage_and_check(tmp_path, path)


def test_a_deleted_shard_is_named(tmp_path: Path) -> None:
    path = shard_paths(make(tmp_path, texts(20)))[0]
    path.unlink()
    (lost,) = EmbeddingStore.open(tmp_path, KEY).damaged
    assert (lost.name, lost.reason, lost.rows) == (path.name, "the file is gone", 5)
    make(tmp_path, texts(20))
    assert snapshot(path.parent) == snapshot(make(tmp_path / "whole", texts(20)))


def test_a_shard_of_another_key_is_not_taken_in(tmp_path: Path) -> None:
    folder = make(tmp_path, texts(5))
    write_shard(folder, KEY | {"prompt": "other"}, encode(texts(5, 5)), texts(5, 5), hashes_of(texts(5, 5)))
    (damaged,) = EmbeddingStore.open(tmp_path, KEY).damaged
    assert "another key" in damaged.reason


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"shards": [{"name": 1}]}', b"\xff\xfe"])
def test_an_index_that_is_lost_or_broken_is_made_again(tmp_path: Path, content: bytes | None) -> None:
    folder = make(tmp_path, texts(20))
    before = snapshot(folder)
    index = folder / "index.json"
    index.unlink() if content is None else index.write_bytes(content)
    assert_reads(tmp_path, texts(20))
    make(tmp_path, texts(20))
    assert snapshot(folder) == before


def test_rebuilding_the_index_changes_nothing(tmp_path: Path) -> None:
    before = snapshot(make(tmp_path, texts(20)))
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        store.rebuild_index()
    assert snapshot(store.folder) == before
    assert [entry["rows"] for entry in json.loads(before["index.json"])["shards"]] == [5] * 4


def test_a_shard_lost_while_the_store_is_open_is_a_clear_error(tmp_path: Path) -> None:
    folder = make(tmp_path, texts(5))
    store, read = EmbeddingStore.open(tmp_path, KEY), EmbeddingStore.open(tmp_path, KEY)
    read.read(hashes_of(texts(1)))
    (path,) = shard_paths(folder)
    path.unlink()
    with pytest.raises(StoreError, match=f"{path.name} .* damaged after the store was opened"):
        read.read(hashes_of(texts(1)))
    with pytest.raises(StoreError, match=rf"1 damaged shard left out: {path.name} \(it cannot be read"):
        store.read(hashes_of(texts(1)))


@pytest.mark.parametrize("place", [300, 700, -200, -40, -1])
def test_what_is_damaged_is_never_given_and_named(tmp_path: Path, place: int) -> None:
    path = shard_paths(make(tmp_path, texts(20)))[1]
    whole = make(tmp_path / "whole", texts(20))
    flip(path, place)
    with pytest.raises(StoreError, match=rf"5 of 20 documents .* 1 damaged shard left out: {path.name}"):
        EmbeddingStore.open(tmp_path, KEY).read(hashes_of(texts(20)))
    store = EmbeddingStore.open(tmp_path, KEY)
    lost = store.missing(hashes_of(texts(20)))
    assert len(lost) == 5
    assert [shard.name for shard in store.damaged] == [path.name]
    with pytest.raises(StoreError, match=f"{path.name}.*moee-topics embed RECIPE --output"):
        store.require(hashes_of(texts(20)))
    assert_reads(tmp_path, [text for row, text in enumerate(texts(20)) if row not in lost])
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as writer:
        writer.drop(store.damaged)
        assert fill(writer, texts(20)) == 5
    assert_reads(tmp_path, texts(20))
    assert snapshot(path.parent) == snapshot(whole)


def test_only_the_shards_of_what_is_asked_for_are_read_and_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path, texts(20))
    read: list[str] = []
    checked = ShardFile.checked

    def noted(file: ShardFile, xxh3: str = "") -> Shard:
        read.append(file.path.name)
        assert xxh3, "the index knows the quick digest"
        return checked(file, xxh3)

    monkeypatch.setattr(ShardFile, "checked", noted)
    slow = SimpleNamespace(
        file_digest=hashlib.file_digest, blake2b=lambda **_: pytest.fail("the slow checksum is not needed")
    )
    monkeypatch.setattr("moee_topics.store.shard.hashlib", slow)
    store = EmbeddingStore.open(tmp_path, KEY)
    for _ in range(3):
        store.missing(hashes_of(texts(5)))
        store.read(hashes_of(texts(3)))
    assert len(read) == 1
    store.read(hashes_of(texts(20)))
    list(store.documents())
    assert sorted(read) == sorted(path.name for path in shard_paths(folder))


def test_a_shard_that_was_made_again_meanwhile_is_not_dropped(tmp_path: Path) -> None:
    path = shard_paths(make(tmp_path, texts(10)))[0]
    flip(path, -1)
    damaged = EmbeddingStore.open(tmp_path, KEY).verify()
    flip(path, -1)
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        store.drop(damaged)
        assert store.missing(hashes_of(texts(10))) == []
    assert_reads(tmp_path, texts(10))


def test_a_header_that_lies_about_its_shapes_costs_no_other_shard(tmp_path: Path) -> None:
    """Arrays without routers have no bytes, so a flipped digit of their shape still fits the file."""
    empty = np.zeros((2, 0, 0), np.float32)
    documents = texts(6)
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        for start in (0, 2, 4):
            part = documents[start : start + 2]
            store.write(Embeddings(encode(part).hidden_states, empty), part, hashes_of(part))
    for path in shard_paths(store.folder):
        blob = path.read_bytes()
        place = blob.index(b'"shape":[2,0,0]') + len('"shape":[2,0')
        path.write_bytes(blob[: place - 1] + b"4" + blob[place:])
        opened = EmbeddingStore.open(tmp_path, KEY)
        list(opened.documents())
        assert [shard.name for shard in opened.damaged] == [path.name]
        assert len(opened) == 4
        path.write_bytes(blob)


def test_a_header_that_names_other_arrays_costs_no_other_shard(tmp_path: Path) -> None:
    for path in shard_paths(make(tmp_path, texts(20))):
        blob = path.read_bytes()
        path.write_bytes(blob.replace(b"hidden_states", b"hidden_statew", 1))
        opened = EmbeddingStore.open(tmp_path, KEY)
        assert [shard.name for shard in opened.damaged] == [path.name]
        assert len(opened) == 15
        path.write_bytes(blob)


@pytest.mark.parametrize("name", ["../../victim", "../victim", "/victim", "sub/../../../victim", "key.json", "shard-"])
def test_an_index_cannot_point_outside_its_folder(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path / "store", texts(10))
    victims = [tmp_path / "victim", tmp_path / "store" / "victim", folder / "key.json"]
    for victim in victims[:2]:
        victim.write_text("precious")
    index = json.loads((folder / "index.json").read_text())
    index["shards"].append({"name": name, "rows": 5, "bytes": 8, "checksum": "0" * 32})
    (folder / "index.json").write_text(json.dumps(index))
    with EmbeddingStore.open(tmp_path / "store", KEY, writable=True) as store:
        store.drop(store.verify())
        store.drop([DamagedShard(name, "so it is said")])
    assert all(victim.exists() for victim in victims)
    assert_reads(tmp_path / "store", texts(10))


def test_a_flipped_bit_of_the_index_or_the_key_leaves_right_values_or_an_error(tmp_path: Path) -> None:
    folder = make(tmp_path, texts(4), 2)
    for name in ("index.json", "key.json"):
        blob = (folder / name).read_bytes()
        for place in range(0, len(blob), 3):
            flip(folder / name, place, place % 8)
            try:
                assert_reads(tmp_path, texts(4))
            except StoreError as error:
                assert name == "key.json", error
            (folder / name).write_bytes(blob)


def test_names_that_differ_only_by_case_are_not_the_stores(tmp_path: Path) -> None:
    folder = make(tmp_path, texts(10))
    path = shard_paths(folder)[0]
    upper = folder / path.name.upper().replace("SHARD", "shard").replace("SAFETENSORS", "safetensors")
    if upper.exists():
        pytest.skip("this file system does not tell them apart")
    upper.write_bytes(b"something else")
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        assert store.verify() == []
    assert upper.read_bytes() == b"something else"


def test_an_index_of_0_1_0_stays_as_it_is_until_its_shards_are_read_through(tmp_path: Path) -> None:
    key = stored_keys(OLD)[0]
    shutil.copytree(OLD / key_digest(key), tmp_path / key_digest(key))
    index = tmp_path / key_digest(key) / "index.json"
    before = index.read_bytes()
    with EmbeddingStore.open(tmp_path, key, writable=True) as store:
        assert index.read_bytes() == before
        list(store.documents())
    assert all(len(shard["xxh3"]) == 32 for shard in json.loads(index.read_bytes())["shards"])
