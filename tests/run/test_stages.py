"""The list of stages is the order of a run, and one loop goes through it."""

from __future__ import annotations

from pathlib import Path

from tiny_runs import recipe_of

from moee_topics.run.stages import STAGES, go_through
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import RunFolder


def test_the_order_is_that_of_what_a_stage_needs() -> None:
    assert [stage.name for stage in STAGES] == ["embed", "reduce", "fit", "stability", "report"]


def test_what_is_not_asked_for_any_more_is_taken_away(root: Path, corpus: Path, tiny_olmoe: Path) -> None:
    run = RunFolder(root / "run")
    RunFolder.stability.write(run, {"seeds": {}})
    work = Workspace(recipe_of(corpus, tiny_olmoe), root / "run", root / "store")
    with work.writing():
        go_through(STAGES, work)
    assert not RunFolder.stability.exists(run)
