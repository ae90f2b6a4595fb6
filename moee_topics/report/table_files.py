"""The tables of a run in one file: a workbook, or a database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from moee_topics.errors import InputError, import_extra
from moee_topics.report.run_tables import tables_of
from moee_topics.run_folder import RunFolder
from moee_topics.store import atomic_path

MOST_ROWS = 1_048_576  # of a sheet, its header included
LONGEST_CELL = 32_767  # characters


def export_xlsx(run: RunFolder, output: Path) -> list[Path]:
    """``run.xlsx``, a sheet for each table, in which every text is a text and none a formula.

    Raises:
        MissingExtraError: openpyxl is not installed.
        InputError: there are more documents than a sheet has rows.
    """
    openpyxl = import_extra("openpyxl", "excel")
    workbook, path, tables = openpyxl.Workbook(write_only=True), output / "run.xlsx", tables_of(run)
    for name, rows in tables.items():
        if len(rows) >= MOST_ROWS:
            raise InputError(f"A sheet has at most {MOST_ROWS:,} rows, too few for {len(rows):,} {name}. Take parquet.")
    for name, rows in tables.items():
        sheet = workbook.create_sheet(name)
        sheet.freeze_panes = "A2"
        sheet.append([_cell(sheet, column) for column in rows[0]])
        for row in rows:
            sheet.append([_cell(sheet, row.get(column)) for column in rows[0]])
    with atomic_path(path) as temporary:
        workbook.save(temporary)
    return [path]


def _cell(sheet: Any, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    cells = import_extra("openpyxl.cell", "excel")
    text = cells.cell.ILLEGAL_CHARACTERS_RE.sub("\ufffd", value)[:LONGEST_CELL]
    cell = cells.WriteOnlyCell(sheet, text)
    cell.data_type = "s"  # of a text that begins with = openpyxl makes a formula, and of #N/A an error
    return cell


def export_duckdb(run: RunFolder, output: Path) -> list[Path]:
    """``run.duckdb``, a database with the tables topics, documents and experts.

    Raises:
        MissingExtraError: duckdb is not installed.
    """
    duckdb, path = import_extra("duckdb", "duckdb"), output / "run.duckdb"
    with atomic_path(path) as temporary, duckdb.connect(str(temporary)) as database:
        for name, rows in tables_of(run).items():
            database.register("rows_of_run", pa.Table.from_pylist(rows))
            database.execute(f"CREATE TABLE {name} AS SELECT * FROM rows_of_run")
            database.unregister("rows_of_run")
    return [path]
