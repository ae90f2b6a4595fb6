"""The stage in the place of the fit when a run is updated: a policy makes its topics of those that there were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from moee_topics.evaluate import Drift, find_drift, gather_routing_weights
from moee_topics.fuse import Fusion
from moee_topics.run.document_changes import DocumentChanges
from moee_topics.run.fit_stage import FitStage, Steps
from moee_topics.run.new_documents import SAMPLE
from moee_topics.run.policies import POLICIES, Step, Update
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import DecisionRecord, EncoderRecord, RunFolder
from moee_topics.topics import Decision, MoEEBackend, Replay, TopicModel, Voters


@dataclass(frozen=True)
class VersionStage(FitStage):
    """The topics of the next version, and everything that follows from them.

    Attributes:
        parent: the version that it is made of.
        changes: its documents, and which of them are new.
        policy: what becomes of the topics.
        next_topic: the number of the next topic that is born.
        decisions: applied to what the policy made.
    """

    parent: RunFolder
    changes: DocumentChanges
    policy: Step
    next_topic: int
    decisions: Sequence[Decision] = ()

    def inputs(self, work: Workspace) -> str | None:
        """None: a version is made once, in a folder of its own, and never found done."""
        return None

    def topics_of(self, work: Workspace, steps: Steps) -> tuple[TopicModel, Fusion]:
        """The topics by the policy."""
        changes, fusion = self.changes, self.parent.fusion
        seeds = [list(decision.seeds) for decision in self.decisions if decision.seeds]
        if seeds and self.policy == "refit":
            topics = work.recipe.topics
            guided = replace(topics, seed_topic_list=[*(topics.seed_topic_list or []), *seeds])
            work.recipe = work.recipe.model_copy(update={"topics": guided})
        with steps.step(self.policy, f"{changes.added:,} new documents, {changes.changed:,} with another text"):
            RunFolder.model.check(self.parent)  # parent.model would have no backend, and words must be embedded again
            model = TopicModel.load(RunFolder.model.path(self.parent), MoEEBackend(work.word_embedder(), fusion))
            update = Update(work, model, fusion, changes, self.next_topic)
            model, fusion = POLICIES[self.policy](update)
        if self.decisions:
            with steps.step("decisions", f"{len(self.decisions):,} of {self.parent.decisions_path.name}"):
                records = replay(self.parent, model, self.decisions, self.next_topic, lambda: update.X)
                RunFolder.decisions.write(work.run, records)
        if self.policy != "decide" and update.is_new.any() and not update.is_new.all():
            with steps.step("drift", "how the new documents differ from the old ones"):
                steps.chapter("drift", lambda: RunFolder.drift.write(work.run, drift_of(update).to_json()))
        return model, fusion

    def encoder_of(self, work: Workspace) -> EncoderRecord:
        """The parent's: all versions are encoded by one model."""
        return self.parent.encoder


def replay(
    parent: RunFolder,
    model: TopicModel,
    decisions: Sequence[Decision],
    next_topic: int,
    vectors: Callable[[], NDArray[np.floating]] | None = None,
) -> list[DecisionRecord]:
    """Applies decisions to the topics of the next version, in place, and says what became of each.

    Args:
        parent: the version that the topics descend from.
        model: of the next version.
        decisions: all that hold.
        next_topic: the number of the next topic that is born.
        vectors: gives (N, d) vectors of its documents, where one gets another topic.
    """
    known = {one.key: one for one in known_decisions(parent)}
    before = dict(zip(parent.result.ids, parent.result.topics.tolist(), strict=True))
    first_free = max(next_topic, int(model.result.topics.max()) + 1)
    replayed = Replay(model, first_free, known=list(known.values()), before=before, vectors=vectors)
    return [
        {
            "decision": outcome.decision.to_plain(),
            "state": outcome.state,
            "reason": outcome.reason,
            # A conflict with a topic that is gone for now stays one with this topic.
            "known": outcome.state != "conflict" or outcome.decision.key in known,
        }
        for outcome in replayed.apply(decisions)
    ]


def drift_of(update: Update) -> Drift:
    """How the new documents of an update differ from those that stayed, by the topics and the fusion as they were."""
    work, seed = update.work, update.model.settings.seed
    rng = np.random.default_rng(seed)
    # Distances grow with the square of the documents, and a share needs no more than a sample.
    sample = [rng.permutation(np.flatnonzero(part))[:SAMPLE] for part in (~update.is_new, update.is_new)]
    rows = np.sort(np.concatenate(sample))
    # As for predictions: by words that were learnt from the old ones alone, new documents would always lie apart.
    X, is_new = update.fusion.without_words(update.X[rows]), update.is_new[rows]
    own, old = Voters.fit(X, is_new.astype(np.int64), most=len(X)), X[~is_new]
    among_old = Voters.fit(old, np.zeros(len(old), dtype=np.int64), most=len(old))
    places, _ = own.nearest(own.vectors, own=True)
    weights, hashes = None, work.survey.hash_list()
    if work.embedder.key["layers"] and work.recipe.encoder.routing != "none":
        weights = gather_routing_weights(work.embedder.stored_blocks([hashes[row] for row in rows]), len(rows))
    return find_drift(
        among_old.nearest(among_old.vectors, own=True)[1].max(axis=1),
        among_old.nearest(X[is_new])[1].max(axis=1),
        places,
        is_new[own.rows],
        # Not those that the policy made: a topic that was born of the drift would count as more of it.
        update.assigned.topics[rows],
        is_new,
        weights,
        seed=seed,
    )


def known_decisions(run: RunFolder) -> list[Decision]:
    """The decisions of a version whose ids are those of its topics."""
    return [Decision.from_plain(one["decision"], run.name) for one in run.decisions if one["known"]]
