"""What the next version of a run is to be, before anything of it is made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np

from moee_topics.corpus import DocumentList
from moee_topics.progress import Progress
from moee_topics.recipe import parse_recipe
from moee_topics.run.document_changes import DocumentChanges
from moee_topics.run.ledger import Ledger
from moee_topics.run.manifest import store_of
from moee_topics.run.policies import Step
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import History, RunFolder, VersionRecord, check_same_encoder, fitted_encoder
from moee_topics.topics import Decision


@dataclass(frozen=True)
class VersionPlan:
    """What the next version is made of, and how.

    Attributes:
        run: the run itself.
        policy: what becomes of the topics.
        changes: the documents, and which of them are new.
        decisions: all that hold, applied after the policy.
        sources: where the documents came from.
        store: root folder of the embeddings; the one that the run remembers unless told.
        progress: is told how far the work is.
        started: the time by which its seconds are counted.
    """

    run: RunFolder
    policy: Step
    changes: DocumentChanges
    decisions: Sequence[Decision] = ()
    sources: Sequence[str] = ()
    store: Path | None = None
    progress: Progress = field(default_factory=Progress)
    started: float = field(default_factory=time.perf_counter)

    @cached_property
    def parent(self) -> RunFolder:
        """The version that holds, which this one is made of."""
        return self.run.current

    @cached_property
    def history(self) -> History:
        """The versions so far."""
        history, fit = self.run.history, Ledger(self.run).records.get("fit")
        if history is not None and history["versions"]:
            return history
        next_topic = int(self.run.result.topics.max()) + 1
        if history is not None:  # of names that were forgotten with their fit
            return {**history, "next_topic": max(history["next_topic"], next_topic)}
        return {"fit": fit.inputs if fit else "", "current": 1, "next_topic": next_topic, "versions": []}

    def new_record(self) -> VersionRecord:
        """What is known of the version before it is made."""
        changes, history = self.changes, self.history
        return {
            "version": 1 + max((record["version"] for record in history["versions"]), default=1),
            "parent": history["current"],
            "policy": self.policy,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "sources": list(self.sources),
            "documents": len(changes.documents),
            "topics": 0,
            "added": changes.added,
            "changed": changes.changed,
            "removed": changes.removed,
            "encoded": 0,
            "seconds": 0.0,
            "lineage": [],
        }

    def workspace(self, folder: Path) -> Workspace:
        """The recipe of the run at work on these documents, with the very encoder of the run.

        Raises:
            ModelError: the model is gone, or is not the one the run was encoded with.
        """
        parent, encoder = self.parent, fitted_encoder(self.parent)
        recipe = parse_recipe(parent.manifest["recipe"], name=f"the recipe of {parent.name}")
        store = self.store or store_of(self.parent)
        recipe = recipe.model_copy(update={"encoder": encoder})
        # Who updates or decides did not write the recipe just now: its idle keys were told when it was run.
        work = Workspace(recipe, folder, store, self.progress, tells_idle_keys=False)
        # In the place of the recipe's own corpus, which is by now only a part of the documents.
        work.corpus = DocumentList.of(self.changes.documents, f"{parent.name}, updated")
        check_same_encoder(encoder.model, parent.encoder["key"], work.embedder.key)
        return work

    def note_lost(self, work: Workspace) -> None:
        """Says how many documents that the run had encoded are not stored any more."""
        hashes = work.survey.hash_list()
        had = {hashes[row] for row in np.flatnonzero(self.changes.rows >= 0).tolist()}
        if lost := len(work.embedder.missing(had)):
            work.note_lost(lost)
