"""Scores of words, each beside a plain loop, and their limits."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from moee_topics.evaluate.word_scores import DocumentTerms, inverted_rbo, npmi, topic_diversity, topic_npmi

WORDS = ["ape", "bee", "cat", "dog", "elk", "fox"]


def corpus(documents: int, seed: int = 0) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, size=generator.integers(0, 6))) for _ in range(documents)]


def plain_npmi(documents: list[str], words: list[str]) -> float:
    sets = [set(document.split()) for document in documents]
    share = {word: sum(word in s for s in sets) / len(sets) for word in words}
    known = [word for word in words if share[word] > 0]
    values = []
    for a, b in itertools.combinations(known, 2):
        both = sum(a in s and b in s for s in sets) / len(sets)
        if both == 0:
            values.append(-1.0)
        elif both == 1:
            values.append(0.0)
        else:
            values.append(math.log(both / (share[a] * share[b])) / -math.log(both))
    return sum(values) / len(values) if values else float("nan")


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), documents=st.integers(1, 60))
def test_npmi_equals_a_plain_loop(seed: int, documents: int) -> None:
    texts = corpus(documents, seed)
    topics = [WORDS[:3], WORDS[2:], ["cat", "unknown", "ape"], WORDS]
    terms = DocumentTerms.of(texts, topics)
    expected = [plain_npmi(texts, words) for words in topics]
    np.testing.assert_allclose(topic_npmi(topics, terms), expected, atol=1e-12)


def test_npmi_knows_always_never_and_by_chance() -> None:
    together = ["ape bee", "ape bee", "cat", "dog"]
    apart = ["ape", "bee", "cat", "dog"]
    chance = ["ape bee", "ape", "bee", "dog"]
    for texts, expected in ((together, 1.0), (apart, -1.0), (chance, 0.0)):
        topics = [["ape", "bee"]]
        value = npmi(topics, DocumentTerms.of(texts, topics)).value
        assert value == pytest.approx(expected, abs=1e-12)


def test_words_in_every_document_say_nothing() -> None:
    assert npmi([["ape", "bee"]], DocumentTerms.of(["ape bee", "bee ape"], [["ape", "bee"]])).value == 0.0


def test_npmi_looks_at_the_first_words_only_and_counts_repeats_once() -> None:
    texts = corpus(50)
    short, long = [["ape", "bee"]], [["ape", "bee", "cat", "dog"]]
    terms = DocumentTerms.of(texts, long)
    assert npmi(long, terms, top=2).value == npmi(short, terms).value
    assert npmi([["ape", "ape", "bee"]], terms).value == npmi(short, terms).value


def test_npmi_counts_n_grams_and_the_vectorizers_own_tokens() -> None:
    texts = ["Machine learning model", "machine learning", "learning machine", "model"]
    topics = [["machine learning", "model"]]
    terms = DocumentTerms.of(iter(texts), topics)
    assert terms.present[:, terms.columns["machine learning"]].sum() == 2
    words = [["C", "X"]]
    vectorizer = CountVectorizer(lowercase=False, token_pattern=r"\w")
    terms = DocumentTerms.of(["C X", "C X", "c"], words, vectorizer)
    assert npmi(words, terms).value == pytest.approx(1.0)


@pytest.mark.parametrize("topics", [[], [[]], [["ape"]], [["nowhere", "neither"]]])
def test_coherence_without_pairs_is_undefined(topics: list[list[str]]) -> None:
    assert npmi(topics, DocumentTerms.of(["ape"], topics)).value is None


def test_npmi_agrees_with_gensim_where_all_pairs_meet() -> None:
    gensim = pytest.importorskip("gensim", reason="gensim is not installed; its c_npmi is the published reference")
    texts = [*corpus(300), " ".join(WORDS)]
    topics = [WORDS[:4], WORDS[2:], WORDS]
    tokens = [text.split() for text in texts if text]
    from gensim.models.coherencemodel import CoherenceModel

    model = CoherenceModel(
        topics=topics,
        texts=tokens,
        dictionary=gensim.corpora.Dictionary(tokens),
        coherence="c_npmi",
        window_size=1000,
        processes=1,
    )
    ours = topic_npmi(topics, DocumentTerms.of([" ".join(t) for t in tokens], topics))
    np.testing.assert_allclose(ours, model.get_coherence_per_topic(), atol=1e-6)


def test_diversity_is_the_share_of_different_words() -> None:
    assert topic_diversity([["a", "b"], ["c", "d"]]).value == 1.0
    assert topic_diversity([["a", "b"], ["a", "b"]]).value == 0.5
    assert topic_diversity([["a", "b", "z"], ["c", "d", "z"]], top=2).value == 1.0
    assert topic_diversity([]).value is None


def plain_rbo(first: list[str], second: list[str], p: float) -> float:
    depth = len(first)
    shared = [len(set(first[:d]) & set(second[:d])) for d in range(1, depth + 1)]
    total = sum(x / d * p**d for d, x in enumerate(shared, start=1))
    return shared[-1] / depth * p**depth + (1 - p) / p * total


def test_inverted_rbo_equals_a_plain_loop_and_has_its_limits() -> None:
    generator = np.random.default_rng(3)
    topics = [list(map(str, generator.permutation(12)[:5])) for _ in range(6)]
    pairs = [plain_rbo(a, b, 0.9) for a, b in itertools.combinations(topics, 2)]
    assert inverted_rbo(topics, top=5).value == pytest.approx(1 - sum(pairs) / len(pairs))
    assert inverted_rbo([["a", "b"], ["a", "b"]], top=2).value == pytest.approx(0.0)
    assert inverted_rbo([["a", "b"], ["c", "d"]], top=2).value == pytest.approx(1.0)
    assert inverted_rbo([["a", "b"]], top=2).value is None


def test_sharing_first_words_is_less_diverse_than_sharing_last_words() -> None:
    first = inverted_rbo([["x", "a", "b"], ["x", "c", "d"]], top=3).value
    last = inverted_rbo([["a", "b", "x"], ["c", "d", "x"]], top=3).value
    assert first is not None
    assert last is not None
    assert first < last
