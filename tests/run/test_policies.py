"""What an update does with topics, by a double whose topics are known by eye."""

from __future__ import annotations

from typing import get_args

import numpy as np

from moee_topics.run.policies import POLICIES, Step, turned_like


def test_every_policy_has_its_function() -> None:
    assert set(POLICIES) == set(get_args(Step))


def test_a_map_is_turned_back_to_where_it_lay() -> None:
    rng = np.random.default_rng(0)
    before = rng.normal(size=(50, 2)).astype(np.float32)
    angle = 2.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([1, -1])
    new = (np.concatenate([before, rng.normal(size=(10, 2))]) @ turn + [7, -3]).astype(np.float32)
    rows = np.arange(50)
    back = turned_like(new, rows, before)
    assert np.allclose(back[rows], before, atol=1e-4)
    apart = np.linalg.norm(new[:, None] - new, axis=-1)
    assert np.allclose(np.linalg.norm(back[:, None] - back, axis=-1), apart, atol=1e-3), "no distance changes"


def test_a_map_without_two_documents_to_go_by_stays() -> None:
    places = np.ones((3, 2), dtype=np.float32)
    assert turned_like(places, np.array([1]), places[:1]) is places
