"""Decisions on topics become a version of the run, like an update; what is noted first in ``decisions.yaml``.

The file is written before the version, and before an undo: a decision that a kill left there alone is applied by the
next command, and one that is taken out of it is undone by the same command once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from moee_topics.errors import InputError, MoEETopicsError
from moee_topics.progress import Progress
from moee_topics.run.document_changes import DocumentChanges, documents_of
from moee_topics.run.version_plan import VersionPlan
from moee_topics.run.version_stage import replay
from moee_topics.run.versions import UpdatedRun, add_version, changing, complete, fill_by_stages
from moee_topics.run_folder import RunFolder, VersionRecord, read_decisions, write_decisions
from moee_topics.topics import Decision, Outcome, TopicModel, TopicResult, first_words


@dataclass(frozen=True)
class Decisions:
    """What ``decisions.yaml`` holds, and what of it the version that holds does not know yet.

    Attributes:
        run: the run itself.
        all: in their order.
        outcomes: what became of those that the version was made with.
    """

    run: RunFolder
    all: Sequence[Decision]
    outcomes: Sequence[Outcome]

    @property
    def pending(self) -> list[Decision]:
        """Those that the version was made without."""
        tried = {outcome.decision.key for outcome in self.outcomes}
        return [decision for decision in self.all if decision.key not in tried]

    @property
    def taken_out(self) -> list[Decision]:
        """Those that the version knows and the file has no more."""
        kept, known = {decision.key for decision in self.all}, (one.decision for one in self.outcomes if one.known)
        return [decision for decision in known if decision.key not in kept]

    @property
    def are_new(self) -> bool:
        """Whether the file says something else than the version."""
        return bool(self.pending or self.taken_out)

    def settle(self, version: RunFolder, progress: Progress) -> None:
        """Says what a new version could not apply, and notes in the file the ids, words and parts that it found."""
        for outcome in version.decisions:
            if outcome.state == "conflict":
                progress.note(f"Not applied: {outcome.decision}. {outcome.reason[:1].upper()}{outcome.reason[1:]}.")
        write_decisions(self.run.decisions_path, [outcome.decision for outcome in version.decisions])


def decisions_of(run: RunFolder) -> Decisions:
    """The decisions of a run.

    Raises:
        InputError: the file cannot be read.
        RecipeError: it is no list of decisions; the message names the line.
    """
    return Decisions(run, read_decisions(run.decisions_path), run.current.decisions)


def decide(
    folder: Path,
    decisions: Sequence[Decision] = (),
    *,
    store: Path | None = None,
    progress: Progress | None = None,
) -> UpdatedRun | None:
    """Applies decisions to the topics of a run, as its next version; they hold for all that follow.

    Args:
        folder: of the run.
        decisions: new ones; without any, those of ``decisions.yaml`` that are not applied yet.
        store: root folder of the embeddings; the one that the run remembers unless told.
        progress: is told how far the work is, and which decisions are in conflict.

    Returns:
        The version; None where the one that holds was made with all of them.

    Raises:
        InputError: there is no finished run, or no such topic or document.
        RecipeError: a decision, or an entry of the file, cannot be read as one.
    """
    folder, progress = Path(folder), progress or Progress()
    with changing(folder) as run:
        held = decisions_of(run)
        new = [as_of_now(run.current.result, decision) for decision in decisions]
        # The last name of a topic is the one that holds.
        renamed = {decision.topics for decision in new if decision.verb == "name"}
        kept = [one for one in held.all if not (one.verb == "name" and one.topics in renamed)]
        keys = {decision.key for decision in kept}
        asked = replace(held, all=[*kept, *(decision for decision in new if decision.key not in keys)])
        if not asked.are_new:
            return None
        write_decisions(run.decisions_path, asked.all)
        result = run.current.result
        changes = DocumentChanges(documents_of(result), np.arange(len(result)), 0, 0, 0, 0)
        plan = VersionPlan(run, "decide", changes, asked.all, store=store, progress=progress)
        may_move = any(decision.kind.moves for decision in [*asked.pending, *asked.taken_out])
        try:
            updated = add_version(plan, fill_by_stages if may_move else fill_with_names)
        except MoEETopicsError:
            write_decisions(run.decisions_path, held.all)
            raise
        asked.settle(updated.run, progress)
    return updated


def as_of_now(result: TopicResult, decision: Decision) -> Decision:
    """A new decision with the words of its topics.

    Raises:
        InputError: there is no such topic or document.
        RecipeError: it cannot be one, such as a merge of a topic with itself.
    """
    decision = Decision.from_plain(decision.to_plain(), "The decision")
    of_topics = [() if topic < 0 else first_words(result.topic(topic)) for topic in decision.topics]
    if gone := sorted(set(decision.documents) - set(result.ids)):
        raise InputError(f"There is no document {gone[0]!r} in this run; a pin takes ids of its documents.")
    return replace(decision, words=tuple(of_topics) if any(of_topics) else ())


def fill_with_names(plan: VersionPlan, new: RunFolder, record: VersionRecord) -> TopicResult:
    """Writes a version in which no document moved: the files of its parent under another name, and other names."""
    for file in (RunFolder.stages, RunFolder.result, RunFolder.model, RunFolder.scores, RunFolder.experts,
                 RunFolder.hierarchy, RunFolder.over_time, RunFolder.per_class, RunFolder.stability):  # fmt: skip
        file.take(new, plan.parent)
    model = new.model
    RunFolder.decisions.write(new, replay(plan, model))
    with RunFolder.result.changing(new):
        model.result.save_info(new.path)
    with RunFolder.model.changing(new):
        TopicModel.save_labels(RunFolder.model.path(new), model.model.custom_labels_)
    RunFolder.manifest.write(new, plan.parent.manifest)
    return complete(plan, new, record)


def take_back(run: RunFolder, parent: RunFolder) -> None:
    """Takes the decisions of the version that holds out of the file, and puts back those that they took out."""
    try:
        here, there = run.current.known_decisions, parent.known_decisions
    except InputError:  # a damaged version is undone all the same
        return
    had, has = {one.key for one in there}, {one.key for one in here}
    kept = [one for one in read_decisions(run.decisions_path) if one.key not in has - had]
    keys = {one.key for one in kept}
    write_decisions(run.decisions_path, [*kept, *(one for one in there if one.key not in has | keys)])
