from __future__ import annotations

import numpy as np
import pytest

from moee_topics.topics.growth import crowded_documents, grown_topics, places_on_map
from moee_topics.topics.settings import FitSettings
from moee_topics.topics.voters import Voters

SETTINGS = FitSettings(umap={"n_neighbors": 8, "n_components": 2, "n_epochs": 50}, hdbscan={"min_cluster_size": 8})


def cloud(direction: int, count: int, seed: int, width: float = 0.15, dimensions: int = 12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (np.eye(dimensions)[direction] + width * rng.normal(size=(count, dimensions))).astype(np.float32)


@pytest.fixture(scope="module")
def clouds() -> tuple[np.ndarray, np.ndarray]:
    """Two topics, two clusters among the outliers, and outliers in all directions."""
    noise = np.random.default_rng(9).normal(size=(20, 12)).astype(np.float32)
    X = np.concatenate([cloud(0, 30, 0), cloud(1, 30, 1), cloud(2, 40, 2), cloud(3, 20, 3), noise])
    return X, np.repeat([0, 4, -1], [30, 30, 80]).astype(np.int64)


def test_clusters_among_outliers_become_topics(clouds: tuple[np.ndarray, np.ndarray]) -> None:
    X, topics = clouds
    grown = grown_topics(X, topics, np.flatnonzero(topics == -1), topics < -1, SETTINGS, next_topic=9)
    assert np.array_equal(grown[:60], topics[:60])
    first, second = (np.bincount(grown[part] + 1).argmax() - 1 for part in (slice(60, 100), slice(100, 120)))
    assert (first, second) == (9, 10), "the largest comes first, from the next free number on"
    assert np.mean(grown[60:100] == 9) > 0.8 and np.mean(grown[100:120] == 10) > 0.8


def test_noise_alone_makes_no_topic() -> None:
    X = np.concatenate([cloud(0, 30, 0), np.random.default_rng(3).normal(size=(150, 12)).astype(np.float32)])
    topics = np.repeat([0, -1], [30, 150]).astype(np.int64)
    grown = grown_topics(X, topics, np.arange(30, 180), topics < -1, SETTINGS, next_topic=1)
    assert np.mean(grown[30:] == -1) > 0.8


def test_too_few_candidates_change_nothing(clouds: tuple[np.ndarray, np.ndarray]) -> None:
    X, topics = clouds
    for rows in (np.array([], dtype=np.int64), np.arange(60, 70), np.full(100, 60)):
        assert grown_topics(X, topics, rows, topics < -1, SETTINGS, 9) is topics


def test_new_documents_near_a_new_topic_join_it_and_old_ones_stay(clouds: tuple[np.ndarray, np.ndarray]) -> None:
    X, topics = clouds
    voted = topics.copy()
    voted[[62, 63, 64, 65]] = 4  # of the third cloud
    is_new = np.isin(np.arange(len(X)), [62, 63])
    grown = grown_topics(X, voted, np.flatnonzero(voted == -1), is_new, SETTINGS, next_topic=9)
    assert grown[[62, 63, 64, 65]].tolist() == [9, 9, 4, 4]


def test_crowded_is_what_has_more_new_neighbours_than_chance_gives() -> None:
    X = np.concatenate([cloud(0, 300, 0), cloud(1, 300, 1), cloud(2, 40, 2)])
    is_new = np.zeros(640, dtype=bool)
    is_new[600:] = is_new[200:250] = is_new[500:550] = True
    crowded = crowded_documents(X, is_new)
    assert crowded[600:].all() and crowded[:600].sum() < 0.3 * 100 and not crowded[~is_new].any()
    assert crowded_documents(X, np.random.default_rng(0).random(640) < 0.5).mean() < 0.1


def test_a_new_document_lies_among_its_nearest() -> None:
    X = np.concatenate([cloud(0, 20, 0), cloud(1, 20, 1)])
    positions = np.repeat([[0.0, 0.0], [10.0, 4.0]], 20, axis=0).astype(np.float32)
    places = places_on_map(Voters.fit(X, np.repeat([0, 1], 20)), positions, np.concatenate([X[:3], cloud(1, 5, 5)]))
    assert np.allclose(places, np.repeat([[0.0, 0.0], [10.0, 4.0]], [3, 5], axis=0), atol=1e-4)
