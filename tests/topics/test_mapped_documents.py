"""Documents in a file: the same as in memory, one by one, by column, and in a result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from moee_topics.corpus import Document
from moee_topics.topics import MappedDocuments, Topic, TopicResult, document_columns, mapped_documents, result, texts_of

DOCUMENTS = [
    Document("a", "first\ntext", "news", None),
    Document("b", "zweiter 🎈", None, None),
    Document("c", "third " * 50, "sport", None),
]


@pytest.fixture
def mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MappedDocuments:
    monkeypatch.setattr(mapped_documents, "ROWS_PER_BATCH", 2)
    return MappedDocuments.of(iter(DOCUMENTS), tmp_path)


def test_they_are_the_documents_that_were_written(mapped: MappedDocuments, tmp_path: Path) -> None:
    assert len(mapped) == 3 and list(mapped) == DOCUMENTS and mapped[1:] == DOCUMENTS[1:]
    texts = texts_of(mapped)
    assert list(texts) == [*map(texts.__getitem__, range(3))] == texts_of(DOCUMENTS) and texts[-1] == DOCUMENTS[2].text
    assert texts[:2] == [document.text for document in DOCUMENTS[:2]] and not list(tmp_path.iterdir())


def test_their_columns_are_those_of_a_result(mapped: MappedDocuments) -> None:
    assert mapped.column("timestamp") is None
    of_list, of_file = document_columns(DOCUMENTS, 3), document_columns(mapped, 3)
    assert {name: column and list(column) for name, column in of_file.items()} == of_list


def test_no_documents_are_none(tmp_path: Path) -> None:
    assert len(MappedDocuments.of([], tmp_path)) == 0


def test_a_result_of_mapped_documents_saves_the_same_tables_and_loads_them_mapped(
    mapped: MappedDocuments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = np.zeros(3, dtype=np.int64), np.ones(3, dtype=np.float32), np.zeros((3, 2), dtype=np.float32)
    for name, documents in {"list": DOCUMENTS, "file": mapped}.items():
        columns = document_columns(documents, 3)
        TopicResult(texts=texts_of(documents), topics=numbers[0], probabilities=numbers[1], positions=numbers[2],
                    topic_info=[Topic(0, 3, "all", [("text", 1.0)])], **columns).save(tmp_path / name)  # fmt: skip
    plain = TopicResult.load(tmp_path / "list")
    monkeypatch.setattr(result, "ROWS_PER_GROUP", 2)
    for name in ("list", "file"):
        loaded = TopicResult.load(tmp_path / name)
        assert not isinstance(loaded.texts, list) and isinstance(plain.texts, list)
        assert loaded.to_pandas().equals(plain.to_pandas()) and list(loaded.labels or []) == plain.labels
