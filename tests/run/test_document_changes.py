from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from moee_topics.corpus import Corpus, CorpusSettings, DocumentList, open_corpus
from moee_topics.corpus.document import Document
from moee_topics.run.document_changes import DocumentChanges, document_changes, documents_of
from moee_topics.topics import TopicResult

TEXTS = {"a": "first text", "b": "second text", "c": "second text", "d": "third text"}


def result(texts: dict[str, str] = TEXTS, labels: list[str] | None = None) -> TopicResult:
    count = len(texts)
    topics, nowhere = np.zeros(count, dtype=np.int64), np.zeros((count, 2), dtype=np.float32)
    return TopicResult(list(texts), list(texts.values()), topics, np.ones(count, np.float32), nowhere, [], labels)


def named(*pairs: tuple[str, str]) -> Corpus:
    return DocumentList.of([Document(name, text) for name, text in pairs], "memory")


def lines(path: Path, *texts: str) -> Corpus:
    path.write_text("\n".join(texts))
    return open_corpus(CorpusSettings(str(path)))


def counts(changes: DocumentChanges) -> tuple[int, int, int, int]:
    return changes.added, changes.changed, changes.removed, changes.described


def test_the_same_documents_in_another_order_are_nothing_new() -> None:
    changes = document_changes(result(), [named(*reversed(TEXTS.items()))], remove_missing=True)
    assert changes.is_nothing and changes.rows.tolist() == [0, 1, 2, 3]
    assert [document.id for document in changes.documents] == list(TEXTS)


def test_old_documents_stay_in_their_order_and_new_ones_follow() -> None:
    changes = document_changes(result(), [named(("e", "new"), ("b", "other"))], remove_missing=False)
    assert [document.id for document in changes.documents] == ["a", "b", "c", "d", "e"]
    assert changes.rows.tolist() == [0, -1, 2, 3, -1] and counts(changes) == (1, 1, 0, 0)


def test_what_is_in_no_source_goes_where_that_is_asked() -> None:
    sources = [named(("a", "first text")), named(("d", "third text"))]
    changes = document_changes(result(), sources, remove_missing=True)
    assert [document.id for document in changes.documents] == ["a", "d"] and counts(changes) == (0, 0, 2, 0)


def test_the_last_of_two_sources_holds() -> None:
    changes = document_changes(result(), [named(("a", "one")), named(("a", "two"))], remove_missing=False)
    assert changes.documents[0].text == "two" and counts(changes) == (0, 1, 0, 0)


def test_a_document_without_an_id_is_known_by_its_text(tmp_path: Path) -> None:
    old = {f"{tmp_path / 'new.txt'}, line {line}": text for line, text in enumerate(TEXTS.values(), start=1)}
    corpus = lines(tmp_path / "new.txt", "a line before all", *TEXTS.values())
    changes = document_changes(result(old), [corpus], remove_missing=True)
    assert counts(changes) == (1, 0, 0, 0) and changes.rows.tolist() == [0, 1, 2, 3, -1]
    assert len({document.id for document in changes.documents}) == 5


def test_copies_without_ids_are_counted_one_by_one(tmp_path: Path) -> None:
    three = lines(tmp_path / "three.txt", *["second text"] * 3)
    assert counts(document_changes(result(), [three], remove_missing=False)) == (1, 0, 0, 0)
    one = lines(tmp_path / "one.txt", "first text", "second text", "third text")
    assert counts(document_changes(result(), [one], remove_missing=True)) == (0, 0, 1, 0)


def test_another_label_is_a_change_and_no_label_is_none() -> None:
    old = result(labels=["x", "y", "", "x"])
    unlabelled = document_changes(old, [named(*TEXTS.items())], remove_missing=False)
    assert unlabelled.is_nothing and [document.label for document in unlabelled.documents] == ["x", "y", None, "x"]
    relabelled = DocumentList.of([Document("a", "first text", "z")], "memory")
    changes = document_changes(old, [relabelled], remove_missing=False)
    assert counts(changes) == (0, 0, 0, 1) and changes.documents[0].label == "z"


@pytest.mark.parametrize("labels", [None, ["x", "", "y", "x"]])
def test_documents_of_a_result_are_what_it_knows(labels: list[str] | None) -> None:
    documents = documents_of(result(labels=labels))
    assert [document.id for document in documents] == list(TEXTS)
    assert [document.label for document in documents] == [label or None for label in labels or [""] * 4]
