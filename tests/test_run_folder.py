from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_run import small_run

from moee_topics.errors import InputError, StoreError
from moee_topics.run_folder import Digests, RunFile, RunFiles, RunFolder, digest_of, is_inside, named_folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return small_run(tmp_path / "runs" / "small")


def rewritten(folder: Path) -> RunFiles:
    """The files of a run, each written again by its attribute, so that all have digests."""
    files = RunFiles(folder)
    for part in json_files(files):
        if part.exists:
            part.write(part.read())
    files.experts.write(files.experts.read())
    files.result.write(files.result.read())
    return files


def json_files(files: RunFiles) -> list[RunFile[Any]]:
    return [files.manifest, files.scores, files.hierarchy, files.over_time, files.per_class, files.stability]


def test_a_run_folder_reads_nothing_until_it_is_asked(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "nowhere")
    assert not run.files.scores.exists and not (tmp_path / "nowhere").exists()


def test_what_is_written_is_read(run: Path) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    files = rewritten(run)
    assert set(files.digests.read()) == set(before)
    for name in ("topics.parquet", "documents.parquet", "topic_info.json", "experts.json"):
        assert (run / name).read_bytes() == before[name]
    assert files.scores.read() == json.loads(before["scores.json"])
    assert files.whole([*json_files(files), files.experts, files.result])


def test_a_part_that_a_run_did_not_make_is_none(run: Path) -> None:
    files = RunFiles(run)
    assert files.stability.read_if_there() is None and RunFolder(run).stability is None
    with pytest.raises(InputError, match=r"stability\.json is missing.*moee-topics run RECIPE"):
        files.stability.read()


@pytest.mark.parametrize("name", ["scores.json", "topics.parquet", "documents.parquet", "experts.json", "run.json"])
def test_a_flipped_bit_is_told_with_its_file_and_the_command_that_mends_it(run: Path, name: str) -> None:
    files = rewritten(run)
    blob = bytearray((run / name).read_bytes())
    blob[len(blob) // 2] ^= 4
    (run / name).write_bytes(blob)
    owner = next(part for part in [*json_files(files), files.experts, files.result] if run / name in part.paths)
    assert owner.damaged() == [run / name] and not files.whole([owner])
    with pytest.raises(InputError, match=rf"{name} is damaged.*moee-topics run RECIPE .* --name small"):
        owner.read()


def test_a_file_that_was_written_and_is_gone_is_missing_and_not_never_made(run: Path) -> None:
    files = rewritten(run)
    files.hierarchy.path.unlink()
    with pytest.raises(InputError, match=r"hierarchy\.json is missing"):
        files.hierarchy.read_if_there()
    assert not files.whole([files.hierarchy])


def test_a_file_that_cannot_be_read_is_damaged(run: Path) -> None:
    files = rewritten(run)
    files.scores.path.unlink()
    files.scores.path.mkdir()
    assert not files.whole([files.scores])
    with pytest.raises(InputError, match=r"scores\.json is missing"):
        files.scores.read()


def test_what_cannot_be_deleted_is_our_error(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = rewritten(run)

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(StoreError, match="read-only"):
            files.hierarchy.remove()
    assert files.hierarchy.path.is_file()


def test_a_file_that_is_removed_is_no_damage(run: Path) -> None:
    files = rewritten(run)
    files.hierarchy.remove()
    assert files.hierarchy.read_if_there() is None and files.whole([files.hierarchy])


def test_damaged_digests_are_told_and_trusted_by_nobody(run: Path) -> None:
    files = rewritten(run)
    text = files.digests.path.read_text().replace("scores.json", "scares.json")
    files.digests.path.write_text(text)
    assert not files.whole([files.scores])
    with pytest.raises(InputError, match=r"digests\.json is damaged"):
        files.scores.read()
    files.scores.write({})
    assert files.whole([files.scores])


def test_a_run_without_digests_is_read_by_its_form(run: Path) -> None:
    files = RunFiles(run)
    assert files.whole([files.scores, files.result])
    (run / "hierarchy.json").write_text('[{"parent": "4", "left": 0, "right": 1, "distance": 0.5, "name": "x"}]')
    (run / "scores.json").write_text("{")
    for part in (files.hierarchy, files.scores):
        with pytest.raises(InputError, match=rf"{part.path.name}.*Make it again with: moee-topics run RECIPE"):
            part.read()


def test_a_kill_between_a_file_and_its_digest_is_no_damage(run: Path) -> None:
    files = rewritten(run)
    with pytest.raises(KeyboardInterrupt), files.digests.changing(files.scores.path):
        files.scores.path.write_text("{}")
        raise KeyboardInterrupt
    assert files.whole([files.scores]) and files.scores.read() == {}
    assert "hierarchy.json" in files.digests.read()


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        *[("a.json", True), ("model/a..b", True), ("..", False), ("../x", False), ("model/../../x", False)],
        *[("/etc/x", False), ("C:\\x", False), ("..\\x", False), ("", False), ("a\0b", False)],
    ],
)
def test_names_from_a_file_stay_in_their_folder(name: str, inside: bool) -> None:
    assert is_inside(name) is inside


@pytest.mark.parametrize(
    "name", ["../..", "..", ".", "", "/tmp/x", "a/b", "a\\b", "C:\\x", "store", "Store", "a\0", ".x", "x."]
)
def test_a_run_has_a_name_and_no_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot have the name"):
        named_folder(tmp_path, name)


def test_names_of_runs_differ_by_more_than_case(tmp_path: Path) -> None:
    assert named_folder(tmp_path / "none", "Posts") == tmp_path / "none" / "Posts"
    (tmp_path / "posts").mkdir()
    assert named_folder(tmp_path, "posts") == tmp_path / "posts"
    with pytest.raises(InputError, match=r"'posts'.*by case alone"):
        named_folder(tmp_path, "Posts")


def test_nothing_is_written_or_deleted_through_a_link(run: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "seeds-1.json").write_text("mine")
    (run / "stability").symlink_to(outside)
    files = RunFiles(run)
    files.refit("seeds", 1).write({"fit": "x"})
    assert (outside / "seeds-1.json").read_text() == "mine" and not (run / "stability").is_symlink()
    (run / "exports").symlink_to(outside)
    files.exports.remove()
    assert (outside / "seeds-1.json").is_file() and not (run / "exports").exists()
    (run / "report.html").symlink_to(outside / "seeds-1.json")
    files.report.write("page")
    assert (outside / "seeds-1.json").read_text() == "mine" and files.report.path.read_text() == "page"


def test_a_folder_is_rewritten_whole_and_every_file_in_it_has_a_digest(run: Path) -> None:
    files = RunFiles(run)
    with files.model.rewriting() as new:
        new.encoder.write({"options": {}})
    with pytest.raises(RuntimeError), files.model.rewriting() as new:
        new.encoder.write({"options": {"later": 1}})
        raise RuntimeError
    assert files.model.encoder.read() == {"options": {}}
    with files.model.rewriting() as new:
        new.encoder.write({"options": {}})
    assert files.digests.read() == {"model/encoder.json": digest_of(run / "model" / "encoder.json")}
    shutil.rmtree(run / "model")
    assert not files.whole([files.model.encoder])


def test_a_run_in_a_notebook_shows_topics_and_documents(run: Path) -> None:
    opened = RunFolder.read(run)
    assert opened.topics["topic"].tolist() == [-1, 0, 1, 2, 3] and len(opened.documents) == 240
    assert opened.scores["npmi"]["value"] == 0.2 and opened.name == "small"


def test_a_folder_without_a_run_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no run folder"):
        RunFolder.read(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no finished run"):
        RunFolder.read(tmp_path)
    assert Digests(tmp_path).read() == {}
