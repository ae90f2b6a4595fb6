"""Similarities of the same pairs: parity with scipy, and errors counted by eye."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import spearmanr

from moee_topics.errors import InputError
from moee_topics.evaluate.similarities import error_complementarity, similarity_correlations


def test_correlations_are_spearmans() -> None:
    generator = np.random.default_rng(4)
    values = {name: generator.integers(0, 9, 40) + 0.0 for name in "abc"}
    names, table = similarity_correlations(values)
    for i, j in itertools.product(range(3), repeat=2):
        expected = spearmanr(values[names[i]], values[names[j]]).statistic
        assert table[i, j] == pytest.approx(expected)


def test_correlations_need_the_same_pairs() -> None:
    for bad in ({"a": [1.0, 2.0], "b": [1.0]}, {"a": [1.0]}, {}):
        with pytest.raises(InputError, match="two or more pairs"):
            similarity_correlations(bad)


def test_errors_are_counted_by_eye() -> None:
    gold = np.arange(10.0)
    first, second = gold.copy(), gold.copy()
    first[[0, 9]] = first[[9, 0]]
    second[[0, 9]] = second[[9, 0]]
    second[[1, 8]] = second[[8, 1]]
    got = error_complementarity(gold, first, second)
    shares = (got.both_right, got.only_first_right, got.only_second_right, got.both_wrong)
    assert shares == pytest.approx((0.6, 0.2, 0.0, 0.2))
    assert got.one_right_of_errors == pytest.approx(0.5)
    assert got.one_right_if_independent == pytest.approx((0.8 * 0.4 + 0.6 * 0.2) / (1 - 0.8 * 0.6))


def test_independent_errors_look_complementary_by_themselves() -> None:
    generator = np.random.default_rng(5)
    gold = generator.normal(size=4000)
    noisy = [gold + 0.5 * generator.normal(size=4000) for _ in range(2)]
    got = error_complementarity(gold, *noisy)
    assert got.one_right_of_errors is not None
    assert got.one_right_if_independent is not None
    assert got.one_right_of_errors > 0.5
    assert got.one_right_of_errors == pytest.approx(got.one_right_if_independent, abs=0.05)


def test_perfect_similarities_have_no_errors_to_share() -> None:
    got = error_complementarity([1, 2, 3], [1, 2, 3], [10, 20, 30])
    assert (got.both_right, got.one_right_of_errors) == (1.0, None)


def test_complementarity_checks_its_input() -> None:
    with pytest.raises(InputError, match="same pairs"):
        error_complementarity([1], [1, 2], [1])
    with pytest.raises(InputError, match="between 0 and 1"):
        error_complementarity([1], [1], [1], threshold=1.5)
