"""The store: same writes same bytes, killed anywhere it resumes, damage is found and named."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError, ResourceError, StoreError
from moee_topics.store import EmbeddingStore, content_hash, files, key_digest, write_shard

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
    store = EmbeddingStore.open(tmp_path, KEY)
    shard_paths(folder)[0].unlink()
    with pytest.raises(StoreError, match="damaged after the store was opened"):
        store.read(hashes_of(texts(1)))


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
