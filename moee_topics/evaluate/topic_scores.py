"""How good a topic model is: its words, its outliers, its predictions, and agreement with known labels.

A new score is a function and its entry in ``SCORES``; the recipe, the run and the report learn of it there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import compress
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from moee_topics.corpus import has_label
from moee_topics.defaults import OUTLIERS
from moee_topics.errors import InputError
from moee_topics.evaluate.duplicate_texts import first_of_each
from moee_topics.evaluate.score import Reading, Score, mean_or_none
from moee_topics.evaluate.word_scores import DocumentTerms, TopicWords, npmi, topic_diversity
from moee_topics.store import content_hash

if TYPE_CHECKING:  # a recipe asks for the names in SCORES alone, and scikit-learn takes a second to load
    from sklearn.feature_extraction.text import CountVectorizer

    from moee_topics.evaluate.agreement import Topics

Labelled = tuple[Sequence[Any], "Topics"]
Need = Literal["words", "terms", "topics", "fitted", "predicted", "labelled"]


@dataclass(frozen=True)
class Evidence:
    """What a topic model can be scored by; what is derived from it is made when a score needs it, and once.

    Attributes:
        words: those of each topic, best first, outliers aside.
        topics: (N,) the topic of each document.
        texts: of the documents.
        labels: of the documents, where the corpus has them.
        vectorizer: the one that made the words.
        leave_one_out: gives the topics of the fit, and those its documents would get had they been new.
    """

    words: TopicWords
    topics: Topics
    texts: Sequence[str]
    labels: Sequence[Any] | None
    vectorizer: CountVectorizer
    leave_one_out: Callable[[], tuple[Topics, Topics]]

    @cached_property
    def terms(self) -> DocumentTerms:
        """Which of the words occur in which documents."""
        return DocumentTerms.of(self.texts, self.words, self.vectorizer)

    @cached_property
    def _votes(self) -> tuple[Topics, Topics]:
        return self.leave_one_out()

    @property
    def fitted(self) -> Topics:
        """The topics of the documents that vote on new ones."""
        return self._votes[0]

    @property
    def predicted(self) -> Topics:
        """The topics that the others among them give each."""
        return self._votes[1]

    @cached_property
    def labelled(self) -> Labelled | None:
        """Labels and topics of the documents that have a label, each text once; None where the corpus has no labels."""
        if self.labels is None:
            return None
        is_labelled = [has_label(label) for label in self.labels]
        # Each text once: copies agree with themselves, and at five of each random labels had an AMI of 0.26.
        first = first_of_each(map(content_hash, compress(self.texts, is_labelled)))
        rows = np.flatnonzero(is_labelled)[first]
        return [self.labels[row] for row in rows.tolist()], np.asarray(self.topics)[rows]


def outlier_share(topics: Topics) -> Score:
    """The share of documents in no topic (-1)."""
    outliers = np.asarray(topics) == OUTLIERS
    return Score(mean_or_none(outliers), "Outliers: the share of documents that were put in no topic.", False)


def prediction_agreement(fitted: Topics, predicted: Topics) -> Score:
    """How often prediction gives documents of the fit the topic of the fit, every topic counting the same.

    Args:
        fitted: the topic of each document in the fit; outliers are left out.
        predicted: the topic it would get had it been new.
    """
    of_fit, of_vote = np.asarray(fitted), np.asarray(predicted)
    shares = [float((of_vote[of_fit == topic] == topic).mean()) for topic in np.unique(of_fit) if topic != OUTLIERS]
    return Score(
        mean_or_none(np.asarray(shares)),
        "Prediction: the share of a topic's documents that would be given it again if they were new (the mean over "
        "topics, so that small ones count).",
        True,
    )


def label_agreement(labelled: Labelled, *, measure: str, meaning: str) -> dict[str, Score]:
    """How far topics are the classes that are known, in two readings, by the end of their names.

    Args:
        labelled: labels and topics of the same documents.
        measure: the function of :mod:`sklearn.metrics`.
        meaning: what it says, as the begin of a sentence.
    """
    from sklearn import metrics

    # As numbers: sorting a million words takes seconds, and scikit-learn does it several times for each measure.
    number = {label: place for place, label in enumerate(sorted({str(label) for label in labelled[0]}))}
    labels, of_document = np.array([number[str(label)] for label in labelled[0]]), np.asarray(labelled[1])
    readings = {
        "": (np.ones(len(labels), dtype=bool), "outliers count as one topic"),
        "_without_outliers": (of_document != OUTLIERS, "only documents in a topic"),
    }
    scores = {}
    for suffix, (rows, which) in readings.items():
        value = float(getattr(metrics, measure)(labels[rows], of_document[rows])) if rows.any() else None
        scores[suffix] = Score(value, f"{meaning} ({which}).", True)
    return scores


@dataclass(frozen=True)
class TopicScore:
    """A score that a recipe can ask for.

    Attributes:
        key: its name where scores are written; those it gives several of are told apart by an ending.
        needs: what of :class:`Evidence` the function takes; where one of these is None the score is left out.
        function: gives the score, or several by the ending of their names.
        range: the smallest and the largest value there can be.
        reading: what a value means; None where there are no bounds to read it by.
    """

    key: str
    needs: tuple[Need, ...]
    function: Callable[..., Score | dict[str, Score]]
    range: tuple[float, float]
    reading: Reading | None = None

    def of(self, evidence: Evidence) -> dict[str, Score]:
        """The scores by the names they are written under; none where something is missing."""
        values = [getattr(evidence, need) for need in self.needs]
        return {} if any(value is None for value in values) else self.named(*values)

    def named(self, *values: Any) -> dict[str, Score]:
        """The same from what the function takes."""
        scores = self.function(*values)
        return {self.key + end: score for end, score in (scores if isinstance(scores, dict) else {"": scores}).items()}


SCORES: Mapping[str, TopicScore] = {
    "npmi": TopicScore(
        "npmi",
        ("words", "terms"),
        npmi,
        (-1, 1),
        Reading(
            "Coherence",
            0.03,
            0.12,
            "The words of many topics seldom meet in one document: read the topics with care.",
            "The words of a topic meet more often than by chance, in some topics loosely.",
            "The words of a topic clearly belong together.",
        ),
    ),
    "topic_diversity": TopicScore(
        "topic_diversity",
        ("words",),
        topic_diversity,
        (0, 1),
        Reading(
            "Diversity",
            0.55,
            0.75,
            "Topics share many of their words: there may be too many of them.",
            "Some topics share words.",
            "Topics hardly share words: each is about something of its own.",
            percent=True,
        ),
    ),
    "prediction": TopicScore("prediction_agreement", ("fitted", "predicted"), prediction_agreement, (0, 1)),
    "outliers": TopicScore(
        "outlier_share",
        ("topics",),
        outlier_share,
        (0, 1),
        Reading(
            "Outliers",
            0.4,
            0.2,
            "Many documents fit no topic. Reduce the outliers, or ask for smaller clusters.",
            "A usual share for this way of clustering.",
            "Most documents have a topic.",
            percent=True,
        ),
    ),
    "ami": TopicScore(
        "ami",
        ("labelled",),
        partial(
            label_agreement,
            measure="adjusted_mutual_info_score",
            meaning="Adjusted mutual information of topics and labels: 0 as by chance, 1 if they are the same grouping",
        ),
        (-math.inf, 1),  # chance is taken off above and below the line, so nothing bounds it from below
        Reading(
            "Agreement with labels",
            0.25,
            0.5,
            "The topics are mostly another division than the labels.",
            "The topics follow the labels in part.",
            "The topics follow the labels closely.",
        ),
    ),
    "ari": TopicScore(
        "ari",
        ("labelled",),
        partial(
            label_agreement,
            measure="adjusted_rand_score",
            meaning="Adjusted Rand index of topics and labels: how far pairs of documents are together in both; 0 as "
            "by chance",
        ),
        (-0.5, 1),  # Chacon and Rastrojo (2023)
        Reading(
            "Pairs as in the labels",
            0.1,
            0.4,
            "Documents of one label are rarely kept together, or topics are finer than labels.",
            "Pairs of documents agree with the labels in part.",
            "Pairs of documents are mostly together where the labels are.",
        ),
    ),
    "v_measure": TopicScore(
        "v_measure",
        ("labelled",),
        partial(
            label_agreement,
            measure="v_measure_score",
            meaning="V-measure of topics and labels: 1 if they are the same grouping; not corrected for chance, so it "
            "grows with the number of topics",
        ),
        (0, 1),
    ),
}
"""By the name that a recipe asks for them by, in the order they are shown."""


def cluster_scores(labels: Sequence[Any], topics: Topics) -> dict[str, Score]:
    """Agreement of topics with known classes: every score of ``SCORES`` that needs labels, each in two readings.

    ``ami``, ``ari`` and ``v_measure`` are over all labelled documents, with the outliers as one topic of their own.
    ``*_without_outliers`` are over the labelled documents that have a topic: higher the more a model leaves out, so
    read them beside the outlier share. Documents whose label is None, NaN or empty are left out of both. Give each text
    once (:func:`moee_topics.evaluate.first_of_each`): copies agree with themselves, which no correction for chance
    knows.

    Raises:
        InputError: not one label per document.
    """
    if len(labels) != len(topics):
        raise InputError(f"Cluster scores need one label per document, got {len(labels)} for {len(topics)} documents.")
    rows = [row for row, label in enumerate(labels) if has_label(label)]
    labelled = [labels[row] for row in rows], np.asarray(topics)[rows]
    of_labels = [score for score in SCORES.values() if score.needs == ("labelled",)]
    return {name: value for score in of_labels for name, value in score.named(labelled).items()}
