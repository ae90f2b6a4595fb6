"""csv and tsv files: delimiters are found, and quotation marks mean what their writer meant."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

from moee_topics.corpus.rows import Row, Table
from moee_topics.corpus.settings import CorpusSettings
from moee_topics.corpus.text_file import LONGEST_DOCUMENT, TextFile
from moee_topics.errors import InputError

Numbered = Iterator[tuple[int, list[str]]]
"""Rows as fields, each with the number of its last line."""


def delimited_table(path: Path, settings: CorpusSettings, delimiter: str = "") -> Table:
    """A csv or tsv file; without a delimiter, the one that stands most often in the header."""
    file = TextFile.at(path, settings)
    with closing(file.lines()) as lines:
        first = next(lines, None)
        skipped = int(bool(first and re.fullmatch(r"sep=.\s*", first, re.IGNORECASE)))
        header_line = first if first and first.strip() and not skipped else next(filter(str.strip, lines), None)
    if header_line is None:
        raise InputError(f"{path} is empty; expected a header line with the names of the columns.")
    unquoted = re.sub('"[^"]*"', "", header_line)
    guess = first[4] if first and skipped else max(",;\t|", key=unquoted.count)  # the comma wins a draw
    delimiter = settings.field_delimiter or delimiter or guess
    # A writer that quotes every field quotes those of the header; no text would begin so.
    quotes_all = re.fullmatch('"[^"]*"(\t"[^"]*")*', header_line.strip()) is not None
    is_csv = settings.quoting == "csv" or (settings.quoting == "auto" and (delimiter != "\t" or quotes_all))
    # Opened here and read on in rows(): the header has to be known before a column is chosen.
    numbered = (_quoted_rows if is_csv else _plain_rows)(file, delimiter, skipped)
    header = next(fields for _, fields in numbered if fields)

    def rows(columns: Collection[str] | None) -> Iterator[Row]:
        needed = [(i, name) for i, name in enumerate(header) if columns is None or name in columns]
        blank, is_begun = list[int](), False
        for number, fields in numbered:
            if len(fields) > len(header):
                raise InputError(
                    f"{path}, line {number}: {len(fields)} fields, but the header has {len(header)}. "
                    "Put fields that hold the delimiter or line breaks in quotation marks."
                )
            if len(header) > 1 and fields == header:
                raise InputError(
                    f"{path}, line {number}: the header once more, as where two files were joined. Delete that line."
                )
            if not fields:
                # Of one column it is a row without text, which has to be counted; around all of them it is none.
                blank += [number] if len(header) == 1 and is_begun else []
                continue
            yield from (Row(f"line {at}", {}) for at in blank)
            blank, is_begun = [], True
            yield Row(f"line {number}", {name: fields[i] for i, name in needed if i < len(fields)})

    return Table(header, rows)


def _quoted_rows(file: TextFile, delimiter: str, skipped: int) -> Numbered:
    """Rows with the number of their last line; quoted fields may span lines."""
    csv.field_size_limit(LONGEST_DOCUMENT)  # csv's own limit of 131,072 characters refuses long documents
    number = begun = size = 0

    def lines() -> Iterator[str]:
        nonlocal number, size
        for line in file.lines():
            number, size = number + 1, size + len(line)
            # csv bounds a field but not a row, and takes four bytes for each character of it.
            if size > LONGEST_DOCUMENT:
                raise csv.Error(f"a row of more than {LONGEST_DOCUMENT:,} characters")
            if number > skipped:
                # Files that were joined have their byte order mark in the middle.
                yield line.removeprefix("\ufeff") if number == begun else line

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    while True:
        begun, size = max(number, skipped) + 1, 0
        try:
            row = next(reader, None)
        except csv.Error as error:
            if "new-line character" in str(error):
                raise InputError(
                    f"{file.name}, line {number}: a line end of another kind than that of the first line, outside "
                    "quotation marks. Save the file with one kind of line ends, or put the field in quotation marks."
                ) from error
            opened = _open_quotation(file, begun, number, delimiter)
            place = "line {}, column {}".format(*opened) if opened else f"line {number}"
            raise InputError(
                f"{file.name}, {place}: a quotation mark left open, or one in a field that is not doubled ({error}). "
                "Mend it, or read quotation marks as text with corpus.quoting=none."
            ) from error
        if row is None:
            return
        yield number, row


def _open_quotation(file: TextFile, first: int, last: int, delimiter: str) -> tuple[int, int] | None:
    """Line and column, from 1, of the mark that opens a field which does not end as it should."""
    opened: tuple[int, int] | None = None
    for number, line in enumerate(file.lines(), start=1):
        if number < first:
            continue
        if number > last:
            break
        at = 0
        while at < len(line):
            if opened is None and line[at] == '"':
                opened = number, at + 1
                at += 1
            if opened is None:
                at = line.find(delimiter, at) + 1 or len(line)
                continue
            at = line.find('"', at) + 1 or len(line) + 1
            if at > len(line):  # it goes on in the next line
                break
            if line[at : at + 1] == '"':
                at += 1
            elif line[at : at + 1] not in (delimiter, "\r", "\n", ""):
                return opened
            else:
                opened = None
                at += 1
    return opened


def _plain_rows(file: TextFile, delimiter: str, skipped: int) -> Numbered:
    """Rows in which a quotation mark is text, as in most tab separated files."""
    # csv writers quote in them too, but only a field that needs it: one with a quotation mark, which they double, or
    # one with a tab or a line break, without which its line has another number of fields than the header.
    numbered, ahead = enumerate(file.lines(), start=1), list[tuple[int, str]]()

    def upcoming() -> Iterator[tuple[int, str]]:
        while entry := ahead.pop() if ahead else next(numbered, None):
            yield entry

    width, may_quote, lines = 0, file.settings.quoting == "auto", upcoming()
    for number, line in lines:
        if number <= skipped:
            continue
        line = line.removeprefix("\ufeff")  # in the middle where files were joined
        fields = line.rstrip("\r\n").split(delimiter)
        if not line.strip("\r\n"):
            fields = []
        elif may_quote and '"' in line:
            makes_no_row = bool(width) and len(fields) != width
            if width > 1 and not makes_no_row and fields[-1].startswith('"') and fields[-1].count('"') % 2:
                # The last field may go on; then the next line is no row by itself.
                ahead += [entry for entry in [next(numbered, None)] if entry]
                makes_no_row = bool(ahead) and ahead[-1][1].count(delimiter) + 1 != width
            if makes_no_row:
                number, fields = _mended_row(file, number, line, lines, width)
            else:
                fields = [_unquoted(field) for field in fields]
        width = width or len(fields)
        yield number, fields


def _mended_row(
    file: TextFile, first: int, line: str, following: Iterator[tuple[int, str]], width: int
) -> tuple[int, list[str]]:
    """A row of tab separated fields that may go on in the lines that follow, read as csv writers quote."""
    last, size = first, len(line)

    def lines() -> Iterator[str]:
        nonlocal last, size
        yield line
        for last, more in following:  # noqa: B007 (last is the caller's)
            size += len(more)
            if size > LONGEST_DOCUMENT:
                return
            yield more

    try:
        fields = next(csv.reader(lines(), delimiter="\t", strict=True))
        if last > first and len(fields) != width:
            raise csv.Error(f"{len(fields)} fields up to line {last}, {width} in the header")
    except csv.Error as error:
        raise InputError(
            f"{file.name}, line {first}: the number of its fields is not that of the header, whether its quotation "
            f"marks are text or not ({error}). Mend the line, or set corpus.quoting to csv or none."
        ) from error
    return last, fields


def _unquoted(field: str) -> str:
    inner = field[1:-1]
    quoted = len(field) > 1 and field[0] == field[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if quoted and (not inner or '"' in inner) else field
