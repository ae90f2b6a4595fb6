"""Every way to cluster finds plain groups, keeps copies together, and refuses what it does not look at."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
from fitted_topics import LABELS, fit
from sklearn.metrics import adjusted_mutual_info_score, homogeneity_score
from vector_clouds import cloud, with_copies

from moee_topics.errors import InputError, MissingExtraError, RecipeError
from moee_topics.recipe import parse_recipe
from moee_topics.topics import FitSettings
from moee_topics.topics.clusterers import (
    CLUSTERERS,
    REDUCERS,
    build_clusterer,
    build_reducer,
    check_cluster_package,
)
from moee_topics.topics.settings import ClusterSettings
from moee_topics.topics.upstream import HDBSCAN_ARGUMENTS_OF, ClusterMethod, Reducer

HERE = [name for name, method in CLUSTERERS.items() if not method.package or importlib.util.find_spec(method.package)]


def test_the_names_of_a_recipe_are_those_of_the_tables() -> None:
    assert set(get_args(ClusterMethod)) == set(CLUSTERERS) == set(HDBSCAN_ARGUMENTS_OF)
    assert set(get_args(Reducer)) == set(REDUCERS)


@pytest.mark.parametrize("name", HERE)
def test_groups_are_found_and_copies_stay_together(name: Any) -> None:
    X, groups = with_copies(cloud(200), 40), np.arange(200) % 4
    settings = FitSettings(
        hdbscan={} if name == "kmeans" else {"min_cluster_size": 10, "min_samples": 3},
        cluster=ClusterSettings(name, "none", 4 if name == "kmeans" else None),
    )
    clusters = build_clusterer(settings).fit(build_reducer(settings, len(X)).fit_transform(X))
    assert len(clusters.labels_) == len(clusters.probabilities_) == 240
    inside = clusters.labels_[:200] != -1
    assert homogeneity_score(groups[inside], clusters.labels_[:200][inside]) > 0.9
    # EVōC parts so few documents into more groups than there are, each of one.
    assert name == "evoc" or adjusted_mutual_info_score(groups, clusters.labels_[:200]) > 0.9
    assert set(clusters.labels_[200:]) == {clusters.labels_[0]}
    assert ((clusters.probabilities_ >= 0) & (clusters.probabilities_ <= 1)).all()


@pytest.mark.parametrize("name", REDUCERS)
def test_every_reduction_keeps_near_what_is_near(name: Any) -> None:
    X, groups = cloud(120), np.arange(120) % 4
    settings = FitSettings(umap={"n_neighbors": 5, "n_epochs": 50}, cluster=ClusterSettings(reducer=name))
    places = build_reducer(settings, len(X)).fit_transform(X)
    centres = np.array([places[groups == group].mean(axis=0) for group in range(4)])
    nearest = np.linalg.norm(places[:, None] - centres[None], axis=2).argmin(axis=1)
    assert len(places) == 120 and (nearest == groups).mean() > 0.95
    assert places.shape[1] == (8 if name == "none" else 5)


def test_a_topic_model_by_k_means_has_as_many_topics_and_no_outliers() -> None:
    result = fit(representation="ctfidf", cluster=ClusterSettings("kmeans", "none", 4)).result
    assert result.topic_count == 4 and result.outlier_share == 0
    assert adjusted_mutual_info_score(LABELS, result.topics) > 0.8


def test_more_clusters_than_documents_are_refused_by_name() -> None:
    settings = FitSettings(cluster=ClusterSettings("kmeans", "none", 50))
    with pytest.raises(InputError, match=r"cluster\.clusters=50 is more than the 30 different.*large\.sample"):
        build_clusterer(settings).fit(with_copies(cloud(30), 40))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["cluster.method=kmeans"], "cluster.clusters is missing"),
        (["cluster.clusters=4"], "cluster.clusters is for cluster.method=kmeans"),
        (
            ["cluster.method=kmeans", "cluster.clusters=4", "hdbscan={min_cluster_size: 9, min_samples: 3}"],
            r"cluster.method=kmeans ignores hdbscan.min_cluster_size, hdbscan.min_samples; hdbscan=\{\} leaves",
        ),
        (
            ["cluster.method=evoc", "hdbscan.cluster_selection_method=leaf"],
            "evoc ignores hdbscan.cluster_selection",
        ),
        (["cluster.method=evoc", "bertopic.calculate_probabilities=true"], "is for cluster.method=hdbscan"),
        (["cluster.reducer=none", "umap.n_components=3"], "umap.n_components does nothing with cluster.reducer=none"),
        (["cluster.reducer=pca", "umap.min_dist=0.5"], "umap.min_dist does nothing"),
        (["cluster.method=hdbscn"], "cluster.method is 'hdbscn'"),
    ],
)
def test_what_a_method_does_not_look_at_is_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        parse_recipe({"corpus": {"source": "a.csv"}}, overrides)


def test_a_missing_package_is_named_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"moee-topics\[fast\]"):
        check_cluster_package("evoc")
    with pytest.raises(InputError, match=r"needs cuml.*docs\.rapids\.ai"):
        check_cluster_package("cuml_hdbscan")
    check_cluster_package("hdbscan")


@pytest.mark.parametrize(
    ("name", "module", "of_class"),
    [
        ("fast_hdbscan", "fast_hdbscan", "HDBSCAN"),
        ("cuml_hdbscan", "cuml.cluster", "HDBSCAN"),
        ("evoc", "evoc", "EVoC"),
    ],
)
def test_what_reaches_a_package_that_may_not_be_here(
    name: Any, module: str, of_class: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{of_class: lambda **options: asked.update(options)}))
    build_clusterer(FitSettings(hdbscan={"min_cluster_size": 12}, cluster=ClusterSettings(name), seed=7))
    if name == "evoc":
        assert asked == {"base_min_cluster_size": 12, "min_samples": 5, "random_state": 7}
    else:
        assert asked == {"min_cluster_size": 12, "min_samples": 12}
