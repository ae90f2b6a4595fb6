"""Topics from a sample: near those of the whole, copies together, small topics found, and what it cannot do refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fitted_topics import DOCUMENTS, LABELS, backend, vectors
from sklearn.metrics import adjusted_mutual_info_score
from vector_clouds import cloud, with_copies

from moee_topics.corpus import Document
from moee_topics.errors import InputError
from moee_topics.topics import OUTLIERS, FitSettings, TopicModel, TopicResult, fit_topics
from moee_topics.topics.sampled_clusters import SampledClusters
from moee_topics.topics.settings import ClusterSettings, LargeSettings

UMAP: dict[str, Any] = {"n_neighbors": 5, "n_components": 2, "n_epochs": 50}


def settings(sample: int, **more: Any) -> FitSettings:
    """A fit that takes so many documents as its sample, however few there are."""
    return FitSettings(umap=UMAP, hdbscan={"min_cluster_size": 8}, large=LargeSettings(5, sample), **more)


def test_every_document_gets_the_group_of_its_nearest_in_the_sample() -> None:
    X, groups = cloud(400, groups=5), np.arange(400) % 5
    clusters = SampledClusters(settings(120)).fit(X)
    assert int((~clusters.assigned_).sum()) == 120
    assert adjusted_mutual_info_score(groups, clusters.labels_) > 0.95
    assert (clusters.probabilities_[clusters.labels_ == OUTLIERS] == 0).all()
    again = SampledClusters(settings(120)).fit(X)
    np.testing.assert_array_equal(clusters.labels_, again.labels_)
    other = SampledClusters(settings(120, seed=7)).fit(X)
    assert (other.assigned_ != clusters.assigned_).any(), "another seed draws another sample"


def test_copies_of_a_document_of_the_sample_have_its_topic() -> None:
    X = with_copies(cloud(300), 60)
    labels = SampledClusters(settings(120)).fit(X).labels_
    assert len({*labels[300:].tolist(), int(labels[0])}) == 1


def test_a_topic_too_rare_for_the_sample_is_found_at_the_second_look() -> None:
    rng = np.random.default_rng(1)
    # 1,170 documents of five groups and 30 of a sixth, of which a sample of 120 holds three: too few for HDBSCAN.
    X = np.concatenate([cloud(1170, groups=5, seed=3), rng.normal(0, 1, (30, 8)) + 40]).astype(np.float32)

    def share_of_their_own_topic(clusters: SampledClusters) -> float:
        labels = clusters.fit(X).labels_
        return max(float((labels[1170:] == label).mean()) for label in set(labels[1170:]) - {*labels[:1170], OUTLIERS})

    first = SampledClusters(settings(120))
    first._look_again = lambda *_: None  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="empty"):
        share_of_their_own_topic(first)
    assert share_of_their_own_topic(SampledClusters(settings(120))) > 0.9


def test_the_map_of_all_has_near_together_what_is_near() -> None:
    X, groups = cloud(300, groups=3), np.arange(300) % 3
    clusters = SampledClusters(settings(120)).fit(X)
    places = clusters.document_map(X)
    centres = np.array([places[(groups == group) & ~clusters.assigned_].mean(axis=0) for group in range(3)])
    distances = np.linalg.norm(places[:, None] - centres[None], axis=2)
    assert places.shape == (300, 2) and (distances.argmin(axis=1) == groups).mean() > 0.95


def fit(**large: Any) -> TopicModel:
    documents = [
        Document(str(row), text, label, None) for row, (text, label) in enumerate(zip(DOCUMENTS, LABELS, strict=True))
    ]
    options: dict[str, Any] = {"umap": UMAP, "hdbscan": {"min_cluster_size": 5}, "backend": backend()}
    return fit_topics(documents, vectors(), large=LargeSettings(**large), **options)


def test_a_topic_model_of_a_sample_says_which_documents_were_assigned(tmp_path: Path) -> None:
    model = fit(documents=5, sample=len(DOCUMENTS) // 2)
    result = model.result
    assert result.assigned is not None and result.sampled == (~result.assigned).sum() >= len(DOCUMENTS) // 2
    assert adjusted_mutual_info_score(LABELS, result.topics) > 0.8
    assert result.to_pandas()["assigned"].tolist() == result.assigned.tolist()
    model.save(tmp_path / "model")
    loaded = TopicModel.load(tmp_path / "model", backend=backend())
    np.testing.assert_array_equal(loaded.result.assigned, result.assigned)
    assert loaded.settings.large == LargeSettings(5, len(DOCUMENTS) // 2)
    np.testing.assert_array_equal(loaded.predict(DOCUMENTS[:9], vectors()[:9])[0], result.topics[:9])


def test_a_corpus_that_is_not_large_or_fits_the_sample_is_fitted_whole() -> None:
    whole = fit().result
    assert whole.assigned is None and whole.sampled == len(DOCUMENTS) and "assigned" not in whole.to_pandas()
    for large in ({"documents": 0, "sample": 10}, {"documents": 5, "sample": len(DOCUMENTS)}):
        result: TopicResult = fit(**large).result
        np.testing.assert_array_equal(result.topics, whole.topics)
        assert result.assigned is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hdbscan": {"min_cluster_size": 50}}, r"large\.sample=60 .*min_cluster_size=50.*large\.sample=1000"),
        (
            {"cluster": ClusterSettings("kmeans", clusters=61)},
            r"cluster\.clusters=61 is more.*large\.sample=60.*large\.sample=610",
        ),
        ({"zeroshot_topic_list": ["a b"]}, r"topics\.zeroshot_topic_list.*large\.documents=0"),
        ({"bertopic": {"calculate_probabilities": True}}, r"calculate_probabilities.*large\.documents=0"),
    ],
)
def test_what_a_sample_cannot_do_is_refused_by_name(options: dict[str, Any], said: str) -> None:
    asked = replace(FitSettings(umap=UMAP), large=LargeSettings(5, 60), **options)
    with pytest.raises(InputError, match=said):
        fit_topics(DOCUMENTS, vectors(), asked, backend=backend())
