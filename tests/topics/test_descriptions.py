from __future__ import annotations

from fitted_topics import DOCUMENTS, fitted


def test_topics_are_listed_by_size_and_count_every_document_once() -> None:
    info = fitted().result.topic_info
    counts = [topic.count for topic in info if topic.topic >= 0]
    assert counts == sorted(counts, reverse=True)
    assert sum(topic.count for topic in info) == len(DOCUMENTS)


def test_representative_documents_are_rows_of_their_own_topic_without_repeats() -> None:
    result = fitted().result
    for topic in result.topic_info:
        rows = list(topic.representative_docs)
        assert 3 <= len(rows) <= 5
        assert all(result.topics[row] == topic.topic for row in rows)
        assert len({result.texts[row] for row in rows}) == len(rows)
