"""The order of a run: embed, reduce (a large corpus), fit, stability, report.

A stage that was done with the same inputs is skipped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from moee_topics.run.embed_stage import EmbedStage
from moee_topics.run.fit_stage import FitStage
from moee_topics.run.ledger import StageRecord
from moee_topics.run.reduce_stage import ReduceStage
from moee_topics.run.report_stage import ReportStage
from moee_topics.run.stability_stage import StabilityStage
from moee_topics.run.stage import Stage
from moee_topics.run.workspace import Workspace

STAGES: tuple[Stage, ...] = (EmbedStage(), ReduceStage(), FitStage(), StabilityStage(), ReportStage())


@dataclass(frozen=True)
class StagePlan:
    """What a run does with one stage, and why."""

    name: str
    action: Literal["run", "skip"]
    reason: str


def go_through(stages: Sequence[Stage], work: Workspace, *, only_plan: bool = False) -> list[StagePlan]:
    """Every stage in its order: not asked for and taken away, done and skipped, or run; a plan only says which."""
    plans = []
    for stage in stages:
        if stage.is_wanted(work):
            done = stage.is_done(work)
            plans.append(StagePlan(stage.name, "skip" if done else "run", stage.reason(work, done=done)))
        if only_plan:
            continue
        if not stage.is_wanted(work):
            work.ledger.begin(stage.name)
            stage.drop(work)
        elif done:
            work.progress.skip(stage.name, plans[-1].reason)
            work.ledger.skip(work.ledger.records[stage.name])
        else:
            _do(stage, work)
    return plans


def _do(stage: Stage, work: Workspace) -> None:
    work.ledger.begin(stage.name)
    # What was made of the last result of this stage goes first: a run that is cut off must not show both.
    later_stages = STAGES[[one.name for one in STAGES].index(stage.name) + 1 :]
    for later in later_stages if stage.outputs else ():
        work.ledger.begin(later.name)
        later.drop(work)
    started = time.perf_counter()
    outcome = stage.run(work)
    seconds = round(time.perf_counter() - started, 3)
    work.progress.end(stage.name, seconds, outcome.line)
    work.ledger.finish(StageRecord(stage.name, stage.inputs(work) or "", seconds, facts=outcome.facts))
