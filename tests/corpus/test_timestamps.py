"""Times: the usual spellings are read, and what is none is not taken for one."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import pytest

from moee_topics.corpus.timestamps import iso_timestamp


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
        ("2024-05", "2024-05-01T00:00:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00"),
        ("1998-12-31 23:59:60.5", "1999-01-01T00:00:00.500000"),
        ("2024-12-31T24:00:00+01:00", "2025-01-01T00:00:00+01:00"),
        ("2024-12-31T24:00", "2025-01-01T00:00:00"),
        ("1969-07-20", "1969-07-20T00:00:00"),
        ("2024-05-31T12:00:00.123456789Z", "2024-05-31T12:00:00.123456+00:00"),
        (None, None),
        (float("nan"), None),
    ],
)
def test_times_in_the_usual_spellings_become_iso(value: object, expected: str | None) -> None:
    assert iso_timestamp(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "31/05/2024",
        "01/02/2024",
        "31.12.2023",
        "2024-02-30",
        "2024-05-31T24:01:00",
        "9999-12-31T24:00:00",
        "\uff12\uff10\uff12\uff14",
    ],
)
def test_a_day_that_can_be_read_in_two_ways_or_is_none_is_no_time(value: str) -> None:
    with pytest.raises((ValueError, OverflowError)):
        iso_timestamp(value)


@pytest.mark.parametrize(
    "value", [0, 12, 23.5, "12", "7.0", 86_399, "12:30", "12:30:00", time(12, 30), True, "soon", "2024-13"]
)
def test_an_hour_or_a_count_is_no_time(value: object) -> None:
    with pytest.raises((ValueError, OverflowError)):
        iso_timestamp(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (20210203, "2021-02-03T00:00:00"),
        (20210203.0, "2021-02-03T00:00:00"),
        (2021.0, "2021-01-01T00:00:00"),
        ("1.6e9", "2020-09-13T12:26:40+00:00"),
        (1_600_000_000_000_000, "2020-09-13T12:26:40+00:00"),
        (1_600_000_000_000_000_000, "2020-09-13T12:26:40+00:00"),
        (-500_000_000, "1954-02-26T23:06:40+00:00"),
        (date(2024, 5, 31), "2024-05-31T00:00:00"),
    ],
)
def test_numbers_and_dates_of_data_frames_are_times(value: object, expected: str) -> None:
    assert iso_timestamp(value) == expected


def test_another_format_is_read_as_it_is_said() -> None:
    assert iso_timestamp("01/05/2024", "%d/%m/%Y") == "2024-05-01T00:00:00"
    assert iso_timestamp("2024", "%Y") == "2024-01-01T00:00:00"
    with pytest.raises(ValueError, match="does not match"):
        iso_timestamp("2024-05-01", "%d/%m/%Y")
