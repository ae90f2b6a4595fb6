"""Where each text stands first."""

from __future__ import annotations

import pytest

from moee_topics.evaluate.duplicate_texts import first_of_each


@pytest.mark.parametrize(
    ("texts", "rows"), [([], []), (["a"], [0]), (["b", "a", "b", "c", "a"], [0, 1, 3]), ([b"x", b"x"], [0])]
)
def test_of_copies_the_first_counts_and_the_order_stays(texts: list[str], rows: list[int]) -> None:
    assert first_of_each(texts).tolist() == rows
