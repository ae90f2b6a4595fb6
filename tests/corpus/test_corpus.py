"""A corpus: records made into documents, bad ones named where they stand."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_files import EXPECTED, FILES, json_lines, opened, survey, surveyed, table, written
from hypothesis import given
from hypothesis import strategies as st

from moee_topics.corpus import Corpus, CorpusSettings, DocumentList, document_of, open_corpus
from moee_topics.corpus.document import Document, Record
from moee_topics.corpus.text_file import LONGEST_DOCUMENT
from moee_topics.errors import InputError


def test_a_corpus_can_be_read_again(tmp_path: Path) -> None:
    corpus = opened(written(tmp_path, "rows.csv", FILES["rows.csv"]))
    assert list(corpus) == list(corpus) == EXPECTED
    assert corpus.counts.documents == 3


def test_empty_and_null_documents_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = [{"text": "one"}, {"text": None}, {"text": ""}, {"text": " \n\t"}, {}, {"text": "two"}]
    corpus = opened(written(tmp_path, "t.jsonl", json_lines(rows)))
    assert [document.text for document in corpus] == ["one", "two"]
    assert corpus.counts.empty == 4


def test_repeated_ids_are_made_unique_and_counted(tmp_path: Path) -> None:
    rows = [{"id": name, "text": "t"} for name in ("a", "a", "b", "a", "a#2")]
    corpus = opened(written(tmp_path, "t.jsonl", json_lines(rows)))
    assert [document.id for document in corpus] == ["a", "a#2", "b", "a#3", "a#2#2"]
    assert corpus.counts.duplicate_ids == 3


@given(st.lists(st.sampled_from(["a", "b", "a#2", "a#2#2", "b#3"]), max_size=30))
def test_ids_are_always_unique(ids: list[str]) -> None:
    def read() -> Iterator[Record]:
        return (Record(str(row), "text", id=name) for row, name in enumerate(ids))

    found = [document.id for document in Corpus("s", "s", read, CorpusSettings("s"))]
    assert len(set(found)) == len(ids)


def test_a_word_for_none_is_none_with_spaces_around_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text,label\n NA ,one,nan \n2,two, a\n3,three, N/A\n")
    labels = [document.label for document in open_corpus(CorpusSettings(str(tmp_path / "a.csv")))]
    assert [label is None for label in labels] == [True, False, True]


def test_missing_labels_and_timestamps_stay_missing(tmp_path: Path) -> None:
    rows = [{"text": "t", "label": None, "date": None}, {"text": "u", "label": float("nan"), "date": ""}]
    documents = list(opened(written(tmp_path, "t.jsonl", json_lines(rows))))
    assert [(document.label, document.timestamp) for document in documents] == [(None, None), (None, None)]


def test_lone_surrogates_of_json_become_text_that_can_be_written(tmp_path: Path) -> None:
    (document,) = opened(written(tmp_path, "t.jsonl", '{"text": "a \\ud83d b"}\n'))
    assert document.text == "a ? b"


def test_a_document_beyond_all_measure_is_refused() -> None:
    corpus = Corpus("s", "s", lambda: iter([Record("line 1", "x" * (LONGEST_DOCUMENT + 1))]), CorpusSettings("s"))
    with pytest.raises(InputError, match="line 1: one document of 50,000,001 characters"):
        list(corpus)


def test_limit_stops_reading(tmp_path: Path) -> None:
    path = written(tmp_path, "t.jsonl", '{"text": "a"}\n{"text": "b"}\nbroken')
    assert [document.text for document in opened(path, limit=1)] == ["a"]


def test_memory_does_not_grow_with_the_documents(tmp_path: Path) -> None:
    row = json.dumps({"text": "x" * 2000}) + "\n"
    peaks = []
    for rows in (200, 4000):
        path = written(tmp_path, f"{rows}.jsonl", row * rows)
        tracemalloc.start()
        assert sum(1 for _ in opened(path)) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000 < 8_000_000


def test_words_for_no_label_are_no_classes(tmp_path: Path) -> None:
    words = ["NaN", "None", "NA", "", "null", "n/a", "#N/A", None, float("nan")]
    rows = [{"text": f"text {i}", "label": label} for i, label in enumerate([*words, "a", "none"])]
    path = table(tmp_path / "t.jsonl", rows)
    whole = surveyed(path)
    assert whole.label_names == ("a", "none") and sum(whole.missing_labels.values()) == 6
    assert any("'NaN', 'None', 'NA'" in note and "corpus.missing" in note for note in whole.notes)
    assert whole.to_json()["missing_labels"]["NaN"] == 1
    assert surveyed(path, missing=("NaN",)).label_names == ("#N/A", "NA", "None", "a", "n/a", "none", "null")


def test_labels_that_read_the_same_are_one_class(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", "text,label\na, caf\u00e9\nb,cafe\u0301 \nc,tea\u2003\nd,   \n")
    assert [document.label for document in opened(path)] == ["caf\u00e9", "caf\u00e9", "tea", None]
    assert surveyed(path).label_names == ("caf\u00e9", "tea") and not surveyed(path).missing_labels


def test_a_column_called_time_that_holds_none_is_not_read(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "time": i % 24} for i in range(30)]
    path = table(tmp_path / "t.jsonl", rows)
    whole = surveyed(path)
    assert whole.timestamps is None and whole.documents == 30
    assert any("corpus.timestamp" in note for note in whole.notes)
    with pytest.raises(InputError, match="line 1: 0 is not a time"):
        surveyed(path, timestamp="time")


def test_dates_day_first_are_refused_until_their_format_is_said(tmp_path: Path) -> None:
    path = table(tmp_path / "t.jsonl", [{"text": f"{i}", "date": f"{i + 1:02d}/05/2024"} for i in range(20)])
    with pytest.raises(InputError, match=r"line 1: '01/05/2024' is not a time.*corpus\.time_format"):
        surveyed(path)
    assert surveyed(path, time_format="%d/%m/%Y").timestamps == ("2024-05-01T00:00:00", "2024-05-20T00:00:00")
    for format in ("%d/%m", "%H:%M", "abc"):
        with pytest.raises(InputError, match="names no year"):
            surveyed(path, time_format=format)


def test_empty_ids_are_places_and_numbers_are_names(tmp_path: Path) -> None:
    ids = ["", None, float("nan"), 7, 7.0, "7", 1.5]
    path = table(tmp_path / "t.jsonl", [{"id": name, "text": "t"} for name in ids])
    found = [document.id for document in open_corpus(CorpusSettings(str(path)))]
    assert found == ["line 1", "line 2", "line 3", "7", "7#2", "7#3", "1.5"]


def test_ten_thousand_equal_ids_take_ten_thousand_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in digests, of which each id needs two and the old way one for every copy before it."""
    from moee_topics.corpus import corpus as module

    calls = 0
    hash_of = module.hashlib.blake2b

    def counting(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return hash_of(*args, **kwargs)

    ids = module._UniqueIds()
    monkeypatch.setattr(module.hashlib, "blake2b", counting)
    names = [ids.unique("7")[0] for _ in range(10_000)]
    assert names[:3] == ["7", "7#2", "7#3"] and len(set(names)) == 10_000
    assert calls < 40_000


def test_documents_without_an_id_are_counted_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "posts.jsonl"
    path.write_text('{"id": "a", "text": "one"}\n{"text": "two"}\n{"id": "NA", "text": "three"}\n')
    corpus = open_corpus(CorpusSettings(str(path)))
    assert [corpus.counts.nameless for _ in corpus] == [0, 1, 2]


def test_a_list_of_documents_is_a_corpus() -> None:
    documents = [Document("NA", "one", "none"), Document("b", " two ")]
    corpus = DocumentList.of(documents, "memory")
    assert list(corpus) == list(corpus) == documents and corpus.counts.documents == 2
    assert survey(corpus).documents == 2 and corpus.source == "memory"


def test_what_cannot_be_seen_is_no_document(tmp_path: Path) -> None:
    texts = ["one", "\u200b", "\ufeff", " \u200b \u200d", "\x00\x01", "\xa0", "\u2028", "😀", "."]
    read = survey(opened(written(tmp_path, "t.jsonl", json_lines([{"text": text} for text in texts]))))
    assert (read.documents, read.empty) == (3, 6)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_a_blank_line_of_one_column_is_a_row_without_text(tmp_path: Path, name: str) -> None:
    read = opened(written(tmp_path, name, "text\nalpha\n\n\nbeta\n\n"))
    assert [(document.id, document.text) for document in read] == [("line 2", "alpha"), ("line 5", "beta")]
    assert read.counts.empty == 2  # and none at the end, where editors leave one


def test_a_row_that_is_blank_between_others_of_several_columns_is_none(tmp_path: Path) -> None:
    read = opened(written(tmp_path, "t.csv", "text,label\nalpha,a\n\nbeta,b\n"))
    assert len(list(read)) == 2 and read.counts.empty == 0


def test_bytes_of_parquet_are_text_in_ids_and_labels_too(tmp_path: Path) -> None:
    table_of = {"text": [b"caf\xc3\xa9", b"tea"], "id": [b"a", b"b"], "label": [b"drinks", b"NaN"]}
    pq.write_table(pa.table(table_of), tmp_path / "t.parquet")
    assert list(opened(tmp_path / "t.parquet")) == [Document("a", "café", "drinks"), Document("b", "tea")]


def test_bytes_of_parquet_that_are_not_in_the_encoding_are_refused_by_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [b"tea", b"caf\xe9"]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"row 1: bytes that are not utf-8 .*at position 3.*corpus\.encoding"):
        list(opened(tmp_path / "t.parquet"))
    read = {
        options: [document.text for document in opened(tmp_path / "t.parquet", **dict([options]))]
        for options in (("encoding", "cp1252"), ("decoding_errors", "replace"))
    }
    assert [texts[1] for texts in read.values()] == ["café", "caf\ufffd"]


@pytest.mark.parametrize(
    ("value", "is_year"), [(1200, False), (1500.0, False), (2101, False), (1650, True), (2024, True)]
)
def test_a_number_that_is_no_likely_year_is_no_time_unless_its_column_is_named(
    tmp_path: Path, value: float, is_year: bool
) -> None:
    path = table(tmp_path / "t.jsonl", [{"text": f"t{i}", "timestamp": value} for i in range(3)])
    assert (surveyed(path).timestamps is not None) == is_year == (surveyed(path).not_times is None)
    named = surveyed(path, timestamp="timestamp").timestamps
    assert named is not None and named[0].startswith(f"{value:.0f}-")


def test_the_column_of_the_text_is_known_afterwards(tmp_path: Path) -> None:
    path = table(tmp_path / "t.jsonl", [{"body": "t", "title": "u"}])
    assert surveyed(path).text_columns == ("body",)
    assert surveyed(path, text=("title", "body")).text_columns == ("title", "body")
    assert surveyed(written(tmp_path, "t.txt", "one")).text_columns == ()


def test_one_record_alone_is_a_document_or_none() -> None:
    settings = CorpusSettings("here", clean="html")
    found = document_of(Record("row 3", "<b>rye</b> bread", 7), settings)
    assert found is not None and (found.id, found.text) == ("7", "rye bread")
    assert document_of(Record("row 3", "<b> </b>"), settings) is None
    with pytest.raises(InputError, match=r"here, row 3: the text is a int"):
        document_of(Record("row 3", 7), settings)
