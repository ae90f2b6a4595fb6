"""A stage is done when its inputs are those of the last time and its files are there and whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from moee_topics.progress import Progress
from moee_topics.recipe import parse_recipe
from moee_topics.run.ledger import StageRecord
from moee_topics.run.stage import Outcome, Stage
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import RunFolder


class Scoring(Stage):
    name = "scoring"
    outputs = (RunFolder.scores,)
    optional_outputs = (RunFolder.hierarchy,)
    digest: str | None = "a"

    def inputs(self, work: Workspace) -> str | None:
        return self.digest

    def run(self, work: Workspace) -> Outcome:
        RunFolder.scores.write(work.run, {})
        RunFolder.hierarchy.write(work.run, [])
        return Outcome("")


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    return Workspace(parse_recipe({"corpus": {"source": "docstrings"}}), tmp_path / "run", tmp_path, Progress())


@pytest.fixture
def stage(work: Workspace) -> Scoring:
    stage = Scoring()
    stage.run(work)
    work.ledger.finish(StageRecord(stage.name, "a", 1.0))
    assert stage.is_done(work)
    return stage


def test_other_inputs_or_unknown_ones_are_to_be_done(work: Workspace, stage: Scoring) -> None:
    for digest in ("b", None):
        stage.digest = digest
        assert not stage.is_done(work)


@pytest.mark.parametrize(("name", "done"), [("scores.json", False), ("hierarchy.json", False)])
@pytest.mark.parametrize("content", ["{} ", None])
def test_a_file_that_is_gone_or_damaged_is_to_be_done(
    work: Workspace, stage: Scoring, name: str, done: bool, content: str | None
) -> None:
    (work.folder / name).unlink()
    if content is not None:
        (work.folder / name).write_text(content)
    assert stage.is_done(work) is done


def test_without_digests_only_the_files_it_must_have_are_asked_for(work: Workspace, stage: Scoring) -> None:
    work.run.digests.path.unlink()
    (work.folder / "hierarchy.json").unlink()
    assert stage.is_done(work)
    (work.folder / "scores.json").unlink()
    assert not stage.is_done(work)


def test_what_is_dropped_leaves_no_file(work: Workspace, stage: Scoring) -> None:
    stage.drop(work)
    assert not RunFolder.scores.exists(work.run) and not RunFolder.hierarchy.exists(work.run)
