"""One writer per folder, also where the file system has no locks."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stores import KEY, assert_reads, fill, make, texts

from moee_topics.errors import StoreError
from moee_topics.store import EmbeddingStore


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
        f"import sys, time; sys.path.insert(0, {str(Path(__file__).parents[1])!r}); import stores as t\n"
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
        f"import os, sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n{refuse}import stores as t\n"
        f"s = t.EmbeddingStore.open(t.Path({str(tmp_path)!r}), t.KEY, writable=True); t.fill(s, t.texts(5))\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    time.sleep(2.1)  # filelock lets a lock file be for that long before it takes it from the dead
    test_a_file_system_without_locks_still_has_one_writer(tmp_path, monkeypatch, errno.ENOLCK)


def open_part(root: Path, number: int, of: int = 4) -> EmbeddingStore:
    return EmbeddingStore.open(root, KEY, writable=True, part=f"share-{number}-of-{of}")


def without_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)


@pytest.mark.skipif(os.name != "posix", reason="stands in for flock")
@pytest.mark.filterwarnings("ignore:flock not supported")
@pytest.mark.parametrize("locks", [True, False])
def test_parts_write_side_by_side_each_once_and_never_beside_a_writer_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: bool
) -> None:
    if not locks:
        without_flock(monkeypatch)
    with open_part(tmp_path, 1) as one, open_part(tmp_path, 2) as two:
        fill(one, texts(5))
        fill(two, texts(5, 5))
        with pytest.raises(StoreError, match=rf"Process {os.getpid()} on .*writer-share-1-of-4"):
            open_part(tmp_path, 1)
        with pytest.raises(StoreError, match=r"is writing to .*writer-share-1-of-4"):
            EmbeddingStore.open(tmp_path, KEY, writable=True)
        assert_reads(tmp_path, texts(10))
    with EmbeddingStore.open(tmp_path, KEY, writable=True), pytest.raises(StoreError, match=r"writer\.(soft\.)?lock"):
        open_part(tmp_path, 1)
    left = {path.name for path in one.folder.glob("writer*")}
    assert left <= {"writer.lock", "writer-index.lock"}, "nothing is left of the parts"


def test_a_killed_part_stands_in_nobodys_way_and_a_lock_without_a_process_can_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        f"import os, sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r}); import stores as t\n"
        f"s = t.EmbeddingStore.open(t.Path({str(tmp_path)!r}), t.KEY, writable=True, part='share-1-of-4')\n"
        "t.fill(s, t.texts(5)); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    with open_part(tmp_path, 1) as store:
        fill(store, texts(7))
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    make(tmp_path, texts(8))
    assert_reads(tmp_path, texts(8))
    lock = next(tmp_path.iterdir()) / "writer.soft.lock"
    lock.write_text("1\nanother-machine\n")  # on a file system without locks, by a process that nobody here can ask
    without_flock(monkeypatch)
    with pytest.raises(StoreError, match=r"If there is no such process any more, delete .*writer\.soft\.lock"):
        EmbeddingStore.open(tmp_path, KEY, writable=True)
    lock.unlink()
    make(tmp_path, texts(9))
