"""Where to draw topics so that like ones are side by side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

FEW_TOPICS = 8
MANY_TOPICS = 1_200  # these take 5 s on one core, and the time grows with the square
STEPS = 400
UNLIKE = 0.5
CLOSE = 0.12


def topic_layout(similarity: Floats) -> Floats:
    """(K, 2) positions that put topics of high similarity side by side; the same input gives the same picture.

    Plain t-SNE (van der Maaten and Hinton 2008) from classical scaling: a few hundred topics need no tree, and
    scikit-learn's version spends its time waiting where other programs use the cores. A handful of topics, for which
    neighbourhoods mean little, stays as scaling leaves it, and so do more topics than a picture holds.

    Args:
        similarity: (K, K) symmetric, 1 on the diagonal.
    """
    start = classical_scaling(similarity)
    if len(similarity) < FEW_TOPICS:
        # Two axes cannot hold the differences of many: topics that are unlike may then share a place.
        apart = np.linalg.norm(start[:, None] - start, axis=-1)
        unlike = np.triu(similarity < UNLIKE, k=1)
        shares_a_place = (apart[unlike] < CLOSE * max(float(apart.max(initial=0)), 1e-9)).any()
        return _on_a_circle(similarity) if shares_a_place else start
    if len(similarity) > MANY_TOPICS:
        return start
    if len(np.unique(start.round(9), axis=0)) < len(start):
        # Topics at one point have one slope: only rounding, which differs by processor, would ever part them.
        start = start + np.random.default_rng(0).normal(scale=max(float(start.std()), 1e-9), size=start.shape)
    # A third of the others at most, as in Rtsne: with more neighbours than that every topic is near every other.
    near = _neighbourhoods(np.clip(1 - similarity, 0, 2), perplexity=min(12.0, (len(similarity) - 1) / 3))
    # Small, as in the paper: from a wide start topics on the wrong side never get past the others.
    return _descend(near, start / max(float(start.std()), 1e-9) * 1e-2)


def classical_scaling(similarity: Floats) -> Floats:
    """(K, 2) positions whose inner products are nearest to a similarity; the sign of an axis is made definite."""
    topics = len(similarity)
    positions = np.zeros((topics, 2))
    if topics < 2:
        return positions
    centred = similarity - similarity.mean(0) - similarity.mean(1)[:, None] + similarity.mean()
    # The sign of an eigenvector is LAPACK's choice and differs between processors.
    values, vectors = np.linalg.eigh(centred)
    axes = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1][:, :2]
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    positions[:, : axes.shape[1]] = axes * np.where(largest < 0, -1.0, 1.0)
    return positions


def _on_a_circle(similarity: Floats) -> Floats:
    """A handful of topics around a circle, each beside the likest one that is left."""
    order, left = [0], set(range(1, len(similarity)))
    while left:
        order.append(max(left, key=lambda topic: (similarity[order[-1], topic], -topic)))
        left.remove(order[-1])
    angles = np.empty(len(order))
    angles[order] = 2 * np.pi * np.arange(len(order)) / len(order)
    return np.column_stack([np.cos(angles), np.sin(angles)])


def _neighbourhoods(distance: Floats, perplexity: float) -> Floats:
    """Joint probabilities in which every topic has about `perplexity` neighbours (bisection on the kernel's width)."""
    square = distance**2
    np.fill_diagonal(square, np.inf)  # a topic is no neighbour of its own
    square = square - square.min(axis=1, keepdims=True)  # or a topic far from all has only zeros under exp()
    low, high = np.zeros(len(square)), np.full(len(square), 1e6)
    for _ in range(60):  # halves 1e6 down to what a double can tell apart
        width = (low + high) / 2
        chance = np.exp(-square * width[:, None])
        chance /= chance.sum(axis=1, keepdims=True)
        entropy = -(chance * np.log(np.maximum(chance, 1e-12))).sum(axis=1)
        crowded = entropy > np.log(perplexity)
        low, high = np.where(crowded, width, low), np.where(crowded, high, width)
    joint = chance + chance.T
    return np.asarray(np.maximum(joint / joint.sum(), 1e-12))


def _descend(near: Floats, positions: Floats) -> Floats:
    speed, rate = np.zeros_like(positions), max(len(near) / 4, 10.0)
    for step in range(STEPS):
        # First with exaggerated pulls and little momentum (0.5, then 0.8, as in the paper), so that groups form early.
        length = (positions**2).sum(axis=1)
        kernel = 1 / (1 + length[:, None] + length - 2 * positions @ positions.T)
        np.fill_diagonal(kernel, 0)
        pull = (near * (8.0 if step < STEPS // 4 else 1.0) - kernel / kernel.sum()) * kernel
        slope = 4 * (pull.sum(axis=1)[:, None] * positions - pull @ positions)
        speed = (0.5 if step < STEPS // 4 else 0.8) * speed - rate * slope
        positions = positions + speed
        positions = positions - positions.mean(axis=0)
    return positions
