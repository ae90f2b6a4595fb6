"""A file of a run: written whole, read with a check, named with the command that makes it again."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from moee_topics.errors import InputError, StoreError
from moee_topics.run_folder import VERSIONS, RunFile, RunFolder

FILES = [file for file in vars(RunFolder).values() if isinstance(file, RunFile)]
scores, hierarchy, stability = RunFolder.scores, RunFolder.hierarchy, RunFolder.stability


def test_what_is_written_is_read(run: Path, request: pytest.FixtureRequest) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    rewritten: RunFolder = request.getfixturevalue("rewritten")
    assert set(rewritten.digests.read()) == set(before)
    for name in ("topics.parquet", "documents.parquet", "topic_info.json", "experts.json"):
        assert (run / name).read_bytes() == before[name]
    assert scores.read(rewritten) == json.loads(before["scores.json"])
    assert rewritten.whole(FILES)


def test_a_part_that_a_run_did_not_make_is_none(run: Path) -> None:
    opened = RunFolder(run)
    assert stability.read(opened) is None and opened.stability is None
    with pytest.raises(InputError, match=r"stability\.json is missing.*moee-topics run RECIPE"):
        stability.check(opened)
    with pytest.raises(InputError, match=r"report\.html is missing.*moee-topics report "):
        RunFolder.report.read(opened)


@pytest.mark.parametrize("name", ["scores.json", "topics.parquet", "documents.parquet", "experts.json", "run.json"])
def test_a_flipped_bit_is_told_with_its_file_and_the_command_that_mends_it(
    rewritten: RunFolder, run: Path, name: str
) -> None:
    blob = bytearray((run / name).read_bytes())
    blob[len(blob) // 2] ^= 4
    (run / name).write_bytes(blob)
    owner = next(file for file in FILES if run / name in file.paths(rewritten))
    assert owner.damaged(rewritten) == [run / name] and not rewritten.whole([owner])
    with pytest.raises(InputError, match=rf"{name} is damaged.*moee-topics run RECIPE .* --name small"):
        owner.read(rewritten)


def test_advice_on_a_version_names_its_run_and_of_a_copy_without_a_model_that_it_is_one(run: Path) -> None:
    whole, version = RunFolder(run), RunFolder(run / VERSIONS / "v2")
    with pytest.raises(InputError, match=r"encoder\.json is missing\. \S+/small has no model.* Make it again"):
        whole.encoder  # noqa: B018
    with pytest.raises(
        InputError, match=r"copy that\. Make it again with: moee-topics run RECIPE \S+ \S+ --name small$"
    ):
        version.encoder  # noqa: B018
    (run / "model").mkdir()
    with pytest.raises(InputError, match=r"moee-topics update \S+/small --undo, and the update or decision once more$"):
        version.encoder  # noqa: B018
    (run / "labels.jsonl").write_bytes(b"\0\n\0\n")
    with pytest.raises(InputError, match=r"asked again by: moee-topics topics label \S+/small$"):
        whole.label_answers  # noqa: B018


def test_a_file_that_was_written_and_is_gone_is_missing_and_not_never_made(rewritten: RunFolder) -> None:
    hierarchy.path(rewritten).unlink()
    with pytest.raises(InputError, match=r"hierarchy\.json is missing"):
        hierarchy.read(rewritten)
    assert not rewritten.whole([hierarchy])


def test_a_file_that_cannot_be_read_is_damaged(rewritten: RunFolder) -> None:
    scores.path(rewritten).unlink()
    scores.path(rewritten).mkdir()
    assert not rewritten.whole([scores])
    with pytest.raises(InputError, match=r"scores\.json is missing"):
        scores.read(rewritten)


def test_what_cannot_be_deleted_is_our_error(rewritten: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(StoreError, match="read-only"):
            hierarchy.remove(rewritten)
    assert hierarchy.path(rewritten).is_file()


def test_a_file_that_is_removed_is_no_damage(rewritten: RunFolder) -> None:
    hierarchy.remove(rewritten)
    assert hierarchy.read(rewritten) == [] and rewritten.whole([hierarchy])


def test_a_run_without_digests_is_read_by_its_form(run: Path) -> None:
    opened = RunFolder(run)
    assert opened.whole([scores, RunFolder.result])
    (run / "hierarchy.json").write_text('[{"parent": "4", "left": 0, "right": 1, "distance": 0.5, "name": "x"}]')
    (run / "scores.json").write_text("{")
    for file in (hierarchy, scores):
        with pytest.raises(InputError, match=rf"{file.name}.*Make it again with: moee-topics run RECIPE"):
            file.read(opened)  # type: ignore[attr-defined]


def test_nothing_is_written_or_deleted_through_a_link(run: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "seeds-1.json").write_text("mine")
    (run / "stability").symlink_to(outside)
    opened = RunFolder(run)
    RunFolder.refit("seeds", 1).write(opened, {"fit": "x"})
    assert (outside / "seeds-1.json").read_text() == "mine" and not (run / "stability").is_symlink()
    (run / "exports").symlink_to(outside)
    RunFolder.exports.remove(opened)
    assert (outside / "seeds-1.json").is_file() and not (run / "exports").exists()
    (run / "report.html").symlink_to(outside / "seeds-1.json")
    RunFolder.report.write(opened, "page")
    assert (outside / "seeds-1.json").read_text() == "mine" and opened.report == "page"
