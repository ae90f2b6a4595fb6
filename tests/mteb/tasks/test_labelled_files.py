"""Rows of labelled files: every format reads the same, gaps are no classes."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from task_doubles import task_rows

from moee_topics.errors import InputError
from moee_topics.mteb.tasks import LocalTask, guess_type, load, local_task, read_rows, texts_of


@pytest.mark.parametrize("columns", [(), ("title", "title")])
def test_no_column_or_one_column_twice_is_no_text(columns: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=r"x\.csv: text is .*, expected one column or more, each once"):
        LocalTask("Clustering", Path("x.csv"), text=columns)


def test_every_format_reads_the_same(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"text": "häß, lich", "label": "a"}, {"text": "two\tlines", "label": "b"}]
    lines = "\n".join(json.dumps(row) for row in rows).encode()
    (tmp_path / "x.jsonl").write_bytes(lines)
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(lines))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    for name, delimiter in (("x.csv", ","), ("x.tsv", "\t")):
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["text", "label"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    assert all([dict(row.values) for row in read_rows(path)] == rows for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("x.txt", b"a", "no known kind"), ("x.jsonl", b"[1]", "object"), ("x.jsonl.gz", b"no", "cannot be unpacked"),
     ("x.jsonl", b"\xff\xfe\x00", "x.jsonl"), ("x.parquet", b"no", "cannot be read"), ("x.csv", b"", "is empty")],
)  # fmt: skip
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_rows(tmp_path / name)
    with pytest.raises(InputError, match="no file"):
        read_rows(tmp_path / "absent.csv")


@pytest.mark.parametrize("word", ["NaN", "None", "NA", "", " ", None, float("nan")])
def test_a_word_for_none_is_no_class(tmp_path: Path, word: Any) -> None:
    rows = [{"text": f"t{i}", "label": "ab"[i % 2]} for i in range(6)]
    source = task_rows(tmp_path, [*rows, {"text": "None", "label": word}], "Clustering")
    assert source.left_out == 1 and set(load(source).dataset["test"]["labels"]) == {0, 1}


def test_a_text_may_say_none(tmp_path: Path) -> None:
    rows = [{"text": text, "label": label} for text, label in (("None", "a"), ("b", "b"), ("c", "a"))]
    assert task_rows(tmp_path, rows, "Clustering").left_out == 0


def test_labels_that_begin_late_are_seen(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": f"t{i}"} for i in range(3)]
    source = task_rows(tmp_path, [*rows, *({"text": f"u{i}", "label": "ab"[i % 2]} for i in range(4))], None)
    assert source.type == "Clustering" and source.left_out == 3


def test_quotation_marks_are_text_in_a_tsv_and_no_row_is_lost(tmp_path: Path) -> None:
    lines = [f'"so he said {i}\tand "{i}" was it\t{i % 5}' for i in range(60)]
    (tmp_path / "pairs.tsv").write_text("sentence1\tsentence2\tscore\n" + "\n".join(lines) + "\n")
    source = local_task(LocalTask("STS", tmp_path / "pairs.tsv"))
    assert len(load(source).dataset["test"]) == 60 and source.left_out == 0


def test_a_line_separator_inside_a_string_ends_no_row(tmp_path: Path) -> None:
    rows = [{"text": f"one\u2028two\x85{i}", "label": "ab"[i % 2]} for i in range(6)]
    path = tmp_path / "separators.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    assert len(texts_of(local_task(LocalTask(None, path)))) == 6


def test_types_are_told_from_columns() -> None:
    assert guess_type(["text", "label", "id"]) == "Clustering"
    assert guess_type(["sentence1", "sentence2", "score", "label"]) == "STS"


def test_a_labelled_file_is_told_its_encoding_delimiter_and_quoting(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    rows = [f'caf\xe9 "no{n};{"ab"[n % 2]}' for n in range(40)]
    path.write_bytes("\n".join(["text;label", *rows]).encode("cp1252"))
    with pytest.raises(InputError, match="FILE,encoding=cp1252"):
        local_task(LocalTask("Clustering", path))
    task = local_task(LocalTask("Clustering", path, encoding="cp1252", delimiter=";", quoting="none"))
    assert set(texts_of(task)) == {f'caf\xe9 "no{n}' for n in range(40)}


@pytest.mark.parametrize("key", ["lable", "encodings"])
def test_a_misspelt_key_of_a_labelled_file_is_refused(key: str) -> None:
    with pytest.raises(InputError, match=f"{key} is neither a key"):
        LocalTask("Clustering", Path("posts.csv"), columns={key: "x"})


def test_a_column_that_stands_twice_and_a_name_too_long_are_refused(tmp_path: Path) -> None:
    (tmp_path / "twice.csv").write_text("text,label,label,,\na,b,c,,\n")
    with pytest.raises(InputError, match="more than one column 'label'"):
        read_rows(tmp_path / "twice.csv")
    with pytest.raises(InputError, match="There is no file"):
        read_rows(tmp_path / f"{'x' * 5000}.csv")
