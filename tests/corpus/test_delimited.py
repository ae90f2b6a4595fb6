"""csv and tsv: rows as their writer meant them, or refused by line."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path
from typing import Any

import pytest
from corpus_files import opened, refused, rows, written
from hypothesis import given
from hypothesis import strategies as st

from moee_topics.corpus import CorpusSettings, Document, open_corpus
from moee_topics.corpus import delimited as delimited_module


def test_a_row_with_too_many_fields_is_named(tmp_path: Path) -> None:
    message = refused(written(tmp_path, "t.csv", "text,label\na,b\nwith, a stray, comma\n"))
    assert "line 3" in message and "3 fields" in message


def test_a_quotation_mark_left_open_is_refused(tmp_path: Path) -> None:
    assert "quotation mark left open" in refused(written(tmp_path, "t.csv", 'text\nfine\n"open\nand so on\n'))


def documents(path: Path, **settings: Any) -> list[Document]:
    return list(open_corpus(CorpusSettings(str(path), **settings)))


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ("id;text;label\n1;one, two;a\n", {}),
        ("id\ttext\tlabel\n1\tone, two\ta\n", {}),
        ("id|text|label\n1|one, two|a\n", {}),
        ('"id";"text";"label"\r\n"1";"one, two";"a"\r\n', {}),
        ("sep=;\r\nid;text;label\r\n1;one, two;a\r\n", {}),
        ("\ufeffsep=;\r\nid;text;label\r\n1;one, two;a\r\n", {}),
        ("id^text^label\n1^one, two^a\n", {"delimiter": "^"}),
        ("id\ttext\tlabel\n1\tone, two\ta\n", {"delimiter": "tab"}),
        ('id,text,label\r1,"one, two",a\r', {}),
    ],
)
def test_a_delimiter_is_found_or_named(tmp_path: Path, content: str, settings: dict[str, str]) -> None:
    assert documents(written(tmp_path, "t.csv", content), **settings) == [Document("1", "one, two", "a")]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ('id,"text\n1,hello\n', "line 1, column 4"),
        ('id,text\n1,fine\n2,"open\n3,more\n', "line 3, column 3"),
        ('id,text\n1,"a ""b"" c"\n2,"x" y\n', "line 3, column 3"),
        ('id,text\n1,"fine,\nin two lines"\n2,"open\n3,"next"\n', "line 4, column 3"),
        ('sep=,\nid,text\n1,"open\n', "line 3, column 3"),
    ],
)
def test_an_open_quotation_mark_is_named_with_line_and_column(tmp_path: Path, content: str, place: str) -> None:
    message = refused(written(tmp_path, "t.csv", content))
    assert place in message and "quotation mark" in message and "corpus.quoting=none" in message


def test_a_row_over_many_lines_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited_module, "LONGEST_DOCUMENT", 10_000)
    path = written(tmp_path, "t.csv", 'text\n"open\n' + "a line\n" * 100_000)
    assert "line 2, column 1" in refused(path) and "more than 10,000 characters" in refused(path)


def test_quotation_marks_of_a_tsv_are_text(tmp_path: Path) -> None:
    pairs = [(f'"one {i}' if i % 2 else f"one {i}", f'two" {i}', str(i % 6)) for i in range(60)]
    content = "sentence1\tsentence2\tscore\n" + "".join("\t".join(pair) + "\n" for pair in pairs)
    read = rows(written(tmp_path, "pairs.tsv", content))
    assert [tuple(row.values()) for row in read] == pairs
    whole = rows(written(tmp_path, "whole.tsv", 'text\tlabel\n"Who is there?"\ta\n'))
    assert whole == [{"text": '"Who is there?"', "label": "a"}]
    assert rows(tmp_path / "whole.tsv", quoting="csv") == [{"text": "Who is there?", "label": "a"}]


ANY_TEXT = st.text('ab" ,;\n\u2028é', max_size=6)


@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT), min_size=1, max_size=6), st.sampled_from(["\t", ","]), st.booleans())
def test_what_a_csv_writer_wrote_is_read_back(pairs: list[tuple[str, str]], delimiter: str, quote_all: bool) -> None:
    """With the quotation marks that Python and data frames put around what needs them.

    In a tsv only a field with a tab and a line break can be taken for two rows with a quotation mark each.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL)
    writer.writerow(["text", "more"])
    writer.writerows(pairs)
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), "t.tsv" if delimiter == "\t" else "t.csv", out.getvalue())
        assert [tuple(row.values()) for row in rows(path)] == pairs


def test_a_tsv_row_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    assert "line 2" in refused(written(tmp_path, "t.tsv", 'id\ttext\tlabel\n1\t"open\n2\ttext\ta\n'))
    assert "line 2" in refused(written(tmp_path, "u.tsv", 'id\ttext\tlabel\n1\t"open\n2\tclosed"\ta\tb\n'))
    assert "line 2: 4 fields" in refused(written(tmp_path, "v.tsv", "id\ttext\tlabel\n1\ta\tb\tc\n"))


@pytest.mark.parametrize(
    "content",
    ["id,text\r\n1,one\r2,two\r\n", "id,text\n1,one\r2,two\n", "id,text\r1,one\n2,two\r"],
)
def test_line_ends_of_two_kinds_are_refused_as_such(tmp_path: Path, content: str) -> None:
    message = refused(written(tmp_path, "t.csv", content))
    assert "line 2: a line end of another kind" in message and "left open" not in message


def test_line_ends_inside_quotation_marks_are_text(tmp_path: Path) -> None:
    content = 'id,text\r\n1,"a\r\nb"\r\n2,"c\nd"\r\n3,"e\rf"\n'
    assert [row["text"] for row in rows(written(tmp_path, "t.csv", content))] == ["a\r\nb", "c\nd", "e\rf"]


@pytest.mark.parametrize(("name", "delimiter"), [("t.csv", ","), ("t.tsv", "\t")])
def test_files_that_were_joined_are_told(tmp_path: Path, name: str, delimiter: str) -> None:
    part = "\ufeffid,text\n1,one\n".replace(",", delimiter)
    assert "line 3: the header once more" in refused(written(tmp_path, name, part + part))
    assert "line 3: the header once more" in refused(written(tmp_path, name, part + part.removeprefix("\ufeff")))
    more = "\ufeff2,two\n".replace(",", delimiter)
    assert [row["id"] for row in rows(written(tmp_path, name, part + more))] == ["1", "2"]


def test_blank_lines_before_the_header_are_no_header(tmp_path: Path) -> None:
    for name in ("t.csv", "t.tsv"):
        assert rows(written(tmp_path, name, "\n\r\ntext\n\none\n")) == [{"text": "one"}]


@pytest.mark.parametrize("header", ["id,text,label,", ",text,label,"])
def test_columns_without_names_are_in_nobodys_way(tmp_path: Path, header: str) -> None:
    read = list(opened(written(tmp_path, "t.csv", f"{header}\n1,one,a,\n2,two,b,\n")))
    assert [(document.text, document.label) for document in read] == [("one", "a"), ("two", "b")]
