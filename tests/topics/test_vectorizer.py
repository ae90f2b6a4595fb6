from __future__ import annotations

from fitted_topics import fit

from moee_topics.topics.vectorizer import frequent_words


def test_a_vocabulary_of_one_word_still_describes_the_topics() -> None:
    result = fit(representation="ctfidf", vectorizer={"token_pattern": "people", "stop_words": None}).result
    assert {word for topic in result.topic_info for word, _ in topic.words if word} == {"people"}


def test_stop_words_can_be_learned_from_the_corpus() -> None:
    assert set(frequent_words(["el gato come", "el perro duerme", "el sol", "la luna"], 0.5)) == {"el"}
    vocabulary = fit(vectorizer={"stop_words": "auto"}, representation="ctfidf").model.vectorizer_model.vocabulary_
    assert not set(vocabulary) & {"the", "with", "about"}
