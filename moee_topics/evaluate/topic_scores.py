"""How good a topic model is: coherence and diversity of its words, and agreement with known labels.

A new score is a function and its entry in ``SCORES``; the recipe, the run and the report learn of it there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from moee_topics.defaults import OUTLIERS
from moee_topics.errors import InputError
from moee_topics.evaluate.duplicate_texts import first_of_each

if TYPE_CHECKING:  # a recipe asks for the names in SCORES alone, and scikit-learn takes a second to load
    import scipy.sparse as sp
    from sklearn.feature_extraction.text import CountVectorizer

    from moee_topics.evaluate.agreement import Topics

TopicWords = Sequence[Sequence[str]]
Labelled = tuple[Sequence[Any], "Topics"]
Need = Literal["words", "terms", "topics", "fitted", "predicted", "labelled"]


@dataclass(frozen=True)
class Score:
    """One number of a topic model and how to read it.

    Attributes:
        value: None where it is not defined, such as coherence without topics.
        description: one sentence in plain words.
        higher_is_better: the direction.
    """

    value: float | None
    description: str
    higher_is_better: bool


@dataclass(frozen=True)
class Reading:
    """How the value of a score is read: a short name, two bounds, and a sentence for each side of them.

    The bounds are rules of thumb from published topic models. ``good`` below ``fair`` says that less is better.

    Attributes:
        percent: whether the value is shown as a share.
        headline: whether it is one of the few that a report begins with.
    """

    title: str
    fair: float
    good: float
    weak_text: str
    fair_text: str
    good_text: str
    percent: bool = False
    headline: bool = True


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
        labelled = [row for row, label in enumerate(self.labels) if label not in (None, "")]
        # Each text once: copies agree with themselves, and at five of each random labels had an AMI of 0.26.
        rows = [labelled[i] for i in first_of_each(self.texts[row] for row in labelled)]
        return [self.labels[row] for row in rows], np.asarray(self.topics)[rows]


@dataclass(frozen=True)
class DocumentTerms:
    """Which of some words occur in which documents.

    Attributes:
        present: (N, V) with True where the document has the word at least once.
        columns: the column of each word.
    """

    present: sp.csc_matrix
    columns: Mapping[str, int]

    @classmethod
    def of(
        cls, documents: Iterable[str], topic_words: TopicWords, vectorizer: CountVectorizer | None = None
    ) -> DocumentTerms:
        """Looks for the topics' words in a stream of documents.

        Args:
            documents: the texts to look in, usually the corpus the topics come from.
            topic_words: the words of each topic.
            vectorizer: the one that made the words, so that they are cut and spelt alike; n-grams up to the longest
                word are counted with scikit-learn's default tokens otherwise.
        """
        import scipy.sparse as sp
        from sklearn.feature_extraction.text import CountVectorizer

        words = sorted({word for topic in topic_words for word in topic})
        if not words:
            return cls(sp.csc_matrix((0, 0), dtype=bool), {})
        analysis: dict[str, Any] = {"ngram_range": (1, max(len(word.split()) for word in words))}
        if vectorizer is not None:
            analysis = {"analyzer": vectorizer.build_analyzer()}
        counter = CountVectorizer(vocabulary=words, binary=True, dtype=np.int32, **analysis)
        return cls(counter.transform(documents).tocsc().astype(bool), counter.vocabulary_)


def npmi(topic_words: TopicWords, terms: DocumentTerms, top: int = 10) -> Score:
    """Coherence: mean normalized pointwise mutual information of the word pairs of a topic, averaged over topics.

    See :func:`topic_npmi` for the exact definition. Topics with fewer than two known words are left out.
    """
    values = topic_npmi(topic_words, terms, top)
    return Score(
        _mean(values[~np.isnan(values)]),
        f"Topic coherence (document-level NPMI, {top} words): how often the words of a topic occur in the same "
        "documents; -1 never together, 0 as by chance, 1 always together.",
        True,
    )


def topic_npmi(topic_words: TopicWords, terms: DocumentTerms, top: int = 10) -> NDArray[np.float64]:
    """The coherence of each topic, (K,), NaN where fewer than two of its words occur in the documents.

    A word's probability is the share of documents that have it, a pair's the share that have both (no sliding window,
    no smoothing): ``ln(p_ab / (p_a p_b)) / -ln p_ab``. A pair that never meets counts -1, the limit; a pair that is in
    every document counts 0, since it says nothing. Source: Bouma (2009); the mean over pairs of the ``top`` first words
    follows Lau, Newman and Baldwin (2014). gensim's ``c_npmi`` with a window longer than any document is the same but
    for its smoothing, which lifts pairs that never meet above -1.
    """
    coherence = np.full(len(topic_words), np.nan)
    for topic, words in enumerate(topic_words):
        columns = [terms.columns[word] for word in dict.fromkeys(words[:top]) if word in terms.columns]
        present = terms.present[:, columns].astype(np.int64)
        together = np.asarray((present.T @ present).todense(), dtype=np.float64)
        occurring = np.flatnonzero(np.diag(together))
        if len(occurring) < 2:
            continue
        joint = together[np.ix_(occurring, occurring)] / present.shape[0]
        first, second = np.triu_indices(len(joint), k=1)
        alone, both = np.diag(joint), joint[first, second]
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.log(both / (alone[first] * alone[second])) / -np.log(both)
        # The formula is 0 / 0 for a pair in every document, and has only a limit for one that never meets.
        coherence[topic] = np.where(both == 0, -1.0, np.where(both == 1, 0.0, values)).mean()
    return coherence


def topic_diversity(topic_words: TopicWords, top: int = 10) -> Score:
    """The share of different words among the ``top`` words of all topics. Source: Dieng, Ruiz and Blei (2020)."""
    words = [word for topic in topic_words for word in topic[:top]]
    return Score(
        len(set(words)) / len(words) if words else None,
        f"Topic diversity: the share of different words among the first {top} words of all topics; 1 if no two topics "
        "share a word.",
        True,
    )


def inverted_rbo(topic_words: TopicWords, top: int = 10, persistence: float = 0.9) -> Score:
    """One minus the mean rank-biased overlap of every two topics: diversity that looks at first words most.

    Topics with fewer than ``top`` words are left out.
    Source: extrapolated overlap of Webber, Moffat and Zobel (2010, equation 30) at equal length; as a diversity in
    Terragni et al. (2021).
    """
    import scipy.sparse as sp

    lists = [list(dict.fromkeys(words))[:top] for words in topic_words]
    lists = [words for words in lists if len(words) == top]
    diversity = None
    if len(lists) > 1:
        columns = {word: i for i, word in enumerate(sorted({word for words in lists for word in words}))}
        ranked = np.array([[columns[word] for word in words] for words in lists])
        pairs = np.triu_indices(len(lists), k=1)
        overlap = np.zeros(len(pairs[0]))
        for depth in range(1, top + 1):
            # One sparse product for every two lists: 1,000 topics are 499,500 pairs, too many for a loop.
            rows, ones = np.repeat(np.arange(len(ranked)), depth), np.ones(len(ranked) * depth, dtype=np.int64)
            has = sp.csr_matrix((ones, (rows, ranked[:, :depth].ravel())), shape=(len(ranked), len(columns)))
            shared = np.asarray((has @ has.T).todense())[pairs]
            overlap += (1 - persistence) / persistence * shared / depth * persistence**depth
        diversity = 1 - float((overlap + shared / top * persistence**top).mean())
    return Score(
        diversity,
        f"Word-list diversity (inverted rank-biased overlap, {top} words): 1 if topics share no words, lower if they "
        "share words, most of all first words.",
        True,
    )


def outlier_share(topics: Topics) -> Score:
    """The share of documents in no topic (-1)."""
    outliers = np.asarray(topics) == OUTLIERS
    return Score(_mean(outliers), "Outliers: the share of documents that were put in no topic.", False)


def prediction_agreement(fitted: Topics, predicted: Topics) -> Score:
    """How often prediction gives documents of the fit the topic of the fit, every topic counting the same.

    Args:
        fitted: the topic of each document in the fit; outliers are left out.
        predicted: the topic it would get had it been new.
    """
    of_fit, of_vote = np.asarray(fitted), np.asarray(predicted)
    shares = [float((of_vote[of_fit == topic] == topic).mean()) for topic in np.unique(of_fit) if topic != OUTLIERS]
    return Score(
        _mean(np.asarray(shares)),
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

    labels, of_document = np.array([str(label) for label in labelled[0]], dtype=object), np.asarray(labelled[1])
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
            "Nearly every document has a topic.",
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
    read them beside the outlier share. Documents whose label is None or empty are left out of both. Give each text once
    (:func:`moee_topics.evaluate.first_of_each`): copies agree with themselves, which no correction for chance knows.

    Raises:
        InputError: not one label per document.
    """
    if len(labels) != len(topics):
        raise InputError(f"Cluster scores need one label per document, got {len(labels)} for {len(topics)} documents.")
    rows = [row for row, label in enumerate(labels) if label is not None and label != ""]
    labelled = [labels[row] for row in rows], np.asarray(topics)[rows]
    of_labels = [score for score in SCORES.values() if score.needs == ("labelled",)]
    return {name: value for score in of_labels for name, value in score.named(labelled).items()}


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None
