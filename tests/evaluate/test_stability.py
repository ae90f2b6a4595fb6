"""Stability: one for the same topics under other names, chance for shuffled ones."""

from __future__ import annotations

import numpy as np
import pytest

from moee_topics.errors import InputError
from moee_topics.evaluate.stability import TopicRun, compare_runs, stability_scores, stability_summary, topic_stability


def test_identical_runs_are_fully_stable_and_shuffled_runs_are_not() -> None:
    generator = np.random.default_rng(2)
    topics = generator.integers(-1, 5, 400)
    words = {topic: [f"{topic} {i}" for i in range(10)] for topic in range(5)}
    renamed = np.where(topics < 0, topics, 4 - topics)
    same = compare_runs([TopicRun(topics, words), TopicRun(renamed, {4 - t: w for t, w in words.items()})])
    assert (same.ami, same.ami_lowest, same.word_overlap) == pytest.approx((1, 1, 1))
    assert same.topics == [5, 5]
    other = compare_runs([TopicRun(topics), TopicRun(renamed), TopicRun(generator.permutation(topics))])
    assert other.ami == pytest.approx(1 / 3, abs=0.03)
    assert abs(other.ami_lowest) < 0.03
    assert other.word_overlap is None
    assert other.pairwise_ami.shape == (3, 3)


def test_fits_that_find_nothing_agree_on_nothing_copies_or_not() -> None:
    for copies in (1, 5):
        rng = np.random.default_rng(copies)
        texts = np.repeat(np.arange(200), copies)
        fits = [TopicRun(rng.integers(-1, 20, 200)[texts]) for _ in range(2)]
        samples = [np.unique(rng.integers(0, len(texts), len(texts))) for _ in range(2)]
        bootstraps = [TopicRun(rng.integers(-1, 20, 200)[texts][rows], rows=rows) for rows in samples]
        summary = stability_summary(fits[0], {"seeds": fits[1:], "bootstrap": bootstraps}, texts.tolist())
        scores = {name: round(score.value or 0, 1) for name, score in stability_scores(summary).items()}
        assert scores == {"stability_seeds": 0.0, "stability_bootstrap": 0.0}
        assert list(stability_scores({"bootstrap": summary["bootstrap"]})) == ["stability_bootstrap"]
    # What copies do to the correction for chance, where they are not told.
    assert compare_runs(fits).ami > 0.2


def test_bootstrap_runs_are_compared_on_the_documents_both_saw() -> None:
    topics = np.arange(100) % 4
    one, two = np.arange(0, 70), np.arange(99, 29, -1)
    got = compare_runs([TopicRun(topics[one], rows=one), TopicRun(topics[two], rows=two), TopicRun(topics)])
    assert got.ami_lowest == pytest.approx(1.0)
    with pytest.raises(InputError, match="share no document"):
        compare_runs([TopicRun([0, 1], rows=[0, 1]), TopicRun([0, 1], rows=[2, 3])])
    with pytest.raises(InputError, match="at least 2"):
        compare_runs([TopicRun([0])])


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
    assert compare_runs(runs).word_overlap == pytest.approx(1 / 3)
    assert compare_runs(runs, top=1).word_overlap == 0.0
