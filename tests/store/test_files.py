"""Files are whole or not there, links are never followed, and the disk's errors are ours."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from moee_topics.errors import InputError, ResourceError, StoreError
from moee_topics.store import (
    atomic_folder,
    atomic_path,
    files,
    make_folder,
    read_json,
    refuse_too_small,
    remove_leftovers,
    write_bytes,
    write_json,
    write_text,
    writing_alone,
)

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b" / "file", b"1")
    write_bytes(tmp_path / "a" / "b" / "file", b"2")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"2"
    assert names(tmp_path / "a" / "b") == ["file"]


def test_text_is_utf8_with_its_line_ends_and_lone_surrogates_replaced(tmp_path: Path) -> None:
    write_text(tmp_path / "text", "ü\r\n日\ud800\n")
    assert (tmp_path / "text").read_bytes() == "ü\r\n日?\n".encode()


def test_json_reads_back_lone_surrogates_included(tmp_path: Path) -> None:
    value = {"b": "日", "a": ["lone \ud800", 1.5, None]}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value
    assert (tmp_path / "x.json").read_text().startswith('{\n "b": "日"')
    write_json(tmp_path / "x.json", value, sort_keys=True, indent=None)
    assert (tmp_path / "x.json").read_text().startswith('{"a": ["lone')


def test_json_that_is_written_has_no_word_that_json_has_not(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": float("nan"), "b": [np.float32("inf"), np.int64(3)], "path": Path("y")})
    assert json.loads((tmp_path / "x.json").read_text(), parse_constant=pytest.fail) == {
        "a": None, "b": [None, 3], "path": "y",
    }  # fmt: skip


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000, b"1" * 10_000])
def test_json_that_cannot_be_read_is_named_with_the_way_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.json cannot be read .* Fit it again\."):
        read_json(tmp_path / "x.json", mend="Fit it again.")


def test_json_that_is_missing_or_of_another_kind_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "list.json", [])
    with pytest.raises(InputError, match=r"list\.json is damaged \(its content: Input should be an object\)"):
        read_json(tmp_path / "list.json", kind=dict)
    with pytest.raises(InputError, match=r"nothing\.json is missing\. Fit it again\."):
        read_json(tmp_path / "nothing.json", mend="Fit it again.")
    assert read_json(tmp_path / "nothing.json", kind=dict, default=None) is None


def test_an_error_inside_leaves_the_old_file_and_nothing_new(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_bytes(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_libraries_write_under_the_temporary_name(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "x.parquet") as temporary:
        pq.write_table(pa.table({"a": [1]}), temporary)
        assert not (tmp_path / "x.parquet").exists()
    assert pq.read_table(tmp_path / "x.parquet")["a"].to_pylist() == [1]


def test_a_name_that_is_as_long_as_a_name_can_be_is_written(tmp_path: Path) -> None:
    write_bytes(tmp_path / ("é" * 127), b"1")
    assert names(tmp_path) == ["é" * 127]


def test_two_writers_of_one_file_do_not_share_a_temporary_name(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "x") as one, atomic_path(tmp_path / "x") as two:
        one.write_bytes(b"one")
        two.write_bytes(b"two")
    assert (tmp_path / "x").read_bytes() == b"one", "the one that finished last"


# --- folders --------------------------------------------------------------------------------------------------------


def test_a_folder_takes_the_place_of_the_old_one_as_a_whole(tmp_path: Path) -> None:
    for content in ("1", "2"):
        with atomic_folder(tmp_path / "model") as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / content).write_text(content)
    assert names(tmp_path / "model" / "sub") == ["2"]
    assert names(tmp_path) == ["model"]


def test_a_folder_is_swapped_without_an_exchange_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.ctypes, "CDLL", lambda name: object())  # a C library that has no renameat2
    test_a_folder_takes_the_place_of_the_old_one_as_a_whole(tmp_path)


def test_an_error_inside_leaves_the_old_folder(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "model") as folder:
        (folder / "old").touch()
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "model") as folder:
        (folder / "new").touch()
        raise ZeroDivisionError
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["old"]


@posix
def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    write_bytes(outside / "file", b"precious")
    inside = tmp_path / "inside"
    inside.mkdir()
    for name in ("file", "folder", "nowhere"):
        (inside / name).symlink_to({"file": outside / "file", "folder": outside}.get(name, tmp_path / "gone"))
    write_bytes(inside / "file", b"new")
    for name in ("folder", "nowhere"):
        with atomic_folder(inside / name) as folder:
            (folder / "file").write_bytes(b"new")
    assert (outside / "file").read_bytes() == b"precious"
    assert not any(path.is_symlink() for path in inside.iterdir())
    assert not (tmp_path / "gone").exists()


@posix
def test_a_device_and_a_pipe_are_written_as_they_are(tmp_path: Path) -> None:
    write_bytes(Path("/dev/null"), b"1")
    assert Path("/dev/null").is_char_device()
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)
    write_bytes(tmp_path / "pipe", b"through")
    assert reader.communicate()[0] == b"through"


# --- what the disk says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (errno.ENOSPC, ResourceError, r"disk is full: .*file could not .* needs 3 bytes, [\d,]+ bytes are free in "),
        (errno.EDQUOT, ResourceError, "disk is full"),
        (errno.EFBIG, ResourceError, "disk is full"),
        (errno.EROFS, StoreError, "file could not be written: the file system is read-only. Choose another"),
        (errno.EACCES, StoreError, "this user may not write there"),
        (errno.EIO, StoreError, "reports an error"),
        (errno.ENAMETOOLONG, InputError, "is too long for the name of a file"),
    ],
)
def test_errors_of_the_disk_say_what_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], message: str
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", refuse)
    with pytest.raises(kind, match=f"(?i){message}"):
        write_bytes(tmp_path / "file", b"123")
    assert names(tmp_path) == []


def test_a_file_system_that_does_not_sync_folders_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def only_files(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(files.os, "fsync", only_files)
    write_bytes(tmp_path / "file", b"123")


def test_a_library_that_wraps_the_disks_error_is_understood(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file or directory"), atomic_path(tmp_path / "x") as temporary:
        save_file({"a": np.ones(1)}, temporary / "below")
    code = (
        "import resource, numpy as np; from pathlib import Path; from safetensors.numpy import save_file\n"
        "from moee_topics import store, errors\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "try:\n"
        f"    with store.atomic_path(Path({str(tmp_path / 'x')!r})) as temporary:\n"
        "        save_file({'a': np.ones(9999)}, temporary)\n"
        "except errors.ResourceError: print('full')"
    )
    if os.name == "posix":
        done = subprocess.run([sys.executable, "-c", code], capture_output=True)
        assert done.stdout == b"full\n", done.stderr.decode()
    assert names(tmp_path) == []


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    write_bytes(tmp_path / "file", b"1")
    with pytest.raises(StoreError, match=r"file.sub could not be written"):
        make_folder(tmp_path / "file" / "sub")
    with pytest.raises(StoreError, match="could not be written"):
        make_folder(tmp_path / "file")


def test_folders_and_files_are_synced_before_they_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    sync, rename = os.fsync, Path.replace

    def noted_sync(descriptor: int) -> None:
        events.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    def noted_rename(path: Path, target: Path) -> Path:
        events.append("rename")
        return rename(path, target)

    monkeypatch.setattr(files.os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_rename)
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc")
    write_bytes(tmp_path / "folder" / "x", b"1")
    assert events[0] == f"sync {tmp_path.name}"
    assert events[1].startswith("sync x.")
    assert events[2:] == ["rename", "sync folder"]


# --- leftovers ------------------------------------------------------------------------------------------------------


def test_leftovers_of_the_dead_go_at_any_depth_and_nothing_else(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = files.socket.gethostname()
    outside = tmp_path / "outside"
    write_bytes(outside / "file", b"precious")
    run = tmp_path / "run"
    gone = [run / "model" / f"x.{dead.pid}-3@{host}.tmp", run / f"model.{dead.pid}-0@{host}.tmp" / "file"]
    kept = [run / "mine.tmp", run / f"y.{os.getppid()}-3@{host}.tmp", run / "z.7-1@elsewhere.tmp"]
    for path in [*gone, *kept]:
        write_bytes(path, b"half")
    old = time.time() - 7200
    os.utime(run / "mine.tmp", (old, old))
    if os.name == "posix":
        (run / f"link.{dead.pid}-1@{host}.tmp").symlink_to(outside)
    with atomic_path(run / "being written") as temporary:
        temporary.write_bytes(b"1")
        remove_leftovers(run)
    assert not any(path.exists() for path in gone)
    assert names(run) == sorted(["model", "being written", *(path.name for path in kept)])
    assert (outside / "file").read_bytes() == b"precious"


def test_writing_alone_clears_what_killed_writers_left(tmp_path: Path) -> None:
    left = tmp_path / "run" / f"scores.json.999999999-0@{files.socket.gethostname()}.tmp"
    write_bytes(left, b"half")
    with writing_alone(tmp_path / "run"):
        assert not left.exists()
        assert json.loads((tmp_path / "run" / "writer.json").read_text())["pid"] == os.getpid()
    assert names(tmp_path / "run") == ["writer.lock"]


def test_a_name_that_no_disk_takes_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is too long for the name of a file"):
        write_text(tmp_path / ("x" * 300) / "a.json", "{}")


def test_a_disk_without_room_is_named_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_too_small(tmp_path / "not" / "yet" / "there", 1)
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=4096 if place == tmp_path else 0))
    refuse_too_small(tmp_path / "new", 4096)
    with pytest.raises(ResourceError, match=r"about 4,097 bytes are needed, 4,096 are free in .* Make room"):
        refuse_too_small(tmp_path / "new", 4097)
