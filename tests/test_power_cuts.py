"""What is said to be done survives a cut of the power, and a full disk is an error after which the run goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stores
from loop_disk import LoopDisk, loop_disk, needs_loop_devices
from tiny_runs import contents, write_corpus

from moee_topics.errors import StoreError
from moee_topics.store import write_bytes

pytestmark = [pytest.mark.slow, needs_loop_devices]

PARENT = """
import json, os, sys, tempfile, traceback
import bertopic, loop_disk, stores, tiny_runs
from moee_topics.encode.encoder import MoEEncoder
from moee_topics.run import run
for line in sys.stdin:
    with tempfile.TemporaryFile("w+") as told:
        if (child := os.fork()) == 0:
            os.dup2(told.fileno(), 1)
            try:
                exec(json.loads(line), {"__name__": "__main__"})
            except BaseException:
                traceback.print_exc(file=sys.stdout)
                sys.stdout.flush()
                os._exit(1)
            sys.stdout.flush()
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        told.seek(0)
        print(json.dumps([status, told.read()]), flush=True)
"""
BEGIN = """
import json, os, sys
from pathlib import Path
import loop_disk
root, cut = Path({root!r}), {cut}
"""
STORE = """
import stores as t
loop_disk.cut_at(root, cut)
with t.EmbeddingStore.open(root / "store", t.KEY, writable=True) as store:
    for start in range(0, 40, 5):
        part = t.texts(5, start)
        if store.missing(t.hashes_of(part)):
            store.write(t.encode(part), part, t.hashes_of(part))
        print(json.dumps(part), flush=True)
"""
FILES = """
from moee_topics.store import atomic_folder, atomic_path, write_text
loop_disk.cut_at(root, cut)
for version in range(1, 6):
    write_text(root / "a" / "file", str(version) * 5000)
    print(json.dumps(["file", version]), flush=True)
    with atomic_folder(root / "b" / "folder") as folder:
        for name in ("one", "two"):
            (folder / "sub").mkdir(exist_ok=True)
            (folder / "sub" / name).write_text(str(version) * 5000)
    print(json.dumps(["folder", version]), flush=True)
"""
RUN = """
from tiny_runs import Heard, STABILITY, recipe_of
from moee_topics import embed, run as pipeline
from moee_topics.errors import ResourceError
from moee_topics.run.ledger import Ledger
embed.DOCUMENTS_PER_SHARD = 16
finish = Ledger.finish
def said(ledger, record):
    finish(ledger, record)
    print(json.dumps(["done", record.name]), flush=True)
Ledger.finish = said
if cut:
    loop_disk.cut_at(root, cut)
calls, heard = 0, Heard()
sync = os.fsync
def counted(descriptor):
    global calls
    calls += 1
    sync(descriptor)
os.fsync = counted
try:
    recipe = recipe_of(Path({corpus!r}), Path({model!r}), *STABILITY)
    pipeline.run(recipe, root / "runs" / "run", root / "runs" / "store", progress=heard)
except ResourceError as error:
    print(json.dumps(["full", str(error)]), flush=True)
else:
    print(json.dumps(["finished", heard.skipped, calls]), flush=True)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LoopDisk]:
    with loop_disk(tmp_path, 24) as disk:
        yield disk


@pytest.fixture(scope="module")
def parent() -> Iterator[subprocess.Popen[str]]:
    """A process that has imported what a run takes, and forks the children: for each of them that would be 10 s."""
    places = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "HF_HUB_OFFLINE": "1"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", PARENT], env=environment, **pipes) as process:
        yield process
        process.stdin.close()  # type: ignore[union-attr]


def child(
    parent: subprocess.Popen[str], program: str, root: Path, cut: int = 0, **names: str
) -> tuple[bool, list[Any]]:
    """Whether the power was cut, and what was said before."""
    code = (BEGIN + program).replace("{", "{{").replace("}", "}}")
    for name in ("root", "cut", *names):
        code = code.replace("{{" + name + "!r}}", "{" + name + "!r}").replace("{{" + name + "}}", "{" + name + "}")
    assert parent.stdin and parent.stdout
    print(json.dumps(code.format(root=str(root), cut=cut, **names)), file=parent.stdin, flush=True)
    status, said = json.loads(parent.stdout.readline())
    assert status in (0, 9), said
    return status == 9, [json.loads(line) for line in said.splitlines()]


def test_every_shard_that_was_written_survives_and_the_store_ends_with_the_same_bytes(
    disk: LoopDisk, tmp_path: Path, parent: subprocess.Popen[str]
) -> None:
    whole = stores.snapshot(stores.make(tmp_path / "whole", stores.texts(40)))
    moments = 0
    for cut in range(1, 100, 3):
        disk.format()
        was_cut, said = child(parent, STORE, disk.mount, cut)
        if not was_cut:
            break
        moments += 1
        disk.remount()
        if said:
            documents = [text for part in said for text in part]
            stores.assert_reads(disk.mount / "store", documents)
        folder = stores.make(disk.mount / "store", stores.texts(40))
        assert stores.snapshot(folder) == whole
    assert moments >= 10


def test_every_file_and_folder_that_was_written_survives_whole(disk: LoopDisk, parent: subprocess.Popen[str]) -> None:
    moments = 0
    for cut in range(1, 200):
        disk.format()
        was_cut, said = child(parent, FILES, disk.mount, cut)
        moments += was_cut
        disk.remount()
        last = {"file": 0, "folder": 0} | dict(said)
        for kind, paths in (("file", ["a/file"]), ("folder", ["b/folder/sub/one", "b/folder/sub/two"])):
            versions = {(disk.mount / path).read_text() if (disk.mount / path).exists() else "" for path in paths}
            assert len(versions) == 1, "old and new are not mixed"
            (text,) = versions
            assert text == text[:1] * 5000 if text else last[kind] == 0
            assert int(text[:1] or 0) in (last[kind], last[kind] + 1)
        if not was_cut:
            break
    assert moments >= 30


def test_every_stage_that_was_done_survives_and_the_run_ends_with_the_same_bytes(
    disk: LoopDisk, tmp_path: Path, tiny_olmoe: Path, parent: subprocess.Popen[str]
) -> None:
    names = {"corpus": str(write_corpus(tmp_path / "posts.jsonl")), "model": str(tiny_olmoe)}
    _, said = child(parent, RUN, tmp_path / "whole", **names)
    (tmp_path / "whole").rename(tmp_path / "kept")
    syncs = said[-1][2]
    for cut in sorted({2, syncs // 4, syncs // 2, syncs * 3 // 4, syncs - 2}):
        disk.format()
        was_cut, said = child(parent, RUN, disk.mount, cut, **names)
        assert was_cut
        disk.remount()
        _, resumed = child(parent, RUN, disk.mount, **names)
        assert {name for kind, name in said if kind == "done"} <= set(resumed[-1][1]), "what was done is skipped"
        assert contents(disk.mount / "runs" / "store") == contents(tmp_path / "kept" / "runs" / "store")
        mine, whole = contents(disk.mount / "runs" / "run"), contents(tmp_path / "kept" / "runs" / "run")
        assert {name for name in whole if mine.get(name) != whole[name]} <= {"report.html"}, "it says times"


def test_a_disk_that_is_full_is_an_error_and_with_space_the_run_goes_on(
    disk: LoopDisk, tmp_path: Path, tiny_olmoe: Path, parent: subprocess.Popen[str]
) -> None:
    names = {"corpus": str(write_corpus(tmp_path / "posts.jsonl")), "model": str(tiny_olmoe)}
    full = 0
    for kilobytes in (2, 8, 20, 32):
        disk.format()
        status = os.statvfs(disk.mount)
        write_bytes(disk.mount / "ballast", bytes(status.f_bavail * status.f_frsize - (kilobytes << 10)))
        _, said = child(parent, RUN, disk.mount, **names)
        if said[-1][0] == "full":
            full += 1
            assert str(disk.mount) in said[-1][1]
        (disk.mount / "ballast").unlink()
        _, said = child(parent, RUN, disk.mount, **names)
        assert said[-1][0] == "finished"
        assert not list(disk.mount.rglob("*.tmp"))
    assert full >= 3


def test_a_read_only_disk_is_read_and_named_when_it_is_to_be_written(disk: LoopDisk) -> None:
    stores.make(disk.mount / "store", stores.texts(5))
    disk.remount("loop,ro")
    stores.assert_reads(disk.mount / "store", stores.texts(5))
    for write in (
        lambda: stores.make(disk.mount / "store", stores.texts(6)),
        lambda: write_bytes(disk.mount / "run" / "run.json", b"{}"),
    ):
        with pytest.raises(StoreError, match=f"{disk.mount}.* the file system is read-only. Choose another place"):
            write()
