"""Agreement: one for the same grouping under other names, chance for unrelated ones, and parity with plain loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moee_topics.errors import InputError
from moee_topics.evaluate.agreement import clustering_agreement, match_topics

clusterings = st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 4)), min_size=1, max_size=25)


def plain_jaccard(first: list[int], second: list[int]) -> float:
    pairs = list(itertools.combinations(range(len(first)), 2))
    both = sum(first[i] == first[j] and second[i] == second[j] for i, j in pairs)
    either = sum(first[i] == first[j] or second[i] == second[j] for i, j in pairs)
    return both / either if either else 1.0


def plain_exact_match(first: list[int], second: list[int]) -> float:
    names, others = sorted(set(first)), sorted(set(second))
    short, long, swap = (names, others, False) if len(names) <= len(others) else (others, names, True)
    best = 0
    for chosen in itertools.permutations(long, len(short)):
        renamed = dict(zip(short, chosen, strict=True))
        pairs = zip(second, first, strict=True) if swap else zip(first, second, strict=True)
        best = max(best, sum(renamed[a] == b for a, b in pairs))
    return best / len(first)


@settings(deadline=None, max_examples=60)
@given(clusterings)
def test_jaccard_and_exact_match_equal_plain_loops(pairs: list[tuple[int, int]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    got = clustering_agreement(first, second)
    assert got.jaccard == pytest.approx(plain_jaccard(first, second))
    assert got.exact_match == pytest.approx(plain_exact_match(first, second))
    assert got.documents == len(pairs)


@settings(deadline=None, max_examples=30)
@given(clusterings)
def test_agreement_is_symmetric(pairs: list[tuple[int, int]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    one, two = clustering_agreement(first, second), clustering_agreement(second, first)
    for name in ("ami", "nmi", "ari", "jaccard", "exact_match"):
        assert getattr(one, name) == pytest.approx(getattr(two, name))


def test_the_same_grouping_under_other_names_agrees_fully() -> None:
    first = np.array([0, 0, 1, 1, 2, 2, 2])
    got = clustering_agreement(first, (first + 5) * 3)
    assert (got.ami, got.nmi, got.ari, got.jaccard, got.exact_match) == pytest.approx((1, 1, 1, 1, 1))


def test_unrelated_groupings_agree_by_chance_only() -> None:
    generator = np.random.default_rng(0)
    got = clustering_agreement(generator.integers(0, 10, 5000), generator.integers(0, 10, 5000))
    assert abs(got.ami) < 0.01
    assert abs(got.ari) < 0.01
    assert got.exact_match < 0.2


def test_outliers_are_a_cluster_or_left_out() -> None:
    first, second = [0, 0, 1, 1, -1, -1], [5, 5, 6, 6, 5, 6]
    assert clustering_agreement(first, second, outliers="exclude").exact_match == 1.0
    assert clustering_agreement(first, second, outliers="exclude").documents == 4
    assert clustering_agreement(first, second).exact_match == pytest.approx(4 / 6)


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(InputError, match="no documents to compare"):
        clustering_agreement([-1, 0], [0, -1], outliers="exclude")
    with pytest.raises(InputError, match="same documents"):
        clustering_agreement([0], [0, 1])
    with pytest.raises(InputError, match="at least one document"):
        match_topics([], [])


def test_matching_says_what_was_matched_split_absorbed_left_out_and_scattered() -> None:
    first = [0] * 10 + [1] * 10 + [2] * 10 + [3] * 4 + [4] * 18
    second = [9] * 10 + [8] * 5 + [7] * 5 + [-1] * 10 + [9] * 4 + [10, 11, 12, 13, 14, 15] * 3
    matching = match_topics(first, second)
    fates = {fate.topic: fate for fate in matching.first_fates}
    assert [fates[topic].fate for topic in range(5)] == ["matched", "split", "left out", "absorbed", "scattered"]
    assert fates[0].partners == [(9, 1.0)]
    assert fates[1].partners == [(7, 0.5), (8, 0.5)]
    assert fates[2].outliers == 1.0
    assert (fates[3].size, fates[3].partners) == (4, [(9, 1.0)])
    best = matching.pairs[0]
    assert (best.first, best.second, best.shared, best.jaccard) == (0, 9, 10, pytest.approx(10 / 14))
    assert {fate.topic for fate in matching.second_fates} == set(second) - {-1}


def test_the_overlap_table_counts_every_document_once() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.integers(-1, 5, 200), generator.integers(-1, 7, 200)
    matching = match_topics(first, second)
    assert matching.overlap.sum() == 200
    for i, a in enumerate(matching.first_topics):
        for j, b in enumerate(matching.second_topics):
            assert matching.overlap[i, j] == ((first == a) & (second == b)).sum()
    assert len({pair.first for pair in matching.pairs}) == len(matching.pairs) == 5
    assert -1 not in {pair.first for pair in matching.pairs} | {pair.second for pair in matching.pairs}


def test_runs_of_outliers_only_match_nothing() -> None:
    matching = match_topics([-1, -1], [0, 1])
    assert matching.pairs == []
    assert [fate.fate for fate in matching.second_fates] == ["left out", "left out"]
