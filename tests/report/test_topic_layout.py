from __future__ import annotations

import numpy as np
import pytest

from moee_topics.report.topic_layout import topic_layout


def test_like_topics_are_drawn_side_by_side_and_always_at_the_same_place() -> None:
    rng = np.random.default_rng(0)
    group = np.arange(40) % 4
    vectors = rng.normal(size=(4, 10))[group] + rng.normal(size=(40, 10)) * 0.3
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    positions = topic_layout(vectors @ vectors.T)
    apart = np.linalg.norm(positions[:, None] - positions, axis=-1) + np.diag(np.full(40, np.inf))
    assert (group[apart.argmin(axis=1)] == group).all()
    np.testing.assert_array_equal(positions, topic_layout(vectors @ vectors.T))
    assert topic_layout(np.ones((1, 1))).tolist() == [[0, 0]]


@pytest.mark.parametrize("topics", [2, 3, 4, 5, 6, 7, 8, 30])
def test_topics_that_have_nothing_in_common_are_drawn_apart(topics: int) -> None:
    positions = topic_layout(np.eye(topics))
    apart = np.linalg.norm(positions[:, None] - positions, axis=-1)
    assert apart[np.triu_indices(topics, 1)].min() > 0.1 * apart.max()
