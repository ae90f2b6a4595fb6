"""Agreement: one for the same grouping under other names, chance for unrelated ones, and parity with plain loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from moee_topics.errors import InputError
from moee_topics.evaluate.agreement import (
    TopicRun,
    clustering_agreement,
    error_complementarity,
    match_topics,
    similarity_correlations,
    stability,
    topic_stability,
)

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


def test_identical_runs_are_fully_stable_and_shuffled_runs_are_not() -> None:
    generator = np.random.default_rng(2)
    topics = generator.integers(-1, 5, 400)
    words = {topic: [f"{topic} {i}" for i in range(10)] for topic in range(5)}
    renamed = np.where(topics < 0, topics, 4 - topics)
    same = stability([TopicRun(topics, words), TopicRun(renamed, {4 - t: w for t, w in words.items()})])
    assert (same.ami, same.ami_lowest, same.words) == pytest.approx((1, 1, 1))
    assert same.topics == [5, 5]
    other = stability([TopicRun(topics), TopicRun(renamed), TopicRun(generator.permutation(topics))])
    assert other.ami == pytest.approx(1 / 3, abs=0.03)
    assert abs(other.ami_lowest) < 0.03
    assert other.words is None
    assert other.pairwise_ami.shape == (3, 3)


def test_bootstrap_runs_are_compared_on_the_documents_both_saw() -> None:
    topics = np.arange(100) % 4
    one, two = np.arange(0, 70), np.arange(99, 29, -1)
    got = stability([TopicRun(topics[one], rows=one), TopicRun(topics[two], rows=two), TopicRun(topics)])
    assert got.ami_lowest == pytest.approx(1.0)
    with pytest.raises(InputError, match="share no document"):
        stability([TopicRun([0, 1], rows=[0, 1]), TopicRun([0, 1], rows=[2, 3])])
    with pytest.raises(InputError, match="at least 2"):
        stability([TopicRun([0])])


def test_a_topic_is_as_stable_as_its_best_overlap_on_average() -> None:
    run = TopicRun([0, 0, 0, 0, 1, 1, 1, 1, -1, -1])
    same = TopicRun([5, 5, 5, 5, 3, 3, 3, 3, -1, -1])
    split = TopicRun([0, 0, 0, 1, 2, 2, -1, -1, 2, 2])
    assert topic_stability(run, [same]) == {0: 1.0, 1: 1.0}
    assert topic_stability(run, [split]) == pytest.approx({0: 3 / 4, 1: 2 / 6})
    assert topic_stability(run, [same, split]) == pytest.approx({0: 7 / 8, 1: 2 / 3})


def test_a_topic_s_stability_knows_only_documents_that_both_fits_saw() -> None:
    run = TopicRun([0, 0, 0, 0, 1, 1])
    assert topic_stability(run, [TopicRun([7, 7, 8], rows=[0, 1, 2])]) == pytest.approx({0: 2 / 3})
    assert topic_stability(run, [TopicRun([7, 7], rows=[0, 4])]) == {0: 0.5, 1: 0.5}
    everything_outside = TopicRun([-1] * 6)
    assert topic_stability(run, [everything_outside]) == {0: 0.0, 1: 0.0}
    with pytest.raises(InputError, match="share no document"):
        topic_stability(TopicRun([0], rows=[0]), [TopicRun([0], rows=[1])])


def test_half_the_words_shared_is_a_third_of_their_union() -> None:
    runs = [TopicRun([0, 0], {0: ["a", "b"]}), TopicRun([1, 1], {1: ["b", "c"]})]
    assert stability(runs).words == pytest.approx(1 / 3)
    assert stability(runs, top=1).words == 0.0


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
