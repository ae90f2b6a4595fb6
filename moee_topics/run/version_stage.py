"""The stage in the place of the fit when a run is updated: a policy makes its topics of those that there were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from moee_topics.evaluate import Drift, find_drift, gather_routing_weights
from moee_topics.fuse import Fusion
from moee_topics.run.fit_stage import FitStage, Steps
from moee_topics.run.new_documents import SAMPLE
from moee_topics.run.policies import FITS_AGAIN, POLICIES, Update
from moee_topics.run.version_plan import VersionPlan
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import EncoderRecord, RunFolder
from moee_topics.topics import MoEEBackend, Outcome, Replay, TopicModel, Voters


@dataclass(frozen=True)
class VersionStage(FitStage):
    """The topics of the next version, and everything that follows from them.

    Attributes:
        plan: what it is made of, and how.
    """

    plan: VersionPlan

    def inputs(self, work: Workspace) -> str | None:
        """None: a version is made once, in a folder of its own, and never found done."""
        return None

    def topics_of(self, work: Workspace, steps: Steps) -> tuple[TopicModel, Fusion]:
        """The topics by the policy, and by the decisions that hold."""
        plan, parent, changes = self.plan, self.plan.parent, self.plan.changes
        seeds = [list(decision.seeds) for decision in plan.decisions if decision.seeds]
        if seeds and plan.policy in FITS_AGAIN:
            topics = work.recipe.topics
            guided = replace(topics, seed_topic_list=[*(topics.seed_topic_list or []), *seeds])
            work.recipe = work.recipe.model_copy(update={"topics": guided})
        with steps.step(plan.policy, f"{changes.added:,} new documents, {changes.changed:,} with another text"):
            RunFolder.model.check(parent)  # parent.model would have no backend, and words must be embedded again
            backend = MoEEBackend(work.word_embedder(), parent.fusion)
            model = TopicModel.load(RunFolder.model.path(parent), backend)
            update = Update(work, model, parent.fusion, changes, plan.history["next_topic"])
            model, fusion = POLICIES[plan.policy](update)
        if plan.decisions:
            with steps.step("decisions", f"{len(plan.decisions):,} of {parent.decisions_path.name}"):
                RunFolder.decisions.write(work.run, replay(plan, model, lambda: update.X))
        if update.is_new.any() and not update.is_new.all():
            with steps.step("drift", "how the new documents differ from the old ones"):
                steps.chapter("drift", lambda: RunFolder.drift.write(work.run, drift_of(update).to_json()))
        return model, fusion

    def encoder_of(self, work: Workspace) -> EncoderRecord:
        """The parent's: all versions are encoded by one model."""
        return self.plan.parent.encoder


def replay(
    plan: VersionPlan, model: TopicModel, vectors: Callable[[], NDArray[np.floating]] | None = None
) -> list[Outcome]:
    """Applies the decisions that hold to the topics of the next version, in place, and says what became of each.

    Args:
        plan: of the version.
        model: its topics.
        vectors: gives (N, d) vectors of its documents, where one gets another topic.
    """
    old = plan.parent.result
    before = dict(zip(old.ids, old.topics.tolist(), strict=True))
    first_free = max(plan.history["next_topic"], int(model.result.topics.max()) + 1)
    known = plan.parent.known_decisions
    return Replay(model, first_free, known=known, before=before, vectors=vectors).apply(plan.decisions)


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
