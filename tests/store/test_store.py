"""The store: same writes same bytes, killed anywhere it resumes, damage is found and named."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError, ResourceError, StoreError
from moee_topics.store import (
    DamagedShard,
    EmbeddingStore,
    Shard,
    content_hash,
    files,
    key_digest,
    stored_keys,
    write_shard,
)
from moee_topics.store.shard import ShardFile

KEY = {"model": "tiny", "prompt": "none", "max_tokens": 512}
DIMENSIONS, LAYERS, EXPERTS = 4, 2, 3
STEP = 5


def texts(count: int, start: int = 0) -> list[str]:
    return [f"document {i}" for i in range(start, start + count)]


def hashes_of(documents: list[str]) -> list[bytes]:
    return [content_hash(text) for text in documents]


def encode(documents: list[str], mean: bool = False) -> Embeddings:
    """A model by eye: every number of a document is its own number, divided by a power of two."""
    number = np.array([int(text.split()[1]) for text in documents], dtype=np.float32)
    logits = np.broadcast_to((number / 64)[:, None, None], (len(number), LAYERS, EXPERTS))
    hidden = np.broadcast_to((number / 8)[:, None], (len(number), DIMENSIONS))
    return Embeddings(hidden, logits, logits / 2 if mean else None)


def fill(store: EmbeddingStore, documents: list[str], step: int = STEP) -> int:
    """Encodes what is missing, ``step`` documents a shard, and says how many."""
    hashes = hashes_of(documents)
    missing = store.missing(hashes)
    for start in range(0, len(missing), step):
        rows = missing[start : start + step]
        part = [documents[i] for i in rows]
        store.write(encode(part), part, [hashes[i] for i in rows])
    return len(missing)


def make(root: Path, documents: list[str], step: int = STEP) -> Path:
    with EmbeddingStore.open(root, KEY, writable=True) as store:
        fill(store, documents, step)
        return store.folder


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def shard_paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*.safetensors"))


def assert_reads(root: Path, documents: list[str]) -> None:
    got = EmbeddingStore.open(root, KEY).read(hashes_of(documents))
    np.testing.assert_array_equal(got.hidden_states, encode(documents).hidden_states.astype(np.float16))
    np.testing.assert_array_equal(got.router_logits, encode(documents).router_logits.astype(np.float16))


def test_documents_come_back_in_the_order_asked_with_repeats(tmp_path: Path) -> None:
    documents = texts(17)
    make(tmp_path, documents)
    assert_reads(tmp_path, [documents[i] for i in (16, 0, 3, 3, 9, 5)])
    store = EmbeddingStore.open(tmp_path, KEY)
    assert len(store) == 17
    assert content_hash("document 3") in store
    assert content_hash("document 99") not in store
    assert store.read([]).hidden_states.shape == (0, DIMENSIONS)
    assert store.read([]).router_logits.shape == (0, LAYERS, EXPERTS)


def test_stored_arrays_are_float16_and_ids_are_kept(tmp_path: Path) -> None:
    documents = texts(7)
    make(tmp_path, documents)
    store = EmbeddingStore.open(tmp_path, KEY)
    assert store.read(hashes_of(documents)).hidden_states.dtype == np.float16
    assert sorted(store.documents()) == sorted(zip(documents, hashes_of(documents), strict=True))


@pytest.mark.parametrize("rows", [1, 4, 100])
def test_blocks_joined_are_the_whole(tmp_path: Path, rows: int) -> None:
    documents = texts(11)
    make(tmp_path, documents)
    store = EmbeddingStore.open(tmp_path, KEY)
    whole = store.read(hashes_of(documents))
    blocks = list(store.read_blocks(hashes_of(documents), rows))
    assert max(map(len, blocks)) <= rows
    np.testing.assert_array_equal(Embeddings.concatenate(blocks).hidden_states, whole.hidden_states)


def test_blocks_of_no_rows_are_refused(tmp_path: Path) -> None:
    make(tmp_path, texts(2))
    with pytest.raises(InputError, match="at least 1 row"):
        list(EmbeddingStore.open(tmp_path, KEY).read_blocks(hashes_of(texts(2)), 0))


def test_mean_routing_weights_are_kept_where_the_pooling_averages(tmp_path: Path) -> None:
    documents = texts(3)
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        store.write(encode(documents, mean=True), documents, hashes_of(documents))
    weights = EmbeddingStore.open(tmp_path, KEY).read(hashes_of(documents)).mean_routing_weights
    assert weights is not None
    np.testing.assert_array_equal(weights, (encode(documents).router_logits / 2).astype(np.float16))


def test_a_model_without_routers_is_stored(tmp_path: Path) -> None:
    embeddings = Embeddings(np.ones((2, 3), np.float32), np.zeros((2, 0, 0), np.float32))
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        store.write(embeddings, ["a", "b"], hashes_of(["a", "b"]))
    got = EmbeddingStore.open(tmp_path, KEY)
    assert got.verify() == []
    assert got.read(hashes_of(["b"])).router_logits.shape == (1, 0, 0)


def test_unusual_ids_and_texts_survive(tmp_path: Path) -> None:
    ids = ["", "naïve", "日本", "lone \ud800 surrogate", "a\x00b"]
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        store.write(encode(texts(5)), ids, hashes_of(ids))
    assert [name for name, _ in EmbeddingStore.open(tmp_path, KEY).documents()] == ids


def test_hashes_with_zero_bytes_are_told_apart(tmp_path: Path) -> None:
    hashes = [b"\0" * 16, b"\0" * 15 + b"\1", b"\1" + b"\0" * 15, b"a" * 15 + b"\0", b"a" * 16]
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        store.write(encode(texts(5)), texts(5), hashes)
        for row, content in enumerate(hashes):
            assert store.read([content]).hidden_states[0, 0] == row / 8
        assert store.missing([b"a" * 14 + b"\0\0"]) == [0]


def test_the_same_writes_give_the_same_files(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", texts(23)), make(tmp_path / "two", texts(23))
    assert one.name == two.name == key_digest(KEY)
    assert snapshot(one) == snapshot(two)
    assert {name.split("-")[0] for name in snapshot(one)} == {"shard", "index.json", "key.json", "writer.lock"}


def test_opening_again_changes_no_byte(tmp_path: Path) -> None:
    folder = make(tmp_path, texts(12))
    before = snapshot(folder)
    assert make(tmp_path, texts(12)) == folder
    assert snapshot(folder) == before


def test_a_key_is_its_content_not_its_order() -> None:
    assert key_digest({"a": 1, "b": [1, 2]}) == key_digest({"b": (1, 2), "a": 1})
    assert key_digest({"a": 1}) != key_digest({"a": 2})


def test_another_key_is_another_folder(tmp_path: Path) -> None:
    make(tmp_path, texts(3))
    with EmbeddingStore.open(tmp_path, KEY | {"prompt": "prompteol"}, writable=True) as other:
        assert len(other) == 0
        assert other.missing(hashes_of(texts(3))) == [0, 1, 2]


def test_a_key_that_is_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="text, numbers"):
        EmbeddingStore.open(tmp_path, {"path": tmp_path}, writable=True)  # type: ignore[dict-item]


def test_reading_where_nothing_was_encoded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Encode the corpus first"):
        EmbeddingStore.open(tmp_path, KEY)


@pytest.mark.parametrize("content", ["{", '{"model": "another"}'])
def test_a_key_file_that_is_damaged_or_lies_is_refused(tmp_path: Path, content: str) -> None:
    folder = make(tmp_path, texts(3))
    (folder / "key.json").write_text(content)
    for writable in (False, True):
        with pytest.raises(StoreError, match=r"key\.json"):
            EmbeddingStore.open(tmp_path, KEY, writable=writable)
    (folder / "key.json").unlink()
    make(tmp_path, texts(3))


def test_a_grown_and_reordered_corpus_encodes_only_what_is_new(tmp_path: Path) -> None:
    make(tmp_path, texts(10))
    grown = texts(3, start=100) + texts(10)[::-1]
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        assert fill(store, grown) == 3
    assert_reads(tmp_path, grown)


def test_documents_already_stored_or_repeated_are_not_written_again(tmp_path: Path) -> None:
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        fill(store, texts(4))
        documents = ["document 2", "document 8", "document 8", "document 9"]
        store.write(encode(documents), documents, hashes_of(documents))
        assert len(store) == 6
        assert sum(shard.rows for shard in store.shards) == 6
        store.write(encode(documents), documents, hashes_of(documents))
        assert len(store.shards) == 2
    assert_reads(tmp_path, [*texts(4), "document 8", "document 9"])


def test_missing_documents_are_counted_and_the_way_out_is_named(tmp_path: Path) -> None:
    make(tmp_path, texts(4))
    with pytest.raises(StoreError, match=r"2 of 6 documents are not in the store .* Encode the corpus again"):
        EmbeddingStore.open(tmp_path, KEY).read(hashes_of(texts(6)))


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    make(tmp_path, texts(2))
    store = EmbeddingStore.open(tmp_path, KEY)
    for action in (
        lambda: store.write(encode(texts(2)), texts(2), hashes_of(texts(2))),
        lambda: store.drop([]),
        store.rebuild_index,
    ):
        with pytest.raises(StoreError, match="for reading only"):
            action()


def test_lengths_hashes_and_shapes_are_checked(tmp_path: Path) -> None:
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        with pytest.raises(InputError, match="one id and one hash per document"):
            store.write(encode(texts(2)), ["a"], hashes_of(texts(2)))
        with pytest.raises(InputError, match="16 bytes"):
            store.missing([b"short"])
        fill(store, texts(2))
        wide = Embeddings(np.ones((1, 9), np.float32), np.ones((1, LAYERS, EXPERTS), np.float32))
        with pytest.raises(StoreError, match="missing from the key"):
            store.write(wide, ["x"], hashes_of(["x"]))
    with pytest.raises(InputError, match="at least one document"):
        write_shard(tmp_path, KEY, encode([]), [], [])


@pytest.mark.parametrize("value", [np.inf, np.nan, 70000.0, -1e30])
@pytest.mark.parametrize("name", ["hidden_states", "router_logits"])
def test_a_value_that_float16_cannot_hold_is_refused_by_document(tmp_path: Path, value: float, name: str) -> None:
    arrays = {"hidden_states": np.ones((3, 4), np.float32), "router_logits": np.ones((3, 2, 2), np.float32)}
    arrays[name][1, 0] = value
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        with pytest.raises(StoreError, match=rf"{name} of 1 documents \(first: 'document 1'\)"):
            store.write(Embeddings(**arrays), texts(3), hashes_of(texts(3)))
        assert len(store) == 0
        assert shard_paths(store.folder) == []


# --- killed at any moment -------------------------------------------------------------------------------------------

WORKER = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import test_store as t
kill_at, call = int(sys.argv[3]), 0
def die_at(name, after):
    real = getattr(*name)
    def wrapped(*args, **kwargs):
        global call
        if not after:
            call += 1
            if call == kill_at: os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **kwargs)
        if after:
            call += 1
            if call == kill_at: os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(*name, wrapped)
moment = sys.argv[4]
if moment == "before_sync": die_at((os, "fsync"), False)
if moment == "before_rename": die_at((Path, "replace"), False)
if moment == "after_rename": die_at((Path, "replace"), True)
t.make(Path(sys.argv[2]), t.texts(20), 5)
print("finished")
"""


def run_worker(root: Path, kill_at: int, moment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", WORKER, str(Path(__file__).parent), str(root), str(kill_at), moment]
    return subprocess.run(command, capture_output=True)


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize(
    ("moment", "kill_at"),
    [("before_sync", 7), ("before_rename", 1), ("before_rename", 5), ("before_rename", 6), ("after_rename", 7)],
)
def test_a_killed_run_resumes_and_ends_with_the_same_bytes(tmp_path: Path, moment: str, kill_at: int) -> None:
    killed = run_worker(tmp_path / "killed", kill_at, moment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    folder = tmp_path / "killed" / key_digest(KEY)
    left = len(shard_paths(folder))
    with EmbeddingStore.open(tmp_path / "killed", KEY, writable=True) as store:
        assert len(store) == left * STEP
        assert store.verify() == []
        assert not list(folder.glob("*.tmp"))
        assert fill(store, texts(20)) == 20 - left * STEP
    assert snapshot(folder) == snapshot(make(tmp_path / "whole", texts(20)))


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_run_killed_again_and_again_ends_with_the_same_bytes(tmp_path: Path) -> None:
    kills = 0
    while run_worker(tmp_path / "killed", 5, "before_rename").returncode == -signal.SIGKILL:
        kills += 1
    assert kills >= 2
    assert snapshot(tmp_path / "killed" / key_digest(KEY)) == snapshot(make(tmp_path / "whole", texts(20)))


def test_a_shard_that_was_renamed_but_not_indexed_is_taken_in(tmp_path: Path) -> None:
    folder = make(tmp_path, texts(5))
    before = snapshot(folder)
    write_shard(folder, KEY, encode(texts(5, 5)), texts(5, 5), hashes_of(texts(5, 5)))
    assert_reads(tmp_path, texts(10))
    assert (folder / "index.json").read_bytes() == before["index.json"], "a reader must not write"
    make(tmp_path, texts(10))
    assert snapshot(folder) == snapshot(make(tmp_path / "whole", texts(10)))


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_kept(tmp_path: Path) -> None:
    folder = make(tmp_path, texts(2))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = files.socket.gethostname()
    gone = folder / f"shard-1.safetensors.{dead.pid}@{host}.tmp"
    alive = folder / f"shard-2.safetensors.{os.getppid()}@{host}.tmp"
    elsewhere, old = folder / "index.json.7@elsewhere.tmp", folder / "index.json.8@elsewhere.tmp"
    for path in (gone, alive, elsewhere, old):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    make(tmp_path, texts(2))
    assert [path.exists() for path in (gone, alive, elsewhere, old)] == [False, True, True, False]


# --- one writer, many workers ---------------------------------------------------------------------------------------


def test_a_second_writer_is_told_who_writes_while_readers_go_on(tmp_path: Path) -> None:
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        fill(store, texts(5))
        with pytest.raises(StoreError, match=rf"Process {os.getpid()} on .* is writing .*writer\.lock"):
            EmbeddingStore.open(tmp_path, KEY, writable=True)
        assert_reads(tmp_path, texts(5))
        fill(store, texts(9))
    assert not (store.folder / "writer.json").exists()
    make(tmp_path, texts(11))


def test_a_second_process_is_refused_and_a_killed_writer_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        f"import sys, time; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_store as t\n"
        f"s = t.EmbeddingStore.open(t.Path({str(tmp_path)!r}), t.KEY, writable=True); print('open', flush=True)\n"
        "time.sleep(60)"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"open\n"
    with pytest.raises(StoreError, match=f"Process {writer.pid} on "):
        EmbeddingStore.open(tmp_path, KEY, writable=True)
    writer.kill()
    writer.wait()
    make(tmp_path, texts(3))
    assert_reads(tmp_path, texts(3))


def test_shards_of_many_workers_never_collide_and_are_all_taken_in(tmp_path: Path) -> None:
    folder = make(tmp_path, texts(5))
    parts = [texts(5, start) for start in (5, 10, 15)]
    paths = {write_shard(folder, KEY, encode(part), part, hashes_of(part)) for part in parts}
    assert len(paths) == 3
    write_shard(folder, KEY, encode(parts[0]), parts[0], hashes_of(parts[0]))
    assert len(EmbeddingStore.open(tmp_path, KEY)) == 20
    assert_reads(tmp_path, texts(20))


def test_a_document_in_two_shards_counts_once(tmp_path: Path) -> None:
    folder = make(tmp_path, texts(5))
    overlap = texts(5, 3)
    write_shard(folder, KEY, encode(overlap), overlap, hashes_of(overlap))
    assert len(EmbeddingStore.open(tmp_path, KEY)) == 8
    assert_reads(tmp_path, texts(8))


# --- damage ---------------------------------------------------------------------------------------------------------


def damage_and_check(root: Path, path: Path) -> None:
    """The damage is named, its documents count as missing, and encoding them again restores the bytes."""
    whole = make(root / "whole", texts(20))
    with EmbeddingStore.open(root, KEY, writable=True) as store:
        damaged = store.verify()
        assert [shard.name for shard in damaged] == [path.name]
        assert damaged[0].reason
        assert damaged[0].rows in (5, None)
        assert len(store.missing(hashes_of(texts(20)))) == 5
        with pytest.raises(StoreError, match=r"5 of 20 documents .* 1 damaged shards"):
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


@pytest.mark.slow
def test_every_flipped_bit_of_a_shard_is_found(tmp_path: Path) -> None:
    folder = make(tmp_path, texts(2))
    (path,) = shard_paths(folder)
    blob = path.read_bytes()
    for place in range(len(blob)):
        path.write_bytes(blob[:place] + bytes([blob[place] ^ (1 << place % 8)]) + blob[place + 1 :])
        assert EmbeddingStore.open(tmp_path, KEY).verify(), place


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
    with pytest.raises(StoreError, match=rf"1 damaged shards were left out: {path.name} \(it cannot be read"):
        store.read(hashes_of(texts(1)))


# --- damage that is read ---------------------------------------------------------------------------------------------


def flip(path: Path, place: int, bit: int = 2) -> None:
    blob = bytearray(path.read_bytes())
    blob[place] ^= 1 << bit
    path.write_bytes(blob)


@pytest.mark.parametrize("place", [300, 700, -200, -40, -1])
def test_what_is_damaged_is_never_given_and_named(tmp_path: Path, place: int) -> None:
    path = shard_paths(make(tmp_path, texts(20)))[1]
    whole = make(tmp_path / "whole", texts(20))
    flip(path, place)
    with pytest.raises(StoreError, match=rf"5 of 20 documents .* 1 damaged shards were left out: {path.name}"):
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
    monkeypatch.setattr(ShardFile, "_checksum", lambda file: pytest.fail("the slow checksum is not needed"))
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


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_links_in_a_store_lead_nothing_out_of_it(tmp_path: Path) -> None:
    folder = make(tmp_path / "store", texts(10))
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("index.json", "writer.lock", "writer.json", shard_paths(folder)[0].name):
        (outside / name).write_bytes(b"precious")
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(outside / name)
    with EmbeddingStore.open(tmp_path / "store", KEY, writable=True) as store:
        store.drop(store.verify())
        assert fill(store, texts(10)) == 5
    assert {path.read_bytes() for path in outside.iterdir()} == {b"precious"}
    assert_reads(tmp_path / "store", texts(10))


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_a_store_that_is_a_link_is_read_and_not_written(tmp_path: Path) -> None:
    folder = make(tmp_path / "one", texts(5))
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / folder.name).symlink_to(folder)
    assert_reads(tmp_path / "two", texts(5))
    with pytest.raises(StoreError, match="is a link"):
        make(tmp_path / "two", texts(6))


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


# --- a store of 0.1.0 -----------------------------------------------------------------------------------------------

OLD = Path(__file__).parent / "data" / "store-0.1.0"
OLD_TEXTS = ["first", "second", "dritte — ähnlich", "第四", "fifth"]
OLD_IDS = ["a", "b", "ü", "四", ""]


def old_embeddings(pooling: str) -> Embeddings:
    """What 0.1.0 was given to store."""
    number, scores = np.arange(5, dtype=np.float32), np.arange(6, dtype=np.float32).reshape(2, 3)
    logits = number[:, None, None] / 64 - scores
    mean = (number[:, None, None] + scores) / 16 if pooling == "mean" else None
    return Embeddings(number[:, None] / 8 + np.arange(4, dtype=np.float32), logits, mean)


def test_the_keys_of_0_1_0_are_found(tmp_path: Path) -> None:
    keys = stored_keys(OLD)
    assert sorted(key["pooling"] for key in keys) == ["last", "mean"]
    assert {key_digest(key) for key in keys} == {folder.name for folder in OLD.iterdir()}


@pytest.mark.parametrize("row", [0, 1])
def test_a_store_of_0_1_0_is_read_as_before_and_written_with_the_same_bytes(tmp_path: Path, row: int) -> None:
    key = stored_keys(OLD)[row]
    expected = old_embeddings(key["pooling"])
    store = EmbeddingStore.open(OLD, key)
    embeddings = store.read(hashes_of(OLD_TEXTS))
    for name in ("hidden_states", "router_logits", "mean_routing_weights"):
        np.testing.assert_array_equal(getattr(embeddings, name), getattr(expected, name))
    assert sorted(store.documents()) == sorted(zip(OLD_IDS, hashes_of(OLD_TEXTS), strict=True))
    assert store.verify() == []
    with EmbeddingStore.open(tmp_path, key, writable=True) as new:
        for rows in (slice(0, 3), slice(3, 5)):
            new.write(expected[rows], OLD_IDS[rows], hashes_of(OLD_TEXTS[rows]))
    old, now = snapshot(store.folder), snapshot(new.folder)
    assert {name: now[name] for name in old if name != "index.json"} == {
        name: blob for name, blob in old.items() if name != "index.json"
    }
    without = [
        {name: value for name, value in entry.items() if name != "xxh3"}
        for entry in json.loads(now["index.json"])["shards"]
    ]
    assert without == json.loads(old["index.json"])["shards"]


def test_an_index_of_0_1_0_stays_as_it_is_until_its_shards_are_read_through(tmp_path: Path) -> None:
    key = stored_keys(OLD)[0]
    shutil.copytree(OLD / key_digest(key), tmp_path / key_digest(key))
    index = tmp_path / key_digest(key) / "index.json"
    before = index.read_bytes()
    with EmbeddingStore.open(tmp_path, key, writable=True) as store:
        assert index.read_bytes() == before
        list(store.documents())
    assert all(len(shard["xxh3"]) == 32 for shard in json.loads(index.read_bytes())["shards"])


@pytest.mark.parametrize("content", [None, b"{", b"[]", b'{"model": "another"}', b"[" * 100_000])
def test_a_key_that_is_lost_or_damaged_is_found_in_the_shards(tmp_path: Path, content: bytes | None) -> None:
    folder = make(tmp_path, texts(5))
    path = folder / "key.json"
    path.unlink() if content is None else path.write_bytes(content)
    (tmp_path / ("0" * 32)).mkdir()
    (tmp_path / "words").mkdir()
    assert stored_keys(tmp_path) == [KEY]
    assert stored_keys(tmp_path / "nowhere") == []


# --- many threads, odd file systems ---------------------------------------------------------------------------------


def test_many_threads_write_and_read_one_store(tmp_path: Path) -> None:
    documents = texts(320)
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store, ThreadPoolExecutor(8) as threads:

        def work(number: int) -> None:
            mine = documents[20 * number : 20 * number + 40]
            fill(store, mine)
            got = store.read(hashes_of(mine))
            np.testing.assert_array_equal(got.hidden_states, encode(mine).hidden_states.astype(np.float16))

        list(threads.map(work, range(15)))
        assert store.verify() == []
    assert sorted(name for name, _ in store.documents()) == sorted(documents)
    assert_reads(tmp_path, documents)


def test_a_store_opened_by_one_thread_is_closed_by_another(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as thread:
        store = thread.submit(EmbeddingStore.open, tmp_path, KEY, writable=True).result()
    with pytest.raises(StoreError, match="is writing"):
        EmbeddingStore.open(tmp_path, KEY, writable=True)
    store.close()
    make(tmp_path, texts(5))


@pytest.mark.skipif(os.name != "posix", reason="stands in for flock")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
@pytest.mark.filterwarnings("ignore:flock not supported")
def test_a_file_system_without_locks_still_has_one_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        fill(store, texts(5))
        with pytest.raises(StoreError, match=rf"Process {os.getpid()} on .* is writing to"):
            EmbeddingStore.open(tmp_path, KEY, writable=True)
    make(tmp_path, texts(6))
    assert_reads(tmp_path, texts(6))


@pytest.mark.skipif(os.name != "posix", reason="stands in for flock")
def test_a_killed_writer_of_a_file_system_without_locks_stands_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = "import errno, fcntl\ndef flock(*_): raise OSError(errno.ENOLCK, 'none')\nfcntl.flock = flock\n"
    code = (
        f"import os, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n{refuse}import test_store as t\n"
        f"s = t.EmbeddingStore.open(t.Path({str(tmp_path)!r}), t.KEY, writable=True); t.fill(s, t.texts(5))\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    time.sleep(2.1)  # filelock lets a lock file be for that long before it takes it from the dead
    test_a_file_system_without_locks_still_has_one_writer(tmp_path, monkeypatch, errno.ENOLCK)


@pytest.mark.parametrize("seconds", [-1e9, 1e9])
def test_a_clock_that_jumps_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    real = time.time
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        fill(store, texts(5))
        monkeypatch.setattr(time, "time", lambda: real() + seconds)
        fill(store, texts(10))
    make(tmp_path, texts(15))
    assert_reads(tmp_path, texts(15))
    assert snapshot(store.folder) == snapshot(make(tmp_path / "whole", texts(15)))


# --- disk and memory ------------------------------------------------------------------------------------------------


def test_a_full_disk_keeps_what_was_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        fill(store, texts(10))

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(files.os, "fsync", full)
            with pytest.raises(ResourceError, match="disk is full"):
                fill(store, texts(20))
        assert len(store) == 10
        assert not list(store.folder.glob("*.tmp"))
    assert_reads(tmp_path, texts(10))
    make(tmp_path, texts(20))
    assert snapshot(store.folder) == snapshot(make(tmp_path / "whole", texts(20)))


def test_an_interrupted_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        before = snapshot(store.folder)
        with monkeypatch.context() as patch:
            patch.setattr(files.os, "fsync", interrupted)
            with pytest.raises(KeyboardInterrupt):
                fill(store, texts(5))
        assert snapshot(store.folder) == before
        assert fill(store, texts(5)) == 5


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on file size")
def test_a_file_size_limit_is_a_resource_error(tmp_path: Path) -> None:
    code = (
        f"import sys, resource; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_store as t\n"
        f"root = t.Path({str(tmp_path)!r}); t.make(root, t.texts(5))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "try: t.make(root, t.texts(500), 400)\n"
        "except t.ResourceError: print('full')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.stdout == b"full\n", done.stderr.decode()
    assert_reads(tmp_path, texts(5))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user that can be refused")
def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="could not be written"):
        EmbeddingStore.open(tmp_path, KEY, writable=True)


def test_a_root_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="could not be written"):
        EmbeddingStore.open(tmp_path / "file", KEY, writable=True)


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
