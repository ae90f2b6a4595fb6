"""The interval of a share, beside the solution of the equation that defines it."""

from __future__ import annotations

import math

import pytest

from moee_topics.evaluate.wilson import Z_95, wilson_interval


@pytest.mark.parametrize(("right", "count"), [(20, 100), (0, 10), (10, 10), (1, 3), (500, 1000)])
def test_both_ends_are_where_the_share_is_just_so_many_standard_errors_away(right: int, count: int) -> None:
    low, high = wilson_interval(right / count, count)
    assert 0 <= low <= right / count <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            away = abs(right / count - end) / math.sqrt(end * (1 - end) / count)
            assert away == pytest.approx(Z_95, abs=1e-6)


def test_it_is_that_of_the_textbook() -> None:
    assert wilson_interval(0.2, 100) == (pytest.approx(0.1334, abs=1e-4), pytest.approx(0.2888, abs=1e-4))
