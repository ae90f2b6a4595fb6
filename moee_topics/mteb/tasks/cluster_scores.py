"""AMI and ARI for the clustering tasks of mteb, from mteb's own clusters."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, v_measure_score

from moee_topics.errors import MoEETopicsError


def add_cluster_scores(task: Any) -> Any:
    """Makes a clustering task report AMI and ARI beside V-measure, and returns it.

    mteb's newer tasks report V-measure and AMI, its older ones V-measure alone. The clusters are mteb's own.
    """
    older = hasattr(task, "_compute_metrics")
    return _score_sets(task) if older else _score_samples(task)


def _score_sets(task: Any) -> Any:
    """For mteb's older tasks, which cluster each set of documents once."""
    found: list[tuple[float, float]] = []
    compute, evaluate = task._compute_metrics, task._evaluate_subset

    def compute_metrics(labels: Any, assignment: Any, *args: Any, **kwargs: Any) -> Any:
        found.append(_ami_ari(labels, assignment))
        return compute(labels, assignment, *args, **kwargs)

    def evaluate_subset(*args: Any, **kwargs: Any) -> Any:
        found.clear()
        scores = evaluate(*args, **kwargs)
        return {**scores, **_means(found)}

    task._compute_metrics, task._evaluate_subset = compute_metrics, evaluate_subset
    return task


def _score_samples(task: Any) -> Any:
    """For mteb's newer tasks, which cluster bootstrap samples: the samples are drawn again to see their labels."""
    kept: list[Mapping[str, Any]] = []
    evaluate, save = task._evaluate_subset, task._save_task_predictions

    def save_predictions(predictions: Any, model: Any, prediction_folder: Path, **kwargs: Any) -> None:
        kept.append(predictions)
        if prediction_folder != _NOWHERE:
            save(predictions, model, prediction_folder, **kwargs)

    def evaluate_subset(model: Any, data_split: Any, *, prediction_folder: Path | None = None, **kwargs: Any) -> Any:
        kept.clear()
        state = task.rng_state.getstate()
        scores = evaluate(model, data_split, prediction_folder=prediction_folder or _NOWHERE, **kwargs)
        pairs = list(_replayed(task, data_split, state, kept[0]))
        _check_replay(pairs, scores)
        return {**scores, **_means([_ami_ari(labels, clusters) for labels, clusters in pairs])}

    task._save_task_predictions, task._evaluate_subset = save_predictions, evaluate_subset
    return task


_NOWHERE = Path("nowhere")


def _replayed(task: Any, data_split: Any, state: Any, assignments: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Labels and clusters of each bootstrap sample, drawn as mteb.abstasks.clustering draws them."""
    rng = random.Random()
    rng.setstate(state)
    labels = [label if isinstance(label, list) else [label] for label in data_split[task.label_column_name]]
    limit = task.max_document_to_embed
    if task.max_fraction_of_documents_to_embed is not None:
        limit = int(task.max_fraction_of_documents_to_embed * len(labels))
    if limit is not None:
        labels = [labels[i] for i in rng.sample(range(len(labels)), k=min(limit, len(labels)))]
    for level, samples in enumerate(assignments.values()):
        known = np.array([label[level] if len(label) > level else -1 for label in labels])
        known = known[np.array([label != -1 for label in known])]
        for clusters in samples:
            yield known[rng.choices(range(len(known)), k=task.max_documents_per_cluster)], clusters


def _check_replay(pairs: Sequence[tuple[Any, Any]], scores: Mapping[str, Any]) -> None:
    mine = np.mean([v_measure_score(labels, clusters) for labels, clusters in pairs])
    if abs(mine - scores["v_measure"]) > 1e-6:
        raise MoEETopicsError(
            "This version of mteb draws its clustering samples otherwise than 2.26, so ARI cannot be computed for its "
            "clusters. Install mteb>=2.26,<2.27."
        )


def _ami_ari(labels: Any, clusters: Any) -> tuple[float, float]:
    return float(adjusted_mutual_info_score(labels, clusters)), float(adjusted_rand_score(labels, clusters))


def _means(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    if not pairs:
        return {}
    ami, ari = np.mean(pairs, axis=0)
    return {"ami": float(ami), "ari": float(ari)}
