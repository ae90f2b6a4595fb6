"""Times in the spellings that corpora have, as ISO 8601."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime

YEARS = (1000, 2999)
EARLIEST_SECONDS = 1e8
"""March 1973. A smaller number is an hour, a duration or a rank rather than seconds since 1970."""

DATE_LIKE = re.compile(
    r"\d{1,4}\s*[/.\-]\s*\d{1,2}\s*[/.\-]\s*\d{1,4}|\b(1\d|20)\d\d\b|\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)",
    re.IGNORECASE,
)


def iso_timestamp(value: object, time_format: str | None = None) -> str | None:
    """A time as ISO 8601, None where it is missing.

    Args:
        value: ISO 8601, also of a month, the format of mails, a year, seconds or milliseconds since 1970, or a date of
            Python.
        time_format: how it is written instead, as for ``strptime``.

    Raises:
        ValueError: it is not a time.
    """
    if value is None or value == "" or value != value:
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day).isoformat()
    text = str(value).strip()
    if time_format is not None:
        return datetime.strptime(text, time_format).isoformat()
    if isinstance(value, bool):
        raise ValueError("a truth value")
    if not re.fullmatch(r"-?\d+(\.\d*)?([eE][+]?\d+)?", text, re.ASCII):
        try:
            return _from_iso(text).isoformat()
        except ValueError:
            return parsedate_to_datetime(text).isoformat()
    number = float(text)
    if number.is_integer() and YEARS[0] <= number <= YEARS[1]:
        return f"{int(number)}-01-01T00:00:00"
    if number.is_integer() and YEARS[0] * 10_000 <= number < (YEARS[1] + 1) * 10_000:
        return datetime.strptime(str(int(number)), "%Y%m%d").isoformat()
    # Seconds, and the thousandths, millionths and billionths of one that data frames count in.
    for unit in (1, 1e3, 1e6, 1e9):
        if EARLIEST_SECONDS <= abs(number) / unit < 1e11:
            return datetime.fromtimestamp(number / unit, UTC).isoformat()
    raise ValueError("neither a year nor seconds since 1970")


def _from_iso(text: str) -> datetime:
    """ISO 8601 with the forms that Python 3.11 does not read: a month, a leap second, and 24:00."""
    if re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text, re.ASCII):
        text += "-01"
    # A clock shows 23:59:60 where a second is put in; Python, as Unix, has no place for it but the next one.
    for odd, even, later in (
        (r"(?<=[T ]\d\d:\d\d:)60(?!\d)", "59", timedelta(seconds=1)),
        (r"(?<=[T ])24(?=:00(:00(\.0*)?)?(Z|[+-]|$))", "00", timedelta(days=1)),
    ):
        if re.search(odd, text):
            return datetime.fromisoformat(re.sub(odd, even, text, count=1)) + later
    return datetime.fromisoformat(text)
