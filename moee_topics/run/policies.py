"""What an update does with topics: keep them, let new ones grow, or fit again and find the old ones in the new."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes

from moee_topics.evaluate import far_documents
from moee_topics.fuse import Fusion, fuse_all
from moee_topics.run.document_changes import DocumentChanges
from moee_topics.run.fit_stage import fit_documents, fused
from moee_topics.run.workspace import Workspace
from moee_topics.topics import (
    NEW,
    OUTLIERS,
    TopicModel,
    TopicResult,
    Voters,
    crowded_documents,
    document_columns,
    grown_topics,
    matched_topics,
    places_on_map,
    renumber,
    replace_documents,
)

Policy = Literal["assign", "grow", "refit"]
Step = Literal[Policy, "decide"]
"""What makes a version: a policy with new documents, or decisions alone."""


@dataclass
class Update:
    """What a policy works on.

    Attributes:
        work: the recipe of the run, its store, and as corpus the documents as they are now.
        model: the topic model as it was, which assign and grow change in place.
        fusion: as it was fitted.
        changes: the documents, and which of them are new.
        next_topic: the number of the next topic that is born.
    """

    work: Workspace
    model: TopicModel
    fusion: Fusion
    changes: DocumentChanges
    next_topic: int

    @cached_property
    def X(self) -> NDArray[np.float32]:
        """(N, d) vectors of all documents by the fusion as it was."""
        hashes, texts = self.work.survey.hash_list(), [document.text for document in self.changes.documents]
        return fuse_all(self.work.embedder.stored_blocks(hashes), self.fusion, len(hashes), texts)

    @cached_property
    def is_new(self) -> NDArray[np.bool_]:
        """(N,) whether a document's text was not there before."""
        return self.changes.rows < 0

    @cached_property
    def voters(self) -> Voters:
        """The documents that stayed, with their topics; what was removed or rewritten has no vote any more."""
        stayed = np.flatnonzero(~self.is_new)
        topics = self.model.result.topics[self.changes.rows[stayed]]
        voters = Voters.fit(self.X[stayed], topics, seed=self.model.settings.seed)
        return replace(voters, rows=stayed[voters.rows])

    @cached_property
    def assigned(self) -> TopicResult:
        """The documents as they are now, with the topics that they had or that their neighbours vote for."""
        old, documents, rows = self.model.result, self.changes.documents, self.changes.rows
        # New ones, whose row is -1, get their own below.
        topics, sure, places = old.topics[rows], old.probabilities[rows], old.positions[rows]
        if self.is_new.any():
            topic_of = {old.texts[row]: int(old.topics[row]) for row in rows[~self.is_new][::-1].tolist()}
            texts = [documents[row].text for row in np.flatnonzero(self.is_new).tolist()]
            of_copies = np.array([topic_of.get(text, NEW) for text in texts], dtype=np.int64)
            X = self.X[self.is_new]
            topics[self.is_new], sure[self.is_new] = self.voters.predict(X, of_copies)
            places[self.is_new] = places_on_map(self.voters, places, X)
        return TopicResult(
            assigned=None if old.assigned is None else self.is_new | old.assigned[rows],
            texts=[document.text for document in documents],
            topics=topics,
            probabilities=sure,
            positions=places,
            topic_info=(),
            **document_columns(documents, len(documents)),
        )


def keep(update: Update) -> tuple[TopicModel, Fusion]:
    """All stays as it is, for decisions on it."""
    return update.model, update.fusion


def assign(update: Update) -> tuple[TopicModel, Fusion]:
    """New documents get the topic that their nearest old ones vote for; old ones keep theirs."""
    replace_documents(update.model, update.assigned, update.X)
    return update.model, update.fusion


def grow(update: Update) -> tuple[TopicModel, Fusion]:
    """As :func:`assign`; then outliers, and new documents far from old ones or crowded, may make new topics."""
    result, X = update.assigned, update.X
    is_candidate = result.topics == OUTLIERS
    if update.is_new.any():
        # By words that were learnt from the old documents alone, new ones would always lie apart and together.
        read = update.fusion.without_words(X)
        voters = update.voters.with_vectors(read[update.voters.rows])
        own = voters.nearest(voters.vectors, own=True)[1].max(axis=1)
        is_candidate[update.is_new] |= far_documents(own, voters.nearest(read[update.is_new])[1].max(axis=1))
        is_candidate |= crowded_documents(read, update.is_new)
    candidates = np.flatnonzero(is_candidate)
    topics = grown_topics(X, result.topics, candidates, update.is_new, update.model.settings, update.next_topic)
    born = topics != result.topics
    # How sure it is was the vote for another topic.
    sure = np.where(born, 1.0, result.probabilities).astype(np.float32)
    replace_documents(update.model, replace(result, topics=topics, probabilities=sure), X)
    return update.model, update.fusion


def refit(update: Update) -> tuple[TopicModel, Fusion]:
    """Fits all documents again, and gives every topic that was there before its old id, name and side of the map."""
    work, old = update.work, update.model
    documents = update.changes.documents
    fusion, X = fused(work, [document.text for document in documents])
    new = fit_documents(work, documents, fusion, X)
    stayed = np.flatnonzero(~update.is_new)
    rows = update.changes.rows[stayed]
    matches = matched_topics(
        old.result.topics[rows],
        new.result.topics[stayed],
        *({topic.topic: topic.words for topic in model.result.topic_info} for model in (old, new)),
    )
    numbers, unmatched = dict(matches), update.next_topic
    for topic in new.result.topic_info:  # the largest first
        if topic.topic != OUTLIERS and topic.topic not in matches:
            numbers[topic.topic], unmatched = unmatched, unmatched + 1
    # A topic that is found again is called as before, though the fit would call it by its words now.
    names = {topic.topic: topic.name for topic in old.result.topic_info if topic.topic in matches.values()}
    renumber(new, numbers, names)
    places = turned_like(new.result.positions, stayed, old.result.positions[rows])
    new.result = replace(new.result, positions=places)
    return new, fusion


def turned_like(
    positions: NDArray[np.float32], rows: NDArray[np.int64], like: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(N, 2) a map, moved, turned and mirrored so that some documents lie as near as can be to where they lay.

    Args:
        positions: (N, 2) the map.
        rows: (n,) the documents.
        like: (n, 2) where they lay.
    """
    if len(rows) < 2:
        return positions
    # A map of UMAP has no up and no left: the same topics may lie mirrored after every fit.
    centre, to = positions[rows].mean(axis=0), like.mean(axis=0)
    turn, _ = orthogonal_procrustes(positions[rows] - centre, like - to)
    return np.asarray((positions - centre) @ turn + to, dtype=np.float32)


POLICIES: Mapping[Step, Callable[[Update], tuple[TopicModel, Fusion]]] = {
    "assign": assign,
    "grow": grow,
    "refit": refit,
    "decide": keep,
}
FITS_AGAIN: frozenset[Step] = frozenset({"refit"})
"""Those that fit by the recipe: seeds of topics guide them, and a large corpus is reduced anew before."""
