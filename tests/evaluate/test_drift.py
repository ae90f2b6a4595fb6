"""Drift is what chance does not explain: by made-up documents that do and do not differ."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from moee_topics.defaults import FAR
from moee_topics.errors import InputError
from moee_topics.evaluate import Drift, find_drift
from moee_topics.evaluate.drift import (
    Against,
    advise,
    far_documents,
    far_share,
    neighbour_ratio,
    routing_distance,
    topic_shares,
)
from moee_topics.evaluate.wilson import Z_99, wilson_interval

OLD, NEW = 400, 200
IS_NEW = np.arange(OLD + NEW) >= OLD
NO_DRIFT = Drift(NEW, 0.05, 0.03, Against(1.0, 1.1), Against(0.05, 0.1), [], None, {})


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def nearest(X: np.ndarray) -> np.ndarray:
    cosines = X @ X.T
    np.fill_diagonal(cosines, -2)
    return np.argsort(-cosines, axis=1)[:, :5]


def cloud(shift: float) -> np.ndarray:
    X = rng().normal(size=(OLD + NEW, 6))
    X[IS_NEW, 0] += shift
    return np.asarray(X / np.linalg.norm(X, axis=1, keepdims=True))


def test_a_document_is_far_below_the_cosine_that_five_per_cent_of_the_old_ones_have() -> None:
    own = np.linspace(0.5, 0.9, 101).astype(np.float32)
    assert far_documents(own, np.array([0.2, 0.51, 0.53, 0.9])).tolist() == [True, True, False, False]
    assert far_documents(own, own).sum() == 5


def test_without_drift_five_per_cent_are_far() -> None:
    shares = []
    for seed in range(20):
        values = np.random.default_rng(seed).normal(size=OLD + NEW)
        shares.append(far_share(values[:OLD], values[OLD:])[0])
    assert np.mean(shares) == pytest.approx(FAR, abs=0.01)


def test_the_interval_of_a_share_is_wilson_s_of_old_and_new_documents() -> None:
    few_new = np.array([0.0] * 20 + [1.0] * 80)
    share, low = far_share(np.linspace(0, 1, 100), few_new)
    assert share == 0.2 and low == pytest.approx(wilson_interval(0.2, 50, Z_99)[0])
    assert low < far_share(np.linspace(0, 1, 10_000), few_new)[1] < wilson_interval(0.2, 100, Z_99)[0]


def test_new_documents_have_new_neighbours_where_they_lie_apart() -> None:
    mixed, apart = (neighbour_ratio(nearest(cloud(shift)), IS_NEW, rng()) for shift in (0.0, 3.0))
    assert not mixed.is_beyond() and mixed.value == pytest.approx(1, abs=0.15)
    assert apart.is_beyond() and apart.value > 2


def test_new_documents_with_the_vectors_of_old_ones_have_no_new_neighbours() -> None:
    """As two texts of which a model reads the same beginning: what is compared is each different vector once."""
    for neighbours in (np.zeros((3, 2), dtype=np.int64), np.zeros((1, 0), dtype=np.int64)):
        ratio = neighbour_ratio(neighbours, np.zeros(len(neighbours), dtype=bool), rng())
        assert ratio.value == ratio.chance == 0.0


def test_topics_move_where_their_shares_differ() -> None:
    before = rng().integers(0, 4, OLD)
    same, shares = topic_shares(before, rng().integers(0, 4, NEW), rng())
    assert not same.is_beyond() and {share.topic for share in shares} == {0, 1, 2, 3}
    moved, shares = topic_shares(before, np.full(NEW, 7), rng())
    assert moved.is_beyond() and moved.value == 1.0
    assert shares[0].topic == 7 and shares[0].now == 1.0 and shares[0].z > 10


def test_routing_that_moved_is_told_from_routing_that_varies() -> None:
    weights = rng().dirichlet(np.ones(8), size=(OLD + NEW, 3))
    assert not routing_distance(weights, IS_NEW, rng()).is_beyond()
    weights[IS_NEW] = 0.7 * weights[IS_NEW] + 0.3 * np.eye(8)[0]
    found = routing_distance(weights, IS_NEW, rng())
    assert found.is_beyond() and found.value == pytest.approx(0.3 * 7 / 8, abs=0.02)


@pytest.mark.parametrize(
    ("change", "advice", "said"),
    [
        ({}, "none", ""),
        ({"far": 0.12, "far_low": 0.08}, "grow", "12% of the new documents are unlike"),
        ({"far": 0.12, "far_low": 0.04}, "none", ""),
        ({"far": 0.9, "far_low": 0.8}, "grow", "90% of the new"),  # one new subject by itself, say
        ({"far": 0.9, "far_low": 0.8, "moved": Against(0.4, 0.1)}, "refit", "40% of the documents"),
        ({"neighbours": Against(1.8, 1.1)}, "grow", "1.8 times as often"),
        ({"neighbours": Against(1.25, 1.14)}, "none", ""),  # as measured of posts by chance
        ({"neighbours": Against(1.14, 1.033)}, "grow", "1.1 times as often"),  # a fifth of them of new subjects
        ({"neighbours": Against(1.08, 1.01)}, "none", ""),
        ({"moved": Against(0.4, 0.1)}, "none", ""),  # five of twenty old subjects, which old topics hold as before
        ({"far": 0.2, "far_low": 0.13, "moved": Against(0.53, 0.47)}, "grow", "20% of the new"),
        ({"routing": Against(0.026, 0.01)}, "none", ""),  # the most of such
        ({"routing": Against(0.06, 0.01)}, "none", ""),  # enough documents of few old subjects come so far
        ({"far": 0.9, "far_low": 0.8, "routing": Against(0.06, 0.01)}, "refit", "6.0% of the routing weight"),
        ({"far": 0.9, "far_low": 0.8, "documents": 20}, "none", ""),
    ],
)
def test_advice_has_its_reason(change: dict, advice: str, said: str) -> None:
    found, reasons = advise(replace(NO_DRIFT, **change))
    assert found == advice and (said in " ".join(reasons) if said else reasons == [])


def test_few_updates_without_drift_are_advised_anything() -> None:
    given = 0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        X = draw.normal(size=(OLD + 60, 6))
        X /= np.linalg.norm(X, axis=1, keepdims=True)
        cosines, is_new = X @ X.T - 2 * np.eye(len(X)), np.arange(len(X)) >= OLD
        own, new = (cosines[rows, :OLD].max(axis=1) for rows in (slice(OLD), slice(OLD, None)))
        topics = draw.integers(0, 15, len(X))
        given += find_drift(own, new, nearest(X), is_new, topics, is_new, None, seed=seed).advice != "none"
    assert given <= 1, "four, were what chance gives in 5 of 100 draws enough for an advice"


def test_all_figures_together_are_plain_data() -> None:
    X = cloud(3.0)
    cosines = X @ X.T
    own, new = cosines[:OLD, :OLD] - 2 * np.eye(OLD), cosines[OLD:, :OLD]
    topics = np.where(IS_NEW, 1, rng().integers(0, 2, OLD + NEW))
    weights = rng().dirichlet(np.ones(4), size=(OLD + NEW, 2))
    drift = find_drift(own.max(axis=1), new.max(axis=1), nearest(X), IS_NEW, topics, IS_NEW, weights, seed=1)
    plain = json.loads(json.dumps(drift.to_json()))
    assert plain["documents"] == NEW and plain["advice"] != "none" and set(plain["topic_routing"]) == {"1"}
    assert plain["neighbours"]["value"] > plain["neighbours"]["chance"]
    with pytest.raises(InputError, match="some of both"):
        find_drift(own[0], new[0], nearest(X), IS_NEW, topics, ~IS_NEW & IS_NEW, None, seed=1)
