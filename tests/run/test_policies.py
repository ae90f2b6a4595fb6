"""What an update does with topics, by a double whose topics are known by eye."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest

from moee_topics.run import policies
from moee_topics.run.policies import POLICIES, Step, Update, grow, turned_like
from moee_topics.topics import TopicResult, Voters


def test_every_policy_has_its_function() -> None:
    assert set(POLICIES) == set(get_args(Step))


def test_new_documents_are_no_candidates_by_their_words_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of a fusion are learnt from the old documents: by them new ones lie far from these, and together."""
    read, is_new = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32), np.arange(400) >= 300
    words = np.where(is_new, 9.0, 0.0).astype(np.float32)[:, None]
    topics = np.zeros(400, dtype=np.int64)
    candidates: list[int] = []

    def grown(X: Any, topics: Any, rows: Any, *_: Any) -> Any:
        candidates.append(len(rows))
        assert X.shape == (400, 4), "clusters are made with the words all the same"
        return topics

    monkeypatch.setattr(policies, "grown_topics", grown)
    monkeypatch.setattr(policies, "replace_documents", lambda *_: None)
    for without in (lambda X: X[:, :3], lambda X: X):
        made: dict[str, Any] = {"X": np.hstack([read, words]), "is_new": is_new}
        made["voters"] = Voters.fit(made["X"][~is_new], topics[~is_new])
        made["assigned"] = TopicResult(
            [str(row) for row in range(400)],
            [""] * 400,
            topics,
            probabilities=np.ones(400, dtype=np.float32),
            positions=np.zeros((400, 2), dtype=np.float32),
            topic_info=(),
        )
        double: Any = SimpleNamespace(settings=None, without_words=without)
        update = Update(double, double, double, double, next_topic=1)
        vars(update).update(made)
        grow(update)
    assert candidates[0] < 25 and candidates[1] == is_new.sum()


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
