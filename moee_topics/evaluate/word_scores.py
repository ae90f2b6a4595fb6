"""How good the words of topics are: whether they meet in documents, and whether topics share them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.evaluate.score import Score, mean_or_none

if TYPE_CHECKING:  # a recipe asks for the names of scores alone, and scikit-learn takes a second to load
    import scipy.sparse as sp
    from sklearn.feature_extraction.text import CountVectorizer

TopicWords = Sequence[Sequence[str]]
DOCUMENTS_AT_ONCE = 16_384


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
        stream, parts = iter(documents), []
        while some := list(islice(stream, DOCUMENTS_AT_ONCE)):  # scikit-learn keeps 30 bytes of every word it finds
            parts.append(counter.transform(some).astype(bool))
        present = sp.vstack(parts or [counter.transform([])], format="csc", dtype=bool)
        return cls(present, counter.vocabulary_)


def npmi(topic_words: TopicWords, terms: DocumentTerms, top: int = 10) -> Score:
    """Coherence: mean normalized pointwise mutual information of the word pairs of a topic, averaged over topics.

    See :func:`topic_npmi` for the exact definition. Topics with fewer than two known words are left out.
    """
    values = topic_npmi(topic_words, terms, top)
    return Score(
        mean_or_none(values[~np.isnan(values)]),
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
