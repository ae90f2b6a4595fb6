"""A survey: what one pass counts, and what a person should know of it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from corpus_files import survey, surveyed, table

from moee_topics.corpus import Corpus, CorpusSettings, Document, Survey, content_hash, open_corpus
from moee_topics.corpus.document import Record
from moee_topics.errors import InputError


def test_the_survey_counts_and_its_digest_sees_every_change() -> None:
    def of(*documents: Document) -> Any:
        records = [Record(d.id, d.text, d.id, d.label, d.timestamp) for d in documents]
        return survey(Corpus("s", "s", lambda: iter(records), CorpusSettings("s")))

    one, two = Document("1", "same", "x", "2024-01-01T00:00:00"), Document("2", "same", "y", "2023-01-01T00:00:00")
    found = of(one, two)
    assert (found.documents, found.unique, found.characters) == (2, 1, 8)
    assert found.label_names == ("x", "y")
    assert found.timestamps == ("2023-01-01T00:00:00", "2024-01-01T00:00:00")
    assert found.hash_list() == [content_hash("same")] * 2
    changed = [Document("9", "same", "x", one.timestamp), Document("1", "other", "x", one.timestamp)]
    changed += [Document("1", "same", "z", one.timestamp), Document("1", "same", "x", None)]
    digests = {of(new, two).digest for new in [one, *changed]} | {of(two, one).digest}
    assert len(digests) == 6


def test_a_corpus_without_documents_is_refused() -> None:
    with pytest.raises(InputError, match="no documents \\(1 empty"):
        survey(Corpus("s", "s", lambda: iter([Record("1", " ")]), CorpusSettings("s")))


def test_the_json_of_a_survey_holds_all_that_it_counted(tmp_path: Path) -> None:
    whole = surveyed(table(tmp_path / "t.jsonl", [{"text": f"text {i}", "time": 12 + i} for i in range(3)]))
    assert whole.to_json()["not_times"] == "12"
    of_hashes = {"characters", "digest", "hashes"}  # the first as a mean, the others beside it in the manifest
    assert {item.name for item in fields(Survey)} - of_hashes <= set(whole.to_json())


def test_markup_in_many_documents_is_noted_and_taken_away(tmp_path: Path) -> None:
    rows = [{"text": f'<p class="x"><a href="#">bread {i}</a>&amp; <img src=x onerror=1></p>'} for i in range(40)]
    path = table(tmp_path / "t.jsonl", rows)
    assert any("40 of 40" in note and "corpus.clean=html" in note for note in surveyed(path).notes)
    assert surveyed(path, clean="html").notes == []
    assert [d.text for d in open_corpus(CorpusSettings(str(path), clean="html", limit=1))] == ["bread 0&"]


def test_a_corpus_without_faults_has_no_notes(tmp_path: Path) -> None:
    path = table(tmp_path / "t.jsonl", [{"text": f"a < b {i}", "label": "x", "date": "2024"} for i in range(9)])
    assert surveyed(path).notes == []


def test_empty_texts_and_repeated_ids_are_noted() -> None:
    records = [Record("1", "a", id="x"), Record("2", "b", id="x"), Record("3", " "), Record("4", float("nan"))]
    whole = survey(Corpus("s", "s", lambda: iter(records), CorpusSettings("s")))
    assert (whole.documents, whole.empty, whole.duplicate_ids) == (2, 2, 1)
    assert len(whole.notes) == 2


@pytest.mark.parametrize(("copies", "others", "is_noted"), [(14, 500, True), (13, 500, False), (0, 5, False)])
def test_a_text_that_repeats_often_is_noted_with_what_it_can_lose(copies: int, others: int, is_noted: bool) -> None:
    texts = ["the same again"] * (copies + 1) + [f"text {number}" for number in range(others)]
    records = [Record(str(row), text, str(row)) for row, text in enumerate(texts)]
    notes = survey(Corpus("s", "s", lambda: iter(records), CorpusSettings("s"))).notes
    assert (
        any(
            f"{copies:,} of {len(texts):,} documents are copies of others (one text is there {copies + 1} times)"
            in note
            and "hdbscan.min_cluster_size=3" in note
            for note in notes
        )
        is is_noted
    )


def test_many_copies_are_noted_however_seldom_each_repeats() -> None:
    records = [Record(str(row), f"text {row // 2}", str(row)) for row in range(60)]
    (note,) = survey(Corpus("s", "s", lambda: iter(records), CorpusSettings("s"))).notes
    assert note.startswith("30 of 60 documents are copies of others (one text is there 2 times)")


def test_a_repeated_text_is_known_by_its_row() -> None:
    texts = ["a", "b", "a", "c", "b", "a"]
    records = [Record(str(row), text) for row, text in enumerate(texts)]
    whole = survey(Corpus("s", "s", lambda: iter(records), CorpusSettings("s")))
    assert whole.repeated.tolist() == [text in texts[:row] for row, text in enumerate(texts)]
    assert whole.unique == 3 and whole.hash_list() == [content_hash(text) for text in texts]
