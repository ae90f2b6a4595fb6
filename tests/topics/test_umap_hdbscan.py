"""Copies of documents: they change neither UMAP nor HDBSCAN, and a fit is the same in every process."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hdbscan import HDBSCAN
from umap import UMAP
from vector_clouds import cloud, with_copies

from moee_topics.topics.umap_hdbscan import DistinctHDBSCAN, DistinctUMAP

FIT = """
import sys
sys.path[:0] = {paths!r}
from umap.umap_ import smooth_knn_dist
from test_umap_hdbscan import fitted
for copies in {copies}:
    print(fitted(copies))
print(smooth_knn_dist.stats.cache_misses.total())
"""
COPIES = (0, 1, 120, 1080)  # 0, 1, 50 and 90 percent of the documents


def reduce(X: np.ndarray, kind: type[UMAP] = DistinctUMAP) -> np.ndarray:
    return kind(n_neighbors=10, n_components=2, n_epochs=30, random_state=1, n_jobs=1).fit_transform(X)  # type: ignore[no-any-return]


def fitted(copies: int) -> str:
    """A digest of places and clusters."""
    X = with_copies(cloud(), copies)
    places = reduce(X)
    labels = DistinctHDBSCAN(min_cluster_size=8).fit(places).labels_
    return hashlib.blake2b(places.tobytes() + labels.tobytes(), digest_size=8).hexdigest()


def test_without_copies_everything_is_as_upstream_has_it() -> None:
    X = cloud()
    np.testing.assert_array_equal(reduce(X), reduce(X, UMAP))
    ours, theirs = DistinctHDBSCAN(min_cluster_size=8).fit(X), HDBSCAN(min_cluster_size=8).fit(X)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_array_equal(ours.probabilities_, theirs.probabilities_)


@pytest.fixture(scope="module")
def fitted_elsewhere() -> list[str]:
    """What one other process says, for most of its time goes into importing UMAP."""
    fitted(0)  # compiles, and keeps it
    code = FIT.format(paths=[str(Path(__file__).parent), str(Path(__file__).parents[1])], copies=COPIES)
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize("copies", COPIES)
def test_a_fit_is_the_same_in_another_process_however_many_texts_repeat(
    copies: int, fitted_elsewhere: list[str]
) -> None:
    assert fitted_elsewhere[COPIES.index(copies)] == fitted(copies)


def test_another_process_compiles_nothing_again(fitted_elsewhere: list[str]) -> None:
    assert fitted_elsewhere[-1] == "0"


def test_copies_have_the_place_and_the_cluster_of_their_original_and_move_nobody() -> None:
    X = cloud()
    alone, among = reduce(X), reduce(with_copies(X, 200))
    np.testing.assert_array_equal(among[:120], alone)
    np.testing.assert_array_equal(among[120:], np.repeat(alone[:1], 200, axis=0))
    labels = DistinctHDBSCAN(min_cluster_size=8).fit(among).labels_
    assert set(labels[120:]) == {labels[0]}


def test_an_outlier_that_is_repeated_often_enough_is_a_cluster_of_its_own() -> None:
    X = np.concatenate([cloud(), np.full((1, 8), 90.0, np.float32)])
    clusterer = DistinctHDBSCAN(min_cluster_size=8, prediction_data=True)
    assert clusterer.fit(X).labels_[-1] == -1
    repeated = np.concatenate([X, np.repeat(X[-1:], 30, axis=0)])
    labels = clusterer.fit(repeated).labels_
    assert set(labels[120:]) == {labels.max()} and labels.max() == len(set(labels[:120]) - {-1})
    memberships = clusterer.membership_vectors()
    assert memberships.shape == (len(repeated), labels.max() + 1) and (memberships[120:, -1] == 1).all()


def test_fewer_distinct_rows_than_neighbours_are_still_placed() -> None:
    places = reduce(with_copies(cloud(6, 2), 100))
    assert places.shape == (106, 2) and np.isfinite(places).all() and len(np.unique(places, axis=0)) == 6
