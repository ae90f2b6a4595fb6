"""The next version of a run: made in a folder of its own, and held from the moment the list of versions says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moee_topics.evaluate import topic_lineage
from moee_topics.progress import Progress, resumable
from moee_topics.report import topic_colours
from moee_topics.run.embed_stage import EmbedStage
from moee_topics.run.manifest import read_manifest, recipe_section, write_manifest
from moee_topics.run.policies import FITS_AGAIN
from moee_topics.run.reduce_stage import ReduceStage
from moee_topics.run.report_stage import write_page_again
from moee_topics.run.stages import go_through
from moee_topics.run.version_plan import VersionPlan
from moee_topics.run.version_stage import VersionStage
from moee_topics.run_folder import History, RunFolder, VersionRecord
from moee_topics.store import atomic_folder, writing_alone
from moee_topics.topics import TopicResult

RESUME = "The last version is as it was, and what was encoded is kept: run the same command again."

HEADLINES = ("documents", "far", "neighbours", "moved", "routing", "advice", "reasons")
"""What the list of versions has of the drift of one."""


@dataclass(frozen=True)
class UpdatedRun:
    """What an update, or decisions, made.

    Attributes:
        run: the new version.
        record: what is noted of it in the list of versions.
    """

    run: RunFolder
    record: VersionRecord


Fill = Callable[[VersionPlan, RunFolder, VersionRecord], TopicResult]
"""Writes a version into its folder by a plan, and completes its record."""


@contextmanager
def changing(folder: Path) -> Iterator[RunFolder]:
    """The run in a folder, while no other process writes there."""
    read_manifest(RunFolder(folder))  # first: taking the lock would make a folder where none is
    with resumable(RESUME), writing_alone(folder):
        yield RunFolder(folder)


def add_version(plan: VersionPlan, fill: Fill) -> UpdatedRun:
    """Makes the next version of the one that holds; killed at any moment, the last version is whole and holds."""
    run, history, record = plan.run, plan.history, plan.new_record()
    version = run.version(record["version"])
    with atomic_folder(version.path) as new:
        result = fill(plan, RunFolder(new), record)
    record["seconds"] = round(time.perf_counter() - plan.started, 3)
    # Never one that was used, also not by a version that was undone: it may stand in somebody's notes.
    next_topic = max(history["next_topic"], int(result.topics.max()) + 1)
    holds: History = {**history, "current": record["version"], "next_topic": next_topic}
    # Until here nothing but an unused folder has changed; from here on readers are given the new version.
    RunFolder.history.write(run, {**holds, "versions": [*history["versions"], record]})
    renew_page(run, plan.progress)
    return UpdatedRun(version, record)


def fill_by_stages(plan: VersionPlan, new: RunFolder, record: VersionRecord) -> TopicResult:
    """Writes all of a run's files for its documents as they are now."""
    work = plan.workspace(new.path)
    plan.note_lost(work)
    # A policy that keeps the fusion reduces by it and needs no other.
    before_fit = (EmbedStage(), ReduceStage()) if plan.policy in FITS_AGAIN else (EmbedStage(),)
    go_through((*before_fit, VersionStage(plan)), work)
    record["encoded"] = work.ledger.facts("embed")["encoded"]
    write_manifest(work, finished=True)
    return complete(plan, work.run, record)


def complete(plan: VersionPlan, new: RunFolder, record: VersionRecord) -> TopicResult:
    """Notes what became of the topics, in the record and in the manifest that is there."""
    parent, rows = plan.parent, plan.changes.rows
    before, after, stayed = parent.result, new.result, np.flatnonzero(rows >= 0)
    pair = before.topics[rows[stayed]], after.topics[stayed]
    ids = ([topic.topic for topic in result.topic_info] for result in (before, after))
    record["lineage"], record["topics"] = [dict(event) for event in topic_lineage(*pair, *ids)], after.topic_count
    # What an undo of this version takes back: not a decision that could never be applied.
    had = {decision.key for decision in parent.known_decisions}
    record["decisions"] = [str(decision) for decision in new.known_decisions if decision.key not in had]
    if new.drift is not None:
        record["drift"] = {name: new.drift[name] for name in HEADLINES}
    colours = {str(topic): colour for topic, colour in topic_colours(parent).items()}
    # The folder's own name is v2 or v3, and its colours would follow the sizes of its topics.
    about = {"name": parent.name, "created": record["created"], "update": {**record, "colours": colours}}
    RunFolder.manifest.write(new, {**new.manifest, **about})
    return after


def renew_page(run: RunFolder, progress: Progress) -> None:
    """Writes the report of the version that holds now, where the recipe asks for a page or there is one."""
    if recipe_section(run, "report").get("html", True) or RunFolder.report.exists(run):
        write_page_again(run.path, progress)
