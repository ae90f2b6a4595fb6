"""A finished run grows: new documents come in, every update is a version, and topics keep their ids."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast, get_args

import numpy as np

from moee_topics.corpus import Corpus, DocumentList
from moee_topics.defaults import STORE_NAME
from moee_topics.errors import InputError
from moee_topics.evaluate import topic_lineage
from moee_topics.progress import Progress, resumable
from moee_topics.recipe import Recipe, parse_recipe
from moee_topics.report import topic_colours
from moee_topics.run.document_changes import DocumentChanges, document_changes
from moee_topics.run.embed_stage import EmbedStage
from moee_topics.run.idle_keys import idle_note, idle_overrides
from moee_topics.run.ledger import Ledger
from moee_topics.run.manifest import read_manifest, recipe_section, write_manifest
from moee_topics.run.policies import POLICIES, Policy
from moee_topics.run.predictor import open_like, own_reading
from moee_topics.run.reduce_stage import ReduceStage
from moee_topics.run.report_stage import write_page_again
from moee_topics.run.stages import go_through
from moee_topics.run.version_stage import VersionStage
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import History, RunFolder, VersionRecord, check_same_encoder, fitted_encoder
from moee_topics.store import atomic_folder, writing_alone
from moee_topics.topics import TopicResult

RESUME = "The last version is as it was, and what was encoded is kept: run the same command again."


@dataclass(frozen=True)
class UpdatedRun:
    """What an update did.

    Attributes:
        run: the new version.
        record: what is noted of it in the list of versions.
    """

    run: RunFolder
    record: VersionRecord


def update(
    folder: Path,
    sources: Sequence[str] = (),
    policy: Policy = "assign",
    *,
    overrides: Sequence[str] = (),
    remove_missing: bool = False,
    store: Path | None = None,
    progress: Progress | None = None,
) -> UpdatedRun:
    """Brings new and changed documents into a finished run, as its next version; only new texts are encoded.

    Killed at any moment, it leaves the last version whole.

    Args:
        folder: of the run.
        sources: of documents, read as the run read its own; none reads the run's own source again.
        policy: ``assign`` keeps all topics, ``grow`` adds new ones, ``refit`` fits again and finds the old ones in it.
        overrides: ``corpus.KEY=VALUE`` where the sources are to be read otherwise.
        remove_missing: documents that are in none of the sources go.
        store: root folder of the embeddings; ``store`` beside the run's folder unless told.
        progress: is told how far the work is.

    Raises:
        InputError: there is no finished run, no such policy, nothing new, or a source that cannot be read.
        ModelError: the model is gone, or is not the one the run was encoded with.
    """
    folder, started, progress = Path(folder), time.perf_counter(), progress or Progress()
    if policy not in POLICIES:
        raise InputError(f"There is no policy {policy!r}. Choose from {', '.join(get_args(Policy))}.")
    with _changing(folder) as run:
        parent = run.current
        corpora = list(sources_like(run, sources, overrides))
        idle = [idle_overrides(corpus.settings, overrides).items() for corpus in corpora]
        if note := idle_note(set(idle[0]).intersection(*idle[1:]) if idle else ()):
            progress.note(note)
        changes = document_changes(parent.result, corpora, remove_missing=remove_missing)
        history = run.history or _first_history(run)
        _check_changes(changes, policy, corpora, history["current"])
        record = _new_record(history, policy, corpora, changes)
        with atomic_folder(run.version(record["version"]).path) as new:
            work = _workspace(parent, new, store or folder.parent / STORE_NAME, changes, progress)
            result = _write_version(work, parent, changes, history["next_topic"], record)
        record["seconds"] = round(time.perf_counter() - started, 3)
        # Never one that was used, also not by a version that was undone: it may stand in somebody's notes.
        next_topic = max(history["next_topic"], int(result.topics.max()) + 1)
        holds: History = {**history, "current": record["version"], "next_topic": next_topic}
        # Until here nothing but an unused folder has changed; from here on readers are given the new version.
        RunFolder.history.write(run, {**holds, "versions": [*history["versions"], record]})
        _renew_page(run, progress)
    return UpdatedRun(run.version(record["version"]), record)


def undo(folder: Path, *, progress: Progress | None = None) -> int:
    """Goes back to the version that the current one was made of, and returns its number; nothing is deleted.

    Raises:
        InputError: there is no run, or no update to undo.
    """
    with _changing(Path(folder)) as run:
        history = run.history
        if history is None or history["current"] == 1:
            raise InputError(f"{folder} has no update to undo: it is at version 1, its own fit.")
        parent = next(one["parent"] for one in history["versions"] if one["version"] == history["current"])
        RunFolder.history.write(run, {**history, "current": parent})
        _renew_page(run, progress or Progress())
    return parent


def sources_like(run: RunFolder, sources: Sequence[str], overrides: Sequence[str]) -> Iterator[Corpus]:
    """Opens sources the way a run read its own, which is the one that is opened where there are none.

    Raises:
        InputError: there is no such source.
        RecipeError: an override is not valid.
    """
    own = own_reading(run)
    # The run's own limit holds for its own source; new files were brought to be read.
    for section in [{**own, "source": source, "limit": None} for source in sources] or [dict(own)]:
        yield open_like(section, section["source"], overrides, name="update")


@contextmanager
def _changing(folder: Path) -> Iterator[RunFolder]:
    """The run in a folder, while no other process writes there."""
    read_manifest(RunFolder(folder))  # first: taking the lock would make a folder where none is
    with resumable(RESUME), writing_alone(folder):
        yield RunFolder(folder)


def _renew_page(run: RunFolder, progress: Progress) -> None:
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


def _new_record(history: History, policy: Policy, corpora: Sequence[Corpus], changes: DocumentChanges) -> VersionRecord:
    """What is known of a version before it is made."""
    return {
        "version": 1 + max((record["version"] for record in history["versions"]), default=1),
        "parent": history["current"],
        "policy": policy,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "sources": [corpus.source for corpus in corpora],
        "documents": len(changes.documents),
        "topics": 0,
        "added": changes.added,
        "changed": changes.changed,
        "removed": changes.removed,
        "encoded": 0,
        "seconds": 0.0,
        "lineage": [],
    }


def _check_changes(changes: DocumentChanges, policy: Policy, corpora: Sequence[Corpus], version: int) -> None:
    """Refuses an update of which nothing would follow, or after which nothing of the run would be left."""
    names = ", ".join(corpus.source for corpus in corpora)
    if changes.is_nothing and policy == "assign":
        raise InputError(
            f"Nothing is new: every document of {names} is in version {version} as it is. Other policies (grow, refit) "
            "also work on the documents that are there."
        )
    if not (changes.rows >= 0).any():
        raise InputError(
            f"No document of the run would stay: none of its texts is in {names}. Was the right file given, and its "
            "columns (corpus.text=COLUMN, corpus.id=COLUMN)? If all is to be new, run the recipe on it."
        )


def _workspace(parent: RunFolder, folder: Path, store: Path, changes: DocumentChanges, progress: Progress) -> Workspace:
    """The recipe of a run at work on other documents, with the very encoder of the run."""
    manifest, encoder = parent.manifest, fitted_encoder(parent)
    recipe: Recipe = parse_recipe(manifest["recipe"], name=f"the recipe of {parent.name}")
    work = Workspace(recipe.model_copy(update={"encoder": encoder}), folder, store, progress)
    # In the place of the recipe's own corpus, which is by now only a part of the documents.
    work.corpus = DocumentList.of(changes.documents, f"{parent.name}, updated")
    check_same_encoder(encoder.model, parent.encoder["key"], work.embedder.key)
    return work


def _write_version(
    work: Workspace, parent: RunFolder, changes: DocumentChanges, next_topic: int, record: VersionRecord
) -> TopicResult:
    """Writes all of a run's files for its documents as they are now, and completes the record."""
    stage = VersionStage(parent, changes, cast(Policy, record["policy"]), next_topic)
    # A policy that keeps the fusion reduces by it and needs no other.
    before_fit = (EmbedStage(), ReduceStage()) if stage.policy == "refit" else (EmbedStage(),)
    go_through((*before_fit, stage), work)
    before, after = parent.result, work.run.result
    stayed = np.flatnonzero(changes.rows >= 0)
    pair = before.topics[changes.rows[stayed]], after.topics[stayed]
    ids = ([topic.topic for topic in result.topic_info] for result in (before, after))
    record["lineage"] = [dict(event) for event in topic_lineage(*pair, *ids)]
    record["topics"], record["encoded"] = after.topic_count, work.ledger.facts("embed")["encoded"]
    write_manifest(work, finished=True)
    colours = {str(topic): colour for topic, colour in topic_colours(parent).items()}
    # The folder's own name is v2 or v3, and its colours would follow the sizes of its topics.
    about = {"name": parent.name, "created": record["created"], "update": {**record, "colours": colours}}
    RunFolder.manifest.write(work.run, {**work.run.manifest, **about})
    return after
