"""Whether the label of a topic fits its documents rather than those of its neighbours.

A judge is shown one document and five labels, that of its topic and those of the four nearest topics, and chooses. The
share of right choices is a score of the labels, whoever gave them: 0.2 is what labels without meaning get. It is the
intruder task of Chang et al. (NeurIPS 2009, "Reading Tea Leaves") turned round, with the label in the place of words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.defaults import OUTLIERS
from moee_topics.errors import InputError
from moee_topics.evaluate.wilson import wilson_interval

CHOICES = 5


@dataclass(frozen=True)
class Ballot:
    """One question to a judge.

    Attributes:
        topic: of the document.
        place: of the document among those that were given.
        choices: topics whose labels are offered, in the order in which they are.
    """

    topic: int
    place: int
    choices: tuple[int, ...]


@dataclass(frozen=True)
class LabelFit:
    """How one label did.

    Attributes:
        topic: its id.
        label: as it was judged.
        documents: shown.
        right: of them were given this label.
        accuracy: the share of these.
        low: the lower end of its 95 % interval.
        high: the upper end.
        taken_for: the topic whose label was chosen most often in the place of this one; None where none was.
    """

    topic: int
    label: str
    documents: int
    right: int
    accuracy: float
    low: float
    high: float
    taken_for: int | None


@dataclass(frozen=True)
class LabelCheck:
    """What a judge made of the labels of a run.

    Attributes:
        judge: who chose.
        choices: labels of each question.
        chance: the accuracy of labels that say nothing.
        documents: shown.
        right: of them were given the label of their topic.
        accuracy: the share of these.
        low: the lower end of its 95 % interval, as if no two documents were alike.
        high: the upper end.
        unanswered: questions whose answer was none of the choices; they count as wrong.
        topics: the largest first.
    """

    judge: str
    choices: int
    chance: float
    documents: int
    right: int
    accuracy: float
    low: float
    high: float
    unanswered: int
    topics: Sequence[LabelFit]

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        unanswered = f" Answers without a label, which count as wrong: {self.unanswered:,}." if self.unanswered else ""
        return (
            f"{self.accuracy:.0%} of {self.documents:,} documents (95 % interval: {self.low:.0%} to {self.high:.0%}) "
            f"are given the label of their topic among {self.choices} by the judge ({self.judge}); labels that say "
            f"nothing get {self.chance:.0%}.{unanswered}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data, numbers to four places, with the sentence."""
        plain = {**asdict(self), "sentence": self.sentence}
        for part in (plain, *plain["topics"]):
            part.update({key: round(value, 4) for key, value in part.items() if isinstance(value, float)})
        return plain


def draw_ballots(
    vectors: NDArray[np.floating], topics: NDArray[np.int64], most: int, rng: np.random.Generator
) -> list[Ballot]:
    """Questions about documents of every topic, each beside the labels of the topics that lie nearest to its own.

    Args:
        vectors: (R, d) unit vectors of documents.
        topics: (R,) their topics; outliers are not asked about.
        most: documents of each topic, drawn at random.
        rng: draws the documents and the order of the labels, which a judge may have a liking for.

    Raises:
        InputError: there are fewer than two topics, so that there is nothing to choose.
    """
    numbers = np.unique(topics[topics != OUTLIERS])
    if len(numbers) < 2:
        raise InputError(
            f"Labels are checked by choosing between topics, and this run has {len(numbers)}. At least two are needed."
        )
    neighbours = nearest_topics(vectors, topics, numbers)
    ballots = []
    for topic in numbers.tolist():
        own = np.flatnonzero(topics == topic)
        for place in np.sort(rng.permutation(own)[:most]).tolist():
            ballots.append(Ballot(topic, place, tuple(rng.permutation([topic, *neighbours[topic]]).tolist())))
    return ballots


def nearest_topics(
    vectors: NDArray[np.floating], topics: NDArray[np.int64], numbers: NDArray[np.int64]
) -> dict[int, list[int]]:
    """The four topics, or as many as there are, whose mean vectors have the highest cosine with that of each topic."""
    means = np.stack([vectors[topics == number].mean(axis=0, dtype=np.float64) for number in numbers])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    cosines = means @ means.T
    np.fill_diagonal(cosines, -2.0)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, : min(CHOICES, len(numbers)) - 1]
    return {int(number): numbers[row].tolist() for number, row in zip(numbers, order, strict=True)}


def chosen_by_cosine(
    ballots: Sequence[Ballot], vectors: NDArray[np.floating], of_labels: Mapping[int, NDArray[np.floating]]
) -> list[int]:
    """The topic of each ballot whose label lies nearest to the document, by cosine; the first of those that are equal.

    Args:
        ballots: the questions.
        vectors: (R, d) of the documents.
        of_labels: (d,) the vector of each topic's label.
    """
    unit = {topic: vector / max(float(np.linalg.norm(vector)), 1e-12) for topic, vector in of_labels.items()}
    chosen = []
    for ballot in ballots:
        cosines = np.stack([unit[topic] for topic in ballot.choices]) @ vectors[ballot.place].astype(np.float64)
        # Equal labels have equal vectors and, by the order of their sums, not always equal cosines.
        chosen.append(ballot.choices[int(np.argmax(cosines.round(6)))])
    return chosen


def count_votes(
    judge: str, ballots: Sequence[Ballot], chosen: Sequence[int | None], labels: Mapping[int, str]
) -> LabelCheck:
    """The accuracy of labels, of each topic and of all.

    Args:
        judge: who chose.
        ballots: the questions.
        chosen: the topic whose label each was answered with; None where the answer was no choice.
        labels: of each topic, in the order in which topics are told.
    """
    votes: dict[int, list[int | None]] = {topic: [] for topic in labels}
    for ballot, choice in zip(ballots, chosen, strict=True):
        votes[ballot.topic].append(choice)
    fits = []
    for topic, cast in votes.items():
        if cast:
            wrong = Counter(choice for choice in cast if choice not in (topic, None)).most_common(1)
            taken_for = wrong[0][0] if wrong else None
            fits.append(LabelFit(topic, labels[topic], *_accuracy(cast.count(topic), len(cast)), taken_for))
    right, choices = sum(fit.right for fit in fits), len(ballots[0].choices)
    counted, unanswered = _accuracy(right, len(ballots)), list(chosen).count(None)
    return LabelCheck(judge, choices, 1 / choices, *counted, unanswered, fits)


def _accuracy(right: int, count: int) -> tuple[int, int, float, float, float]:
    """Documents, right ones, their share and its interval."""
    return count, right, right / count, *wilson_interval(right / count, count)
