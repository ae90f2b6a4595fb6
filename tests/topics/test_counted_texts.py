"""Words of a large corpus are counted text by text, and a topic model of them is that of joined texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from fitted_topics import DOCUMENTS, TIMESTAMPS, fit_words, vectors

from moee_topics.errors import InputError
from moee_topics.topics import (
    TopicModel,
    counted_texts,
    hierarchical_topics,
    merge_topics,
    reduce_outliers,
    topics_over_time,
    topics_per_class,
)
from moee_topics.topics.counted_texts import names_rows, row_names
from moee_topics.topics.representations import WithTexts
from moee_topics.topics.settings import LargeSettings
from moee_topics.topics.vectorizer import TopicVectorizer

TEXTS = ["the cat sat", "the dog\nsat", "a b", "cat cat", "the end of it all"]
SAME_TOPICS = {"large": LargeSettings(5, len(DOCUMENTS))}  # counted as of a large corpus, and clustered as a whole


def reading(**options: Any) -> TopicVectorizer:
    vectorizer = TopicVectorizer(**options)
    vectorizer.read_rows(TEXTS, lambda texts: [text.replace("\n", " ") or "emptydoc" for text in texts])
    return vectorizer


@pytest.mark.parametrize(
    "options", [{}, {"min_df": 2}, {"max_features": 2}, {"vocabulary": ["sat", "cat", "absent"]}, {"binary": True},
                {"stop_words": "english"}, {"token_pattern": r"\S+"}],
)  # fmt: skip
def test_rows_are_counted_as_the_texts_that_they_stand_for(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counted_texts, "TEXTS_AT_ONCE", 2)
    groups = [[0, 1], [2, 3], [4]]
    plain, by_rows = TopicVectorizer(**options), reading(**options)
    expected = plain.fit_transform([" ".join(TEXTS[row] for row in group) for group in groups])
    found = by_rows.fit_transform([" ".join(row_names(group)) for group in groups])
    assert by_rows.vocabulary_ == plain.vocabulary_ and by_rows.documents(TEXTS) == row_names(range(5))
    np.testing.assert_array_equal(found.toarray(), expected.toarray())
    some = by_rows.transform_rows(TEXTS, [3, 0])
    np.testing.assert_array_equal(some.toarray(), plain.transform_rows(TEXTS, [3, 0]).toarray())
    np.testing.assert_array_equal(by_rows.transform(["sat cat"]).toarray(), plain.transform(["sat cat"]).toarray())


def test_only_names_are_taken_for_rows() -> None:
    assert all(map(names_rows, ["moeerow3", "moeerow1 moeerow2"]))
    assert not any(map(names_rows, ["", "moeerow", "moeerows 3", "3", "see moeerow3"]))


def test_of_more_words_than_memory_is_to_hold_the_rare_ones_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted_texts, "TEXTS_AT_ONCE", 1)
    monkeypatch.setattr(counted_texts, "MOST_WORDS", 4)
    vectorizer = reading()
    counts = vectorizer.fit_transform(row_names(range(5)))
    kept = {word: int(counts[:, column].sum()) for word, column in vectorizer.vocabulary_.items()}
    assert kept["sat"] == 2 and kept["the"] == 3 and "dog" not in kept and len(kept) < 9


def test_texts_without_a_word_are_told_with_their_words() -> None:
    vectorizer = reading(stop_words=["the", "cat", "sat", "dog", "end", "of", "it", "all"])
    with pytest.raises(InputError, match="All words of the documents are stop words"):
        vectorizer.fit_transform(row_names(range(5)))


def test_a_topic_model_of_rows_is_that_of_texts(tmp_path: Any) -> None:
    whole, by_rows = fit_words(nr_topics=4), fit_words(nr_topics=4, **SAME_TOPICS)
    assert by_rows.model.vectorizer_model.counted is not None and whole.model.vectorizer_model.counted is None
    by_rows.save(tmp_path)
    loaded = TopicModel.load(tmp_path)
    for model in (by_rows, loaded):
        assert [topic.to_json() for topic in model.result.topic_info] == [t.to_json() for t in whole.result.topic_info]
        assert not any(names_rows(text) for texts in model.model.representative_docs_.values() for text in texts)
        for frame in (hierarchical_topics, topics_per_class, topics_over_time):
            pd.testing.assert_frame_equal(frame(model), frame(whole))
    topics_over_time(loaded, [*TIMESTAMPS[:-1], None])
    for model in (by_rows, whole):
        merge_topics(model, [[0, 1]])
        reduce_outliers(model)
    assert by_rows.result.topics_frame().equals(whole.result.topics_frame())


def test_what_reads_documents_gets_texts() -> None:
    model = fit_words(representation="ctfidf", **SAME_TOPICS)
    seen: list[str] = []

    class Reader:
        def extract_topics(self, topic_model: Any, documents: pd.DataFrame, c_tf_idf: Any, topics: Any) -> Any:
            seen.extend(documents["Document"])
            return topics

    names = pd.DataFrame({"Document": row_names(range(len(DOCUMENTS))), "Topic": model.result.topics})
    assert WithTexts(Reader(), DOCUMENTS).extract_topics(model.model, names, None, {0: []}) == {0: []}
    assert set(seen) <= set(DOCUMENTS) and len(set(seen)) > 100 and len(vectors()) >= len(seen)
