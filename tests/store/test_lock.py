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
