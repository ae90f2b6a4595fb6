"""How much of the topics one layer's routing carries, beside what shuffled topics would show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from moee_topics.evaluate.expert_report import Floats, LayerInformation

Rows = NDArray[np.integer]

ROWS_PER_BLOCK = 16_384  # (rows, K) distances are in memory at a time


def layer_information(layer: int, weights: Floats, numbers: Rows, shuffled: Sequence[Rows]) -> LayerInformation:
    """What one layer carries.

    Args:
        layer: its number.
        weights: (N, E) routing weights.
        numbers: (N,) topics numbered from 0, -1 for documents without one.
        shuffled: the numbers in other orders.
    """
    top, load = weights.argmax(axis=1), weights.mean(axis=0, dtype=np.float64)
    return LayerInformation(
        layer=layer,
        information=round(_information(top, numbers), 4),
        information_shuffled=round(float(np.mean([_information(top, control) for control in shuffled])), 4),
        recovered=round(_recovered(weights, numbers), 4),
        recovered_shuffled=round(float(np.mean([_recovered(weights, control) for control in shuffled])), 4),
        balance=round(_entropy(load) / np.log(max(len(load), 2)), 4),
    )


def _information(top: Rows, numbers: Rows) -> float:
    """Mutual information of expert and topic over the topics' entropy, documents with a topic only; 0 for one topic."""
    inside = numbers >= 0
    table = np.zeros((int(top.max()) + 1, int(numbers.max()) + 1))
    np.add.at(table, (top[inside], numbers[inside]), 1)
    of_topic = _entropy(table.sum(axis=0))
    shared = _entropy(table.sum(axis=1)) + of_topic - _entropy(table.ravel())
    # Rounding leaves independent counts a little below 0.
    return max(shared, 0.0) / of_topic if of_topic > 0 else 0.0


def _entropy(weights: Floats) -> float:
    shares = weights[weights > 0] / weights.sum()
    return float(-(shares * np.log(shares)).sum())


def _recovered(weights: Floats, numbers: Rows) -> float:
    """Share of every other document whose topic's mean routing, over the rest, is nearest (square roots: Hellinger)."""
    inside = np.flatnonzero(numbers >= 0)
    # Every other document instead of a draw: the number then depends on the corpus alone.
    fit, held = inside[::2], inside[1::2]
    if len(held) == 0:
        return 0.0
    roots = np.sqrt(np.maximum(weights, 0))
    topics = int(numbers.max()) + 1
    counts = np.bincount(numbers[fit], minlength=topics)
    centres = (membership(numbers[fit], topics) @ roots[fit]) / np.maximum(counts, 1)[:, None]
    # A topic with no document in the fitted half has no centre, and must not win with a row of zeros.
    penalty = np.where(counts > 0, (centres**2).sum(axis=1), np.inf)
    hits = 0
    for start in range(0, len(held), ROWS_PER_BLOCK):
        rows = held[start : start + ROWS_PER_BLOCK]
        hits += int(((penalty - 2 * roots[rows] @ centres.T).argmin(axis=1) == numbers[rows]).sum())
    return hits / len(held)


def membership(numbers: Rows, topics: int) -> sparse.csr_matrix:
    """(K, N) ones where a document has a topic; documents numbered -1 belong nowhere."""
    rows = np.flatnonzero(numbers >= 0)
    ones = np.ones(len(rows), dtype=np.float32)
    return sparse.csr_matrix((ones, (numbers[rows].astype(np.int32), rows.astype(np.int32))), (topics, len(numbers)))
