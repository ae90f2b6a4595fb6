"""Corpora: the same documents from every kind of source, read as a stream, bad input named where it stands."""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moee_topics.corpus import Corpus, CorpusSettings, Document, content_hash, docstrings, open_corpus, survey
from moee_topics.corpus.docstrings import first_prose, package_docstrings, thin
from moee_topics.corpus.document import Record
from moee_topics.corpus.lines import LONGEST_DOCUMENT
from moee_topics.corpus.timestamps import iso_timestamp
from moee_topics.errors import InputError, MissingExtraError

ROWS = [
    {"id": "a", "text": "first, with a comma", "label": "x", "date": "2024-01-02"},
    {"id": "b", "text": 'second "quoted"\nin two lines', "label": "y", "date": "2024-03-04T05:06:07"},
    {"id": "c", "text": "third: Ünïcødé 🎉", "label": "x", "date": "1999"},
]
EXPECTED = [
    Document("a", ROWS[0]["text"], "x", "2024-01-02T00:00:00"),
    Document("b", ROWS[1]["text"], "y", "2024-03-04T05:06:07"),
    Document("c", ROWS[2]["text"], "x", "1999-01-01T00:00:00"),
]
NEWSGROUPS = Path(__file__).parents[3] / "shared" / "data" / "scikit_learn_data"


def delimited(rows: list[dict[str, Any]], delimiter: str) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


FILES = {
    "rows.csv": delimited(ROWS, ","),
    "rows.tsv": delimited(ROWS, "\t"),
    "rows.jsonl": json_lines(ROWS),
    "rows.ndjson": json_lines(ROWS),
    "rows.parquet": parquet(ROWS),
    "rows.csv.gz": gzip.compress(delimited(ROWS, ",")),
    "rows.jsonl.gz": gzip.compress(json_lines(ROWS)),
}


def written(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def opened(source: Path | str, **options: Any) -> Corpus:
    return open_corpus(CorpusSettings(str(source), **options))


def refused(source: Path | str, **options: Any) -> str:
    with pytest.raises(InputError) as error:
        list(opened(source, **options))
    return str(error.value)


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_table_gives_the_same_documents(tmp_path: Path, name: str) -> None:
    assert list(opened(written(tmp_path, name, FILES[name]))) == EXPECTED


def test_a_corpus_can_be_read_again(tmp_path: Path) -> None:
    corpus = opened(written(tmp_path, "rows.csv", FILES["rows.csv"]))
    assert list(corpus) == list(corpus) == EXPECTED
    assert corpus.counts.documents == 3


def test_opening_a_corpus_reads_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.jsonl", "not json")
    corpus = opened(path)
    with pytest.raises(InputError):
        next(iter(corpus))


def test_named_columns_win_over_usual_names(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", "text,body,n,group\nno,yes,7,g\n")
    assert list(opened(path, text="body", id="n", label="group")) == [Document("7", "yes", "g")]


def test_none_switches_a_column_off(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.csv", FILES["rows.csv"])
    documents = list(opened(path, id="none", label="none", timestamp="none"))
    assert [(document.id, document.label, document.timestamp) for document in documents] == [
        ("line 2", None, None),
        ("line 4", None, None),
        ("line 5", None, None),
    ]


def test_several_text_columns_are_joined_by_line(tmp_path: Path) -> None:
    path = written(tmp_path, "t.jsonl", json_lines([{"title": "A", "abstract": "B"}, {"title": "C", "abstract": None}]))
    documents = opened(path, text=("title", "abstract"))
    assert [document.text for document in documents] == ["A\nB", "C"]


def test_usual_names_are_found_whatever_their_case(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", "\ufeffText,Category\nhello,c\n")
    assert list(opened(path)) == [Document("line 2", "hello", "c")]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_no_text_column_names_those_there_are(tmp_path: Path, name: str) -> None:
    rows = [{"colour": "red", "size": "3"}]
    content = {"t.csv": delimited(rows, ","), "t.jsonl": json_lines(rows), "t.parquet": parquet(rows)}[name]
    message = refused(written(tmp_path, name, content))
    assert "colour, size" in message and "corpus.text=COLUMN" in message


def test_a_missing_column_is_named_with_its_role(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.csv", FILES["rows.csv"])
    message = refused(path, label="klass")
    assert "'klass'" in message and "corpus.label" in message and "id, text, label, date" in message


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


def test_missing_labels_and_timestamps_stay_missing(tmp_path: Path) -> None:
    rows = [{"text": "t", "label": None, "date": None}, {"text": "u", "label": float("nan"), "date": ""}]
    documents = list(opened(written(tmp_path, "t.jsonl", json_lines(rows))))
    assert [(document.label, document.timestamp) for document in documents] == [(None, None), (None, None)]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.txt"])
def test_bytes_in_another_encoding_are_refused_by_line(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name, b'text\n"fine"\n"caf\xe9"\n'.replace(b"text\n", b'"text"\n'))
    if name == "t.jsonl":
        path = written(tmp_path, name, b'{"text": "fine"}\n{"text": "ok"}\n{"text": "caf\xe9"}\n')
    message = refused(path)
    assert "line 3" in message and "0xe9" in message and "corpus.encoding" in message


def test_another_encoding_can_be_named_or_bytes_replaced(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", b"text\ncaf\xe9\n")
    assert [d.text for d in opened(path, encoding="latin-1")] == ["café"]
    assert [d.text for d in opened(path, decoding_errors="replace")] == ["caf\ufffd"]
    assert "klingon" in refused(path, encoding="klingon")


def test_lone_surrogates_of_json_become_text_that_can_be_written(tmp_path: Path) -> None:
    (document,) = opened(written(tmp_path, "t.jsonl", '{"text": "a \\ud83d b"}\n'))
    assert document.text == "a ? b"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{broken", "not JSON"),
        ('["a"]', "a JSON list"),
        ('{"text": 3}', "the text is a int"),
        ('{"text": "t", "label": [1]}', "the label is a list"),
        ('{"text": "t", "date": "yesterday"}', "'yesterday' is not a time"),
    ],
)
def test_a_bad_json_line_is_named(tmp_path: Path, line: str, expected: str) -> None:
    message = refused(written(tmp_path, "t.jsonl", f'{{"text": "t", "label": "l", "date": "2024"}}\n{line}\n'))
    assert "line 2" in message and expected in message


def test_a_row_with_too_many_fields_is_named(tmp_path: Path) -> None:
    message = refused(written(tmp_path, "t.csv", "text,label\na,b\nwith, a stray, comma\n"))
    assert "line 3" in message and "3 fields" in message


def test_a_quotation_mark_left_open_is_refused(tmp_path: Path) -> None:
    assert "quotation mark left open" in refused(written(tmp_path, "t.csv", 'text\nfine\n"open\nand so on\n'))


def test_a_document_of_ten_megabytes_is_read(tmp_path: Path) -> None:
    long = "word " * 2_000_000
    rows = [{"text": "short"}, {"text": long}]
    for name, content in (("t.csv", delimited(rows, ",")), ("t.jsonl", json_lines(rows)), ("t.parquet", parquet(rows))):
        assert [len(document.text) for document in opened(written(tmp_path, name, content))] == [5, len(long)]


def test_a_document_beyond_all_measure_is_refused() -> None:
    corpus = Corpus("s", "s", lambda: iter([Record("line 1", "x" * (LONGEST_DOCUMENT + 1))]), CorpusSettings("s"))
    with pytest.raises(InputError, match="line 1: one document of 50,000,001 characters"):
        list(corpus)


@pytest.mark.parametrize("name", ["t.csv.gz", "t.jsonl.gz"])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, name: str) -> None:
    whole = gzip.compress(b'{"text": "t"}\n' * 100 if "jsonl" in name else b"text\n" * 100)
    assert "is damaged" in refused(written(tmp_path, name, whole[:-20]))
    assert "is damaged" in refused(written(tmp_path, name, b"no gzip at all"))


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    assert "cannot be read as parquet" in refused(written(tmp_path, "t.parquet", b"PAR1 nothing"))


def test_an_empty_file_is_refused_or_has_no_documents(tmp_path: Path) -> None:
    assert "header line" in refused(written(tmp_path, "t.csv", ""))
    assert list(opened(written(tmp_path, "t.jsonl", ""))) == []


@pytest.mark.parametrize("name", ["missing.csv", "nosuchcorpus"])
def test_a_source_that_is_not_there_is_refused_with_what_could_be(name: str) -> None:
    message = refused(name)
    assert name in message and "20newsgroups" in message and ".parquet" in message


def test_a_file_of_unknown_kind_is_refused(tmp_path: Path) -> None:
    assert ".docx" in refused(written(tmp_path, "t.docx", "x"))
    assert ".parquet.gz" in refused(written(tmp_path, "t.parquet.gz", "x"))


def test_a_text_file_is_one_document_per_line(tmp_path: Path) -> None:
    corpus = opened(written(tmp_path, "t.txt", "one\r\n\ntwo\nthree"))
    assert [(document.id, document.text) for document in corpus] == [
        ("line 1", "one"),
        ("line 3", "two"),
        ("line 4", "three"),
    ]
    assert corpus.counts.empty == 1


def test_a_folder_is_one_document_per_file_with_its_sub_folder_as_label(tmp_path: Path) -> None:
    for name in ("b/2.txt", "a/1.txt", "3.txt", "a/ignored.md"):
        written(tmp_path, name, f"text of {name}")
    assert list(opened(tmp_path)) == [
        Document("3.txt", "text of 3.txt"),
        Document("a/1.txt", "text of a/1.txt", "a"),
        Document("b/2.txt", "text of b/2.txt", "b"),
    ]
    assert [d.id for d in opened(tmp_path, pattern="*/*.md")] == ["a/ignored.md"]
    assert ".md, .txt" in refused(tmp_path, pattern="*.rst")


def test_limit_stops_reading(tmp_path: Path) -> None:
    path = written(tmp_path, "t.jsonl", '{"text": "a"}\n{"text": "b"}\nbroken')
    assert [document.text for document in opened(path, limit=1)] == ["a"]


def test_standard_input_is_read_once_and_can_be_iterated_again() -> None:
    code = (
        "from moee_topics.corpus import CorpusSettings, open_corpus\n"
        "corpus = open_corpus(CorpusSettings('-'))\n"
        "print([d.text for d in corpus] == [d.text for d in corpus] == ['one', 'zwölf'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input="one\n\nzwölf\n".encode(), capture_output=True, check=True
    )
    assert done.stdout.strip() == b"True"


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


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2021, "2021-01-01T00:00:00"),
        ("2021", "2021-01-01T00:00:00"),
        ("20210203", "2021-02-03T00:00:00"),
        ("2021-02-03T04:05:06Z", "2021-02-03T04:05:06+00:00"),
        (1_600_000_000, "2020-09-13T12:26:40+00:00"),
        (1_600_000_000_000, "2020-09-13T12:26:40+00:00"),
        ("Wed, 21 Apr 1993 10:30:00 +0000", "1993-04-21T10:30:00+00:00"),
        (datetime(2020, 1, 2, tzinfo=UTC), "2020-01-02T00:00:00+00:00"),
        (None, None),
        (float("nan"), None),
    ],
)
def test_times_in_the_usual_spellings_become_iso(value: object, expected: str | None) -> None:
    assert iso_timestamp(value) == expected


def test_docstrings_are_read_without_importing_the_package() -> None:
    code = (
        "import sys\nfrom moee_topics.corpus import CorpusSettings, open_corpus\n"
        "ds = list(open_corpus(CorpusSettings('docstrings', packages=('jinja2',))))\n"
        "assert len(ds) > 50 and {d.label for d in ds} == {'jinja2'}\n"
        "assert 'jinja2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_docstrings_are_the_prose_of_public_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prose = "Sorts the documents by how far they lie from the centre of the topic they were given by the model."
    source = f'''
class Sorter:
    """{prose}

    It is *stable*, see :class:`~x.Other` and ``key``.

    Parameters
    ----------
    key : str
        Never seen.
    """
    def _hidden(self):
        """{prose} Hidden."""
    def short(self):
        """Too short."""
    def again(self):
        """{prose}

        Args:
            x: never seen.
        """
def other():
    """{prose}"""
'''
    written(tmp_path, "madeup/_impl.py", source)
    written(tmp_path, "madeup/tests/test_x.py", source)
    written(tmp_path, "madeup/broken.py", "def (:")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = [(record.id, record.text) for record in package_docstrings("madeup")]
    assert found == [
        ("madeup._impl.Sorter", f"{prose}\nIt is *stable*, see x.Other and key."),
        ("madeup._impl.Sorter.again", prose),
    ]


def test_reading_few_docstrings_parses_few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[Path] = []
    monkeypatch.setattr(docstrings, "_parse", lambda path: parsed.append(path) or ast.parse(path.read_bytes()))
    few = package_docstrings.__wrapped__("jinja2", 20)
    few_files = len(parsed)
    every = package_docstrings.__wrapped__("jinja2")
    assert len(few) == 20 and few_files < len(parsed) - few_files
    assert set(few) <= set(every) and few == package_docstrings.__wrapped__("jinja2", 20)


def test_docstring_sections_end_the_prose() -> None:
    for section in (
        "Args:\n    x: no",
        "Returns\n-------\nno",
        ">>> no",
        ":param x: no",
        ".. note:: no",
        "Example::\nno",
    ):
        assert first_prose(f"Yes.\n\n{section}\n\nNever.") == "Yes.", section
    assert first_prose("Returns the value of a thing.\n\nMore.") == "Returns the value of a thing.\nMore."


def test_thinning_keeps_order_and_spreads_evenly() -> None:
    records = [Record(str(i), "t") for i in range(10)]
    assert [record.place for record in thin(records, 4)] == ["0", "2", "5", "7"]
    assert list(thin(records, 0)) == list(thin(records, 99)) == records


def test_a_package_that_is_not_installed_is_refused() -> None:
    for name in ("no_such_package", "torch.no_such", "../etc", ""):
        assert "no installed package" in refused("docstrings", packages=(name,))


def test_hub_data_sets_need_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"moee-topics\[hub\]"):
        list(opened("hub:someone/something"))


def test_hub_labels_are_named() -> None:
    from moee_topics.corpus.hub import _named_label

    assert _named_label({"text": "t", "label": 1}, "label", ["no", "yes"])["label"] == "yes"
    assert _named_label({"text": "t", "label": -1}, "label", ["no", "yes"])["label"] == -1


def test_20newsgroups_without_cache_offline_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    message = refused("20newsgroups", data_home=tmp_path)
    assert "SCIKIT_LEARN_DATA" in message and "corpus.data_home" in message


@pytest.mark.slow
@pytest.mark.skipif(
    not ("SCIKIT_LEARN_DATA" in os.environ or NEWSGROUPS.is_dir()), reason="20 Newsgroups is not on this machine"
)
def test_20newsgroups_has_all_posts() -> None:
    home = None if "SCIKIT_LEARN_DATA" in os.environ else NEWSGROUPS
    corpus = opened("20newsgroups", data_home=home)
    documents = list(corpus)
    assert corpus.counts.documents + corpus.counts.empty == 18_846
    assert len({document.label for document in documents}) == 20
    assert corpus.counts.duplicate_ids == 0


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
