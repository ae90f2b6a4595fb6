"""Excel files: the first sheet that is seen, as rows; what only a spreadsheet program can know is refused by row."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from moee_topics.corpus.packing import readable
from moee_topics.corpus.rows import Row, Table
from moee_topics.corpus.settings import CorpusSettings
from moee_topics.errors import InputError, import_extra

LARGEST_PART = 50_000_000  # bytes
BLOCK = 1 << 20  # bytes
# openpyxl has no error of its own for a file that is zipped XML but no workbook.
FAULTS = (KeyError, ValueError, IndexError, TypeError, AttributeError, ElementTree.ParseError)
ERRORS = ("#VALUE!", "#REF!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!")


def excel_table(path: Path, settings: CorpusSettings) -> Table:
    """The first sheet that is not hidden; its first row that is not blank names the columns."""
    with _workbook_faults(path):
        with zipfile.ZipFile(path) as parts:
            for part in parts.infolist():
                # Strings that many cells share are all in memory; real ones shrink by 5 to 20, a bomb by 1,000.
                if part.file_size > max(LARGEST_PART, 100 * part.compress_size):
                    raise InputError(f"{path} unpacks to {part.file_size / 1e6:,.0f} MB of nothing; save it as csv.")
        numbered = enumerate(_sheet(path).iter_rows(values_only=True), start=1)
        top, header = next((entry for entry in numbered if any(cell is not None for cell in entry[1])), (1, ()))
    names = [(i, str(name)) for i, name in enumerate(header) if name is not None]
    if not names:
        raise InputError(f"{path} is empty; expected the names of the columns in the first row of the first sheet.")

    def rows(columns: Collection[str] | None) -> Iterator[Row]:
        needed = {name: i for i, name in names if columns is None or name in columns}
        formulas, at, blank = None, 0, list[int]()
        with _workbook_faults(path):
            _refuse_merged(path, needed, top)
            for number, cells in numbered:
                values = {name: cells[i] for name, i in needed.items() if i < len(cells)}
                sources: Mapping[str, Any] = {}
                if None in values.values():  # a gap, or a formula whose value no program has saved
                    formulas = formulas or _sheet(path, formulas=True).iter_rows(values_only=True)
                    written, at = next(islice(formulas, number - at - 1, None), ()), number
                    sources = {name: written[i] for name, i in needed.items() if i < len(written)}
                _refuse_faults(f"{path}, row {number}", values, sources)
                if all(cell is None for cell in cells):
                    # Of one column it is a row without text, which has to be counted; at the end it is none.
                    blank += [number] if len(names) == 1 else []
                    continue
                yield from (Row(f"row {at}", {}) for at in blank)
                blank.clear()
                yield Row(f"row {number}", values)

    return Table([name for _, name in names], rows)


@contextmanager
def _workbook_faults(path: Path) -> Iterator[None]:
    try:
        with readable(path):
            yield
    except FAULTS as error:
        raise InputError(f"{path} cannot be read as an Excel file: {error}") from error


def _sheet(path: Path, *, formulas: bool = False) -> Any:
    """The first sheet that is not hidden, with the values of its formulas or with these themselves."""
    openpyxl = import_extra("openpyxl", "excel")
    sheets = openpyxl.load_workbook(path, read_only=True, data_only=not formulas).worksheets
    sheet = next((sheet for sheet in sheets if sheet.sheet_state == "visible"), sheets[0])
    sheet.reset_dimensions()  # some writers state too few rows, and openpyxl would read no more
    return sheet


def _refuse_faults(place: str, values: Mapping[str, Any], sources: Mapping[str, Any]) -> None:
    """Errors that a spreadsheet shows, and formulas (``sources``) without a value."""
    for name, value in values.items():
        if value in ERRORS or (value is None and sources.get(name) is not None):
            raise InputError(
                f"{place}: the column {name!r} holds {value or 'a formula without its value'}. Mend it and save the "
                "file with a spreadsheet program, or save it as csv."
            )


def _refuse_merged(path: Path, needed: Mapping[str, int], top: int) -> None:
    """Merged cells below the header: a reader would take all but the first of them for gaps."""
    utils = import_extra("openpyxl.utils", "excel")
    with zipfile.ZipFile(path) as parts, parts.open(_sheet(path)._worksheet_path) as part:
        before = b""
        while block := part.read(BLOCK):  # openpyxl 3.1 does not tell them of a sheet that it streams
            for match in re.finditer(rb'mergeCell ref="([A-Z]+\d+:[A-Z]+\d+)"', before + block):
                cells = match[1].decode()
                left, first, right, last = utils.range_boundaries(cells)
                columns = range(left + (first == last), right + 1)
                if last > top and (covered := [name for name, i in needed.items() if i + 1 in columns]):
                    raise InputError(
                        f"{path}, cells {cells}: they are merged, so that all but the first of the column "
                        f"{covered[0]!r} are empty. Take them apart and fill each."
                    )
            before = block[-60:]
