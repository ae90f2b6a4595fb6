"""The store: same writes same bytes, killed anywhere it resumes, many threads, odd file systems."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from stores import (
    DIMENSIONS,
    EXPERTS,
    KEY,
    LAYERS,
    OLD,
    OLD_IDS,
    OLD_TEXTS,
    STEP,
    assert_reads,
    encode,
    fill,
    hashes_of,
    make,
    old_embeddings,
    run_worker,
    shard_paths,
    snapshot,
    texts,
)

from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError, ResourceError, StoreError
from moee_topics.store import EmbeddingStore, content_hash, files, key_digest, stored_keys, write_shard


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


def test_documents_in_the_order_they_lie_in_come_shard_after_shard(tmp_path: Path) -> None:
    documents = texts(17)
    make(tmp_path, documents)
    asked = [documents[i] for i in np.random.default_rng(0).permutation(17)] + documents[3:6]
    store = EmbeddingStore.open(tmp_path, KEY)
    order = store.disk_order(hashes_of(asked))
    assert sorted(order.tolist()) == list(range(20))
    shards = [int(asked[place].split()[1]) // STEP for place in order]
    assert [shard for shard, _ in groupby(shards)] == list(dict.fromkeys(shards)), "no shard comes twice"
    with pytest.raises(StoreError, match="not in the store"):
        store.disk_order(hashes_of(texts(18)))


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


def test_another_key_is_another_folder(tmp_path: Path) -> None:
    make(tmp_path, texts(3))
    with EmbeddingStore.open(tmp_path, KEY | {"prompt": "prompteol"}, writable=True) as other:
        assert len(other) == 0
        assert other.missing(hashes_of(texts(3))) == [0, 1, 2]


def test_reading_where_nothing_was_encoded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="Encode the corpus first"):
        EmbeddingStore.open(tmp_path, KEY)


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
        f"import sys, resource; sys.path.insert(0, {str(Path(__file__).parents[1])!r}); import stores as t\n"
        "from moee_topics.errors import ResourceError\n"
        f"root = t.Path({str(tmp_path)!r}); t.make(root, t.texts(5))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "try: t.make(root, t.texts(500), 400)\n"
        "except ResourceError: print('full')"
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


PART = """
import sys
sys.path.insert(0, sys.argv[1])
import stores as t
number = int(sys.argv[3])
with t.EmbeddingStore.open(t.Path(sys.argv[2]), t.KEY, writable=True, part=f"share-{number}-of-4") as store:
    t.fill(store, t.texts(40)[number - 1 :: 4], 2)
"""


def test_four_processes_fill_one_store_at_once_and_its_index_knows_every_shard(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PART, str(Path(__file__).parents[1]), str(tmp_path)]
    processes = [subprocess.Popen([*command, str(number)]) for number in range(1, 5)]
    assert [process.wait() for process in processes] == [0] * 4
    assert_reads(tmp_path, texts(40))
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    index = (folder / "index.json").read_bytes()
    assert len(json.loads(index)["shards"]) == 20
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        store.rebuild_index()
    assert (folder / "index.json").read_bytes() == index, "as one that is made from the shards"


def test_a_part_leaves_damaged_files_and_encodes_their_documents_again(tmp_path: Path) -> None:
    folder = make(tmp_path, texts(20))
    victim, before = shard_paths(folder)[1], snapshot(folder)
    victim.write_bytes(victim.read_bytes()[:-3])
    with EmbeddingStore.open(tmp_path, KEY, writable=True, part="share-1-of-2") as store:
        store.drop(store.damaged)
        assert victim.exists() and fill(store, texts(20)) == STEP
    assert {name: data for name, data in snapshot(folder).items() if "writer" not in name} == {
        name: data for name, data in before.items() if "writer" not in name
    }


def test_a_shard_of_another_process_is_taken_in_if_it_is_what_was_said(tmp_path: Path) -> None:
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        shard = write_shard(store.folder, KEY, encode(texts(3)), texts(3), hashes_of(texts(3)))
        other = write_shard(store.folder, {"model": "other"}, encode(texts(2, 5)), texts(2, 5), hashes_of(texts(2, 5)))
        assert len(store) == 0
        store.take_in(shard)
        assert_reads(tmp_path, texts(3))
        with pytest.raises(StoreError, match="another shard"):
            store.take_in(other)
        (store.folder / shard.name).unlink()
        with pytest.raises(StoreError, match="cannot be read"):
            store.take_in(shard)
