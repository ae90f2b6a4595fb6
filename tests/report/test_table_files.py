"""A workbook and a database with the tables of a run."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from small_run import bare_run

from moee_topics.errors import InputError, MissingExtraError
from moee_topics.report import export_report, table_files
from moee_topics.report.run_tables import tables_of
from moee_topics.run_folder import RunFolder

ODD = ["=HYPERLINK(1)", "=1+1", "+1", "@x", "#N/A", "plain", "a\0b\x0bc", "x" * 40_000, "\n=1", "12", "TRUE"]


def test_no_text_of_a_workbook_is_a_formula_an_error_or_a_number(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl", reason="needs the extra [excel]")
    (path,) = export_report(bare_run(tmp_path / "run", ODD), ["xlsx"], tmp_path)
    with zipfile.ZipFile(path) as parts:
        content = b"".join(parts.read(name) for name in parts.namelist() if name.startswith("xl/worksheets"))
    assert b"<f>" not in content and b"<f " not in content and b't="e"' not in content
    rows = list(openpyxl.load_workbook(path, read_only=True)["documents"].iter_rows(values_only=True))
    read = [row[rows[0].index("text")] for row in rows[1:]]
    assert read == ["a\ufffdb\ufffdc" if "\0" in text else text[:32_767] for text in ODD]


@pytest.mark.parametrize("form", ["xlsx", "duckdb"])
def test_every_table_with_all_its_rows_is_there(form: str, run: Path, tmp_path: Path) -> None:
    package = pytest.importorskip({"xlsx": "openpyxl", "duckdb": "duckdb"}[form])
    (path,) = export_report(run, [form], tmp_path)
    for name, rows in tables_of(RunFolder.read(run)).items():
        if form == "xlsx":
            read = list(package.load_workbook(path, read_only=True)[name].iter_rows(values_only=True))[1:]
        else:
            with package.connect(str(path), read_only=True) as database:
                read = database.execute(f"SELECT * FROM {name}").fetchall()
        assert [row[0] for row in read] == [next(iter(row.values())) for row in rows]
        assert all(len(row) == len(rows[0]) for row in read)


def test_more_documents_than_a_sheet_has_rows_are_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openpyxl", reason="needs the extra [excel]")
    monkeypatch.setattr(table_files, "MOST_ROWS", 240)
    with pytest.raises(InputError, match=r"too few for 240 documents. Take parquet"):
        export_report(run, ["xlsx"], tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("form", "package", "extra"), [("xlsx", "openpyxl", "excel"), ("duckdb", "duckdb", "duckdb")])
def test_a_missing_package_is_named(
    form: str, package: str, extra: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"moee-topics\[{extra}\]"):
        export_report(run, [form], tmp_path)
