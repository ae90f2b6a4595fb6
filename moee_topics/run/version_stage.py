"""The stage in the place of the fit when a run is updated: a policy makes its topics of those that there were."""

from __future__ import annotations

from dataclasses import dataclass

from moee_topics.fuse import Fusion
from moee_topics.run.document_changes import DocumentChanges
from moee_topics.run.fit_stage import FitStage, Steps
from moee_topics.run.policies import POLICIES, Policy, Update
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import EncoderRecord, RunFolder
from moee_topics.topics import MoEEBackend, TopicModel


@dataclass(frozen=True)
class VersionStage(FitStage):
    """The topics of the next version, and everything that follows from them.

    Attributes:
        parent: the version that it is made of.
        changes: its documents, and which of them are new.
        policy: what becomes of the topics.
        next_topic: the number of the next topic that is born.
    """

    parent: RunFolder
    changes: DocumentChanges
    policy: Policy
    next_topic: int

    def inputs(self, work: Workspace) -> str | None:
        """None: a version is made once, in a folder of its own, and never found done."""
        return None

    def topics_of(self, work: Workspace, steps: Steps) -> tuple[TopicModel, Fusion]:
        """The topics by the policy."""
        changes, fusion = self.changes, self.parent.fusion
        with steps.step(self.policy, f"{changes.added:,} new documents, {changes.changed:,} with another text"):
            RunFolder.model.check(self.parent)  # parent.model would have no backend, and words must be embedded again
            model = TopicModel.load(RunFolder.model.path(self.parent), MoEEBackend(work.word_embedder(), fusion))
            return POLICIES[self.policy](Update(work, model, fusion, changes, self.next_topic))

    def encoder_of(self, work: Workspace) -> EncoderRecord:
        """The parent's: all versions are encoded by one model."""
        return self.parent.encoder
