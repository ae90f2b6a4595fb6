from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from moee_topics.errors import InputError
from moee_topics.evaluate.view_scores import MEASURES, ViewScores, mean_of_draws, rank_correlations, score_view

LABELS = [str(i % 3) for i in range(90)]


def cloud(noise: float) -> NDArray[np.float32]:
    """Three directions, and noise."""
    rng = np.random.default_rng(0)
    return (np.eye(3, 8)[[int(label) for label in LABELS]] + noise * rng.normal(size=(90, 8))).astype(np.float32)


def test_clusters_of_classes_that_lie_apart_are_the_classes() -> None:
    scores = score_view(cloud(0.01), LABELS, seeds=[0, 1])
    assert (scores.ami, scores.ari, scores.deviation) == pytest.approx((1.0, 1.0, 0.0))
    assert scores.measures["stability"] == pytest.approx(1.0) and scores.measures["silhouette"] > 0.9


def test_vectors_of_noise_have_nothing_to_do_with_the_labels_and_are_not_stable() -> None:
    noise = np.random.default_rng(1).normal(size=(90, 8)).astype(np.float32)
    clear, blurred = score_view(cloud(0.05), LABELS, seeds=[0]), score_view(noise, LABELS, seeds=[0])
    assert blurred.ami is not None and abs(blurred.ami) < 0.15
    assert all(clear.measures[name] > blurred.measures[name] for name in ("stability", "silhouette", "separation"))


def test_a_view_that_is_the_same_for_all_documents_is_scored_as_one_without_clusters() -> None:
    scores = score_view(np.ones((90, 8), np.float32), LABELS, seeds=[0, 1])
    assert scores.ami == pytest.approx(0.0, abs=1e-9) and scores.measures["silhouette"] == 0.0
    assert np.isfinite([*scores.measures.values()]).all()
    assert scores.measures["separation"] < score_view(cloud(5.0), LABELS, seeds=[0]).measures["separation"]


def test_isotropy_is_one_less_the_mean_cosine() -> None:
    vectors = cloud(0.3) + 2.0
    rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = score_view(vectors, None, seeds=[0]).measures["isotropy"]
    assert found == pytest.approx(1 - float((rows @ rows.T).mean()), abs=1e-5)


def test_the_length_of_a_vector_does_not_matter_and_zeros_are_borne() -> None:
    vectors = cloud(0.1)
    stretched = vectors * np.linspace(1, 50, 90)[:, None].astype(np.float32)
    one, other = score_view(vectors, LABELS, seeds=[0]), score_view(stretched, LABELS, seeds=[0])
    assert one.measures == pytest.approx(other.measures, abs=1e-3)
    vectors[0] = 0
    assert np.isfinite(list(score_view(vectors, LABELS, seeds=[0]).measures.values())).all()


def test_without_labels_there_are_measures_alone() -> None:
    scores = score_view(cloud(0.1), None, seeds=[0])
    assert (scores.ami, scores.ari, scores.deviation) == (None, None, None) and set(scores.measures) == set(MEASURES)


@pytest.mark.parametrize("labels", [["a"] * 90, [str(i) for i in range(90)]])
def test_labels_that_make_no_comparison_are_refused(labels: list[str]) -> None:
    with pytest.raises(InputError, match="two classes or more"):
        score_view(cloud(0.1), labels, seeds=[0])


def test_a_measure_that_orders_views_as_the_labels_do_has_one_and_the_other_way_round_minus_one() -> None:
    def scores(ami: float | None, rising: float) -> ViewScores:
        return ViewScores(ami, ami, 0.0, {**dict.fromkeys(MEASURES, 0.5), "stability": rising, "isotropy": -rising})

    found = rank_correlations([scores(0.1, 1), scores(0.4, 3), scores(0.2, 2)])
    assert (found["stability"], found["isotropy"], found["silhouette"]) == pytest.approx((1, -1, 0))
    assert rank_correlations([scores(None, 1)] * 4) == {}


def test_the_deviation_of_several_draws_is_that_of_all_their_clusterings() -> None:
    rng = np.random.default_rng(0)
    ami = rng.uniform(size=(3, 4))  # three draws of four seeds
    measures = [dict.fromkeys(MEASURES, float(draw)) for draw in range(3)]
    draws = [
        ViewScores(float(row.mean()), float(row.mean()), float(row.std()), of_draw)
        for row, of_draw in zip(ami, measures, strict=True)
    ]
    found = mean_of_draws(draws)
    assert (found.ami, found.ari, found.deviation) == pytest.approx((ami.mean(), ami.mean(), ami.std()))
    assert found.measures == dict.fromkeys(MEASURES, 1.0) and mean_of_draws(draws[:1]) == draws[0]
    unlabelled = mean_of_draws([ViewScores(None, None, None, of_draw) for of_draw in measures])
    assert (unlabelled.ami, unlabelled.measures) == (None, found.measures)
