"""How good a topic model is: coherence and diversity of its words, and agreement with known labels.

Every score carries a sentence for a reader and the direction that is better. Pure functions, nothing but scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, v_measure_score

from moee_topics.errors import InputError
from moee_topics.evaluate.agreement import OUTLIERS, Topics

TopicWords = Sequence[Sequence[str]]


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


def cluster_scores(labels: Sequence[Any], topics: Topics) -> dict[str, Score]:
    """Agreement of topics with known classes: AMI, ARI and V-measure, each in two readings.

    ``ami``, ``ari`` and ``v_measure`` are over all labelled documents, with the outliers as one topic of their own.
    ``*_without_outliers`` are over the labelled documents that have a topic: higher the more a model leaves out, so
    read them beside the outlier share. Documents whose label is None or empty are left out of both. Give each text once
    (:func:`moee_topics.evaluate.first_of_each`): copies agree with themselves, which no correction for chance knows.

    Raises:
        InputError: not one label per document.
    """
    of_document = np.asarray(topics)
    if len(labels) != len(of_document):
        raise InputError(
            f"Cluster scores need one label per document, got {len(labels)} for {len(of_document)} documents."
        )
    names = np.array([str(label) for label in labels], dtype=object)
    labelled = np.array([label is not None and label != "" for label in labels], dtype=bool)
    readings = {
        "": (labelled, "outliers count as one topic"),
        "_without_outliers": (labelled & (of_document != OUTLIERS), "only documents in a topic"),
    }
    scores = {}
    for suffix, (rows, which) in readings.items():
        for name, (measure, text) in _CLUSTER_SCORES.items():
            value = float(measure(names[rows], of_document[rows])) if rows.any() else None
            scores[name + suffix] = Score(value, f"{text} ({which}).", True)
    return scores


_CLUSTER_SCORES: Mapping[str, tuple[Callable[..., float], str]] = {
    "ami": (
        adjusted_mutual_info_score,
        "Adjusted mutual information of topics and labels: 0 as by chance, 1 if they are the same grouping",
    ),
    "ari": (
        adjusted_rand_score,
        "Adjusted Rand index of topics and labels: how far pairs of documents are together in both; 0 as by chance",
    ),
    "v_measure": (
        v_measure_score,
        "V-measure of topics and labels: 1 if they are the same grouping; not corrected for chance, so it grows with "
        "the number of topics",
    ),
}


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None
