from __future__ import annotations

import random

import pytest
from fitted_topics import DOCUMENTS, fit

from moee_topics.topics import FitSettings, vectorizer
from moee_topics.topics.settings import LargeSettings
from moee_topics.topics.vectorizer import build_vectorizer, frequent_words, pieces


def test_a_vocabulary_of_one_word_still_describes_the_topics() -> None:
    result = fit(representation="ctfidf", vectorizer={"token_pattern": "people", "stop_words": None}).result
    assert {word for topic in result.topic_info for word, _ in topic.words if word} == {"people"}


def test_stop_words_can_be_learned_from_the_corpus() -> None:
    assert set(frequent_words(["el gato come", "el perro duerme", "el sol", "la luna"], 0.5)) == {"el"}
    vocabulary = fit(vectorizer={"stop_words": "auto"}, representation="ctfidf").model.vectorizer_model.vocabulary_
    assert not set(vocabulary) & {"the", "with", "about"}


def test_words_of_a_long_text_are_counted_piece_by_piece_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices([f"word{number}" for number in range(50)], k=2000)) for _ in range(3)]
    at_once = vectorizer.TopicVectorizer()
    expected = at_once.fit_transform(texts)
    monkeypatch.setattr(vectorizer, "CHARACTERS_AT_ONCE", 100)
    by_pieces = vectorizer.TopicVectorizer()
    assert (by_pieces.fit_transform(texts) != expected).nnz == 0 and by_pieces.vocabulary_ == at_once.vocabulary_
    parts = list(pieces(texts[0], 100))
    assert "".join(parts) == texts[0] and max(map(len, parts)) < 110
    pairs = vectorizer.TopicVectorizer(ngram_range=(2, 2)).fit_transform(texts)
    assert pairs.sum() == 3 * 1999, "pairs of words are counted over the spaces of a cut"


def test_a_text_without_spaces_is_one_piece_and_an_empty_one_none() -> None:
    assert list(pieces("a" * 50, 10)) == ["a" * 50] and list(pieces("", 10)) == []


def test_the_words_of_a_large_corpus_are_capped_unless_the_recipe_says_how_many() -> None:
    large = LargeSettings(documents=5)
    assert build_vectorizer(FitSettings(large=large), DOCUMENTS).max_features == vectorizer.MOST_WORDS_OF_LARGE
    assert build_vectorizer(FitSettings(large=large, vectorizer={"max_features": 7}), DOCUMENTS).max_features == 7
    assert build_vectorizer(FitSettings(), DOCUMENTS).max_features is None
