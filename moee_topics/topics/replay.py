"""Decisions on a topic model: applied to it for the first time, or once more after an update or a fit.

A decision names a topic by its id. The id holds while the topics descend from those that it was made on; where it is
gone, or of another fit, the topic is found by the words that it had. What cannot be applied is told and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from moee_topics.fuse import unit_rows
from moee_topics.messages import counted
from moee_topics.topics.decisions import WORDS_KEPT, Decision, Outcome
from moee_topics.topics.descriptions import name_by_words
from moee_topics.topics.duplicate_rows import distinct_rows
from moee_topics.topics.edits import relabel
from moee_topics.topics.matching import word_cosines
from moee_topics.topics.model import TopicModel
from moee_topics.topics.result import OUTLIERS, Topic
from moee_topics.topics.voters import Voters

SAME_WORDS = 0.5
"""The least cosine of two lists of words, each word once, of one topic: of two lists of ten, five words."""


class _Conflict(Exception):
    """A decision cannot be applied; inside of this file."""


class _NoTopic(_Conflict):
    """The topic of a decision is not there."""


class _Settled(Exception):
    """Nothing is left to do for a decision; inside of this file."""


class Replay:
    """Applies decisions to a topic model, in place.

    Args:
        model: its vectors are asked for where documents get another topic.
        next_topic: the number of the next topic that is born.
        known: decisions that were applied to the topics that these descend from, so that their ids hold.
        before: the topics of that time by document id; none where all ids are of this model.
        vectors: gives (N, d) vectors of the model's documents.
    """

    def __init__(
        self,
        model: TopicModel,
        next_topic: int,
        *,
        known: Collection[Decision] = (),
        before: Mapping[str, int] | None = None,
        vectors: Callable[[], NDArray[np.floating]] | None = None,
    ) -> None:
        self.model, self.next_topic, self.vectors = model, next_topic, vectors
        self.topics = model.result.topics.copy()
        self.known = {decision.key: decision for decision in known}
        self.before = dict(before or {})
        # What the last update or fit has made: a topic that was dropped or merged away may be back as one of these.
        self.born = self.alive() - set(self.before.values()) if before else self.alive()
        self.became: dict[int, int] = {}  # by a merge, or since it was found by its words
        self.names = {topic.topic: topic.name for topic in model.result.topic_info}
        self.decided_names: dict[int, str] = {}
        self.pinned: list[int] = []  # rows

    def apply(self, decisions: Sequence[Decision]) -> list[Outcome]:
        """Applies them in their order, and counts words and names again where documents got another topic."""
        outcomes, lost = [], set[int]()
        for number, decision in enumerate(decisions):
            try:
                outcomes.append(Outcome(getattr(self, f"_{decision.verb}")(decision), "applied"))
            except _Conflict as conflict:
                outcomes.append(Outcome(decision, "conflict", str(conflict), known=decision.key in self.known))
                lost |= {number} if isinstance(conflict, _NoTopic) else set()
            except _Settled as settled:
                outcomes.append(Outcome(self.known.get(decision.key, decision), "settled", str(settled)))
        self._count_again()
        self._give_names(decisions)
        done = [outcome.decision for outcome in outcomes if outcome.state != "conflict"]
        taken = {topic for decision in done for topic in taken_away(decision)}
        for number in lost:  # a decision on a topic that another one took away is no conflict
            about = outcomes[number].decision.into or outcomes[number].decision.topics[:1]
            gone = set(about) - self.alive()
            if gone and gone <= taken:
                reason = "another decision took its topic away"
                outcomes[number] = replace(outcomes[number], state="settled", reason=reason, known=True)
        return outcomes

    def _give_names(self, decisions: Sequence[Decision]) -> None:
        """The names that were decided; others stay, and one that was taken back gives way to the words."""
        kept = {decision.key for decision in decisions}
        for key, decision in self.known.items():
            if decision.verb == "name" and key not in kept and decision.topics[0] in self.names:
                self.names[decision.topics[0]] = ""
        info = []
        for topic in self.model.result.topic_info:
            name = self.decided_names.get(topic.topic, self.names.get(topic.topic, topic.name))
            info.append(replace(topic, name=name or name_by_words(topic.words, topic.topic)))
        self.model.result = replace(self.model.result, topic_info=info)
        self.model.model.custom_labels_ = custom_labels(info) if self.decided_names else None

    def alive(self) -> set[int]:
        """The topics that have documents now."""
        return set(np.unique(self.topics).tolist()) - {OUTLIERS}

    def find(self, decision: Decision, place: int) -> int:
        """The topic that a decision is about, by its id or by its words.

        Raises:
            _NoTopic: there is none.
        """
        noted, words, alive = decision.topics[place], decision.words_of(place), self.alive()
        # One that was merged, or found by its words, since the decision was made.
        topic, is_known = self.became.get(noted, noted), decision.key in self.known
        holds = is_known or not words or noted in self.became
        if topic in alive and (holds or likeness(words, self.words[topic]) >= SAME_WORDS):
            return topic
        candidates = sorted(alive & self.born if is_known else alive) if words else []
        likenesses = {one: likeness(words, self.words[one]) for one in candidates}
        found = max(candidates, key=likenesses.__getitem__, default=topic)
        if likenesses.get(found, 0.0) >= SAME_WORDS:
            self.became[noted] = found
            return found
        now = f" is now {', '.join(self.words[topic][:3])}" if topic in alive else " is not there"
        was = f"; the decision is on {', '.join(words[:3])}, and no topic has these words" if words else ""
        raise _NoTopic(f"topic {noted}{now}{was}")

    @property
    def words(self) -> Mapping[int, Sequence[str]]:
        """The words of every topic, counted again where documents got another one."""
        self._count_again()
        return self._words

    @cached_property
    def _words(self) -> Mapping[int, Sequence[str]]:
        return {topic.topic: first_words(topic) for topic in self.model.result.topic_info}

    def _count_again(self) -> None:
        if np.array_equal(self.topics, self.model.result.topics):
            return
        model = self.model
        if self.vectors is not None and model.X is None:
            model.X = self.vectors()
        sure = model.result.probabilities.copy()
        sure[self.pinned] = 1.0
        model.result, model.model.probabilities_ = replace(model.result, probabilities=sure), None
        relabel(model, self.topics.copy())
        vars(self).pop("_words", None)

    def _as_found(self, decision: Decision, topics: Sequence[int]) -> Decision:
        """A decision as it is kept: what is known stays as it was noted, so that it is found once more."""
        if decision.key in self.known:
            return self.known[decision.key]
        words = tuple(tuple(self.words.get(topic, ())) for topic in topics)
        return replace(decision, topics=tuple(topics), words=words)

    def _name(self, decision: Decision) -> Decision:
        topic = self.find(decision, 0)
        self.decided_names[topic] = decision.text
        return self._as_found(decision, [topic])

    def _note(self, decision: Decision) -> Decision:
        return self._as_found(decision, [self.find(decision, 0)])

    def _seed(self, decision: Decision) -> Decision:
        raise _Settled("guides the next refit")

    def _merge(self, decision: Decision) -> Decision:
        into, others = self.find(decision, 0), []
        for place in range(1, len(decision.topics)):
            try:
                others.append(self.find(decision, place))
            except _Conflict:
                if decision.key not in self.known:
                    raise
        others = [topic for topic in others if topic != into]
        if not others:
            raise _Settled("they are one topic")
        found = self._as_found(decision, [into, *others])
        self.topics[np.isin(self.topics, others)] = into
        self.became |= dict.fromkeys([*others, *decision.topics], into)
        self.names.pop(into, None)  # its words are others now; a decided name stays
        return found

    def _drop(self, decision: Decision) -> Decision:
        try:
            topic = self.find(decision, 0)
        except _Conflict:
            if decision.key in self.known:
                raise _Settled("it has not come back") from None
            raise
        if self.alive() == {topic}:
            raise _Conflict(f"topic {topic} is the only one: no topic would be left")
        found = self._as_found(decision, [topic])
        self.topics[self.topics == topic] = OUTLIERS
        return found

    def _pin(self, decision: Decision) -> Decision:
        topic = OUTLIERS if decision.topics == (OUTLIERS,) else self.find(decision, 0)
        gone = [name for name in decision.documents if name not in self.row_of]
        rows = [self.row_of[name] for name in decision.documents if name in self.row_of]
        found = self._as_found(decision, [topic])
        self.topics[rows] = topic
        self.pinned += rows if topic != OUTLIERS else []
        if gone:
            are_gone = "1 of its documents is" if len(gone) == 1 else f"{len(gone)} of its documents are"
            left = "the others are pinned" if rows else "none is left"
            raise _Conflict(f"{are_gone} gone, such as {gone[0]!r}; {left}")
        return found

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """The row of every document by its id."""
        return {name: row for row, name in enumerate(self.model.result.ids)}

    def _split(self, decision: Decision) -> Decision:
        parts = [topic for topic in self.known.get(decision.key, decision).into if topic in self.alive()]
        if decision.key in self.known and len(parts) > 1:
            raise _Settled("its parts are there")
        if decision.key in self.known and parts:
            return self._split_again(decision, parts[0])
        topic = self.find(decision, 0)
        rows = np.flatnonzero(self.topics == topic)
        found, X = self._as_found(decision, [topic]), self._vectors_of(rows)
        if len(rows) < 2 * decision.parts:
            documents = counted(len(rows), "document")
            raise _Conflict(f"topic {topic} has {documents}, too few for {decision.parts} parts of two")
        if (different := len(distinct_rows(X)[0])) < decision.parts:
            raise _Conflict(f"the {len(rows)} documents of topic {topic} have {different} different vectors in all")
        labels = clustered(X, decision.parts, self.model.settings.seed)
        numbers = np.argsort(-np.bincount(labels), kind="stable")
        into = tuple(range(self.next_topic, self.next_topic + len(numbers)))
        self.topics[rows] = np.array(into)[np.argsort(numbers)][labels]
        self.next_topic += len(into)
        return replace(found, into=into)

    def _split_again(self, decision: Decision, joined: int) -> Decision:
        """Where a refit joined the parts: each document goes to the one it was in, a new one to that of its nearest."""
        known = self.known[decision.key]
        rows = np.flatnonzero(self.topics == joined)
        was = np.array([self.before.get(self.model.result.ids[row], OUTLIERS) for row in rows.tolist()])
        is_sure = np.isin(was, known.into)
        if len(np.unique(was[is_sure])) < 2:
            raise _NoTopic(f"of its parts {', '.join(map(str, known.into))} only {joined} is left")
        X = self._vectors_of(rows)
        if not is_sure.all():
            was[~is_sure] = Voters.fit(X[is_sure], was[is_sure]).predict(X[~is_sure])[0]
        self.topics[rows] = was
        return known

    def _vectors_of(self, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        if self.model.X is None and self.vectors is not None:
            self.model.X = self.vectors()
        assert self.model.X is not None
        return self.model.X[rows]


def taken_away(decision: Decision) -> tuple[int, ...]:
    """The topics that are gone once a decision is applied."""
    return {"merge": decision.topics[1:], "drop": decision.topics, "split": decision.topics}.get(decision.verb, ())


def clustered(X: NDArray[np.floating], parts: int, seed: int) -> NDArray[np.int64]:
    """(n,) which part each document is in: k-means of their directions, which leaves none out."""
    from sklearn.cluster import KMeans

    with threadpool_limits(limits=1):  # more threads sum in another order, and the same seed gives other parts
        labels = KMeans(parts, n_init=10, random_state=seed).fit_predict(unit_rows(X))
    return np.asarray(labels, dtype=np.int64)


def likeness(first: Sequence[str], second: Sequence[str]) -> float:
    """The cosine of two lists of words, each word once."""
    return float(word_cosines([[(word, 1.0) for word in first]], [[(word, 1.0) for word in second]])[0, 0])


def first_words(topic: Topic) -> tuple[str, ...]:
    """The words of a topic by which it is found in another fit."""
    return tuple(word for word, _ in topic.words if word)[:WORDS_KEPT]


def custom_labels(info: Sequence[Topic]) -> list[str]:
    """The names of topics as BERTopic keeps its custom labels: in the order of the ids."""
    return [topic.name for topic in sorted(info, key=lambda topic: topic.topic)]
