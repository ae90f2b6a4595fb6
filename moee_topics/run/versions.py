"""The next version of a run: made in a folder of its own, and held from the moment the list of versions says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from moee_topics.corpus import DocumentList
from moee_topics.defaults import STORE_NAME
from moee_topics.evaluate import topic_lineage
from moee_topics.progress import Progress, resumable
from moee_topics.recipe import Recipe, parse_recipe
from moee_topics.report import topic_colours
from moee_topics.run.document_changes import DocumentChanges
from moee_topics.run.embed_stage import EmbedStage
from moee_topics.run.ledger import Ledger
from moee_topics.run.manifest import read_manifest, recipe_section, write_manifest
from moee_topics.run.policies import Step
from moee_topics.run.reduce_stage import ReduceStage
from moee_topics.run.report_stage import write_page_again
from moee_topics.run.stages import go_through
from moee_topics.run.version_stage import VersionStage, known_decisions
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import History, RunFolder, VersionRecord, check_same_encoder, fitted_encoder
from moee_topics.store import atomic_folder, writing_alone
from moee_topics.topics import Decision, TopicResult

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


@dataclass
class VersionPlan:
    """What the next version is to be.

    Attributes:
        policy: what becomes of the topics.
        changes: the documents, and which of them are new.
        decisions: all that hold, applied after the policy.
        sources: where the documents came from.
        store: root folder of the embeddings; ``store`` beside the run's folder unless told.
        progress: is told how far the work is.
        started: the time by which its seconds are counted.
    """

    policy: Step
    changes: DocumentChanges
    decisions: Sequence[Decision] = ()
    sources: Sequence[str] = ()
    store: Path | None = None
    progress: Progress = field(default_factory=Progress)
    started: float = field(default_factory=time.perf_counter)


Fill = Callable[[RunFolder, RunFolder, VersionPlan, int, VersionRecord], TopicResult]
"""Writes a version into its folder, of a parent, by a plan, with the number of the next topic, and completes the
record."""


@contextmanager
def changing(folder: Path) -> Iterator[RunFolder]:
    """The run in a folder, while no other process writes there."""
    read_manifest(RunFolder(folder))  # first: taking the lock would make a folder where none is
    with resumable(RESUME), writing_alone(folder):
        yield RunFolder(folder)


def add_version(run: RunFolder, plan: VersionPlan, fill: Fill) -> UpdatedRun:
    """Makes the next version of the one that holds; killed at any moment, the last version is whole and holds."""
    parent, history = run.current, run.history or _first_history(run)
    record = _new_record(history, plan)
    with atomic_folder(run.version(record["version"]).path) as new:
        result = fill(parent, RunFolder(new), plan, history["next_topic"], record)
    record["seconds"] = round(time.perf_counter() - plan.started, 3)
    # Never one that was used, also not by a version that was undone: it may stand in somebody's notes.
    next_topic = max(history["next_topic"], int(result.topics.max()) + 1)
    holds: History = {**history, "current": record["version"], "next_topic": next_topic}
    # Until here nothing but an unused folder has changed; from here on readers are given the new version.
    RunFolder.history.write(run, {**holds, "versions": [*history["versions"], record]})
    renew_page(run, plan.progress)
    return UpdatedRun(run.version(record["version"]), record)


def fill_by_stages(
    parent: RunFolder, new: RunFolder, plan: VersionPlan, next_topic: int, record: VersionRecord
) -> TopicResult:
    """Writes all of a run's files for its documents as they are now."""
    work = _workspace(parent, new.path, plan)
    stage = VersionStage(parent, plan.changes, plan.policy, next_topic, plan.decisions)
    # A policy that keeps the fusion reduces by it and needs no other.
    before_fit = (EmbedStage(), ReduceStage()) if stage.policy == "refit" else (EmbedStage(),)
    go_through((*before_fit, stage), work)
    record["encoded"] = work.ledger.facts("embed")["encoded"]
    write_manifest(work, finished=True)
    return complete(parent, work.run, plan.changes, record)


def complete(parent: RunFolder, new: RunFolder, changes: DocumentChanges, record: VersionRecord) -> TopicResult:
    """Notes what became of the topics, in the record and in the manifest that is there."""
    before, after = parent.result, new.result
    stayed = np.flatnonzero(changes.rows >= 0)
    pair = before.topics[changes.rows[stayed]], after.topics[stayed]
    ids = ([topic.topic for topic in result.topic_info] for result in (before, after))
    record["lineage"], record["topics"] = [dict(event) for event in topic_lineage(*pair, *ids)], after.topic_count
    # What an undo of this version takes back: not a decision that could never be applied.
    had = {decision.key for decision in known_decisions(parent)}
    record["decisions"] = [str(decision) for decision in known_decisions(new) if decision.key not in had]
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


def _first_history(run: RunFolder) -> History:
    record = Ledger(run).records.get("fit")
    return {
        "fit": record.inputs if record else "",
        "current": 1,
        "next_topic": int(run.result.topics.max()) + 1,
        "versions": [],
    }


def _new_record(history: History, plan: VersionPlan) -> VersionRecord:
    """What is known of a version before it is made."""
    changes = plan.changes
    return {
        "version": 1 + max((record["version"] for record in history["versions"]), default=1),
        "parent": history["current"],
        "policy": plan.policy,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "sources": list(plan.sources),
        "documents": len(changes.documents),
        "topics": 0,
        "added": changes.added,
        "changed": changes.changed,
        "removed": changes.removed,
        "encoded": 0,
        "seconds": 0.0,
        "lineage": [],
    }


def _workspace(parent: RunFolder, folder: Path, plan: VersionPlan) -> Workspace:
    """The recipe of a run at work on other documents, with the very encoder of the run."""
    manifest, encoder = parent.manifest, fitted_encoder(parent)
    recipe: Recipe = parse_recipe(manifest["recipe"], name=f"the recipe of {parent.name}")
    store = plan.store or parent.root.path.parent / STORE_NAME
    work = Workspace(recipe.model_copy(update={"encoder": encoder}), folder, store, plan.progress)
    # In the place of the recipe's own corpus, which is by now only a part of the documents.
    work.corpus = DocumentList.of(plan.changes.documents, f"{parent.name}, updated")
    check_same_encoder(encoder.model, parent.encoder["key"], work.embedder.key)
    return work
