"""Routing whose topics are known: one expert each for three of five topics, a load as uneven as a real one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

N, L, E, K = 600, 3, 8, 5


PLANTED = {0: (1, 2), 1: (2, 7), 2: (1, 5)}


def uneven_routing(rng: np.random.Generator, documents: int = N) -> NDArray[np.float32]:
    """Routing that says nothing of any topic, with a load as uneven as a real router's."""
    load = np.linspace(0.3, 3, E)
    return rng.dirichlet(load, size=(documents, L)).astype(np.float32)


def planted(rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Topics 0, 1 and 2 each send weight to one expert of their own; topics 3, 4 and the outliers to none."""
    weights, topics = uneven_routing(rng), rng.integers(-1, K, N)
    for topic, (layer, expert) in PLANTED.items():
        weights[topics == topic, layer, expert] += 0.6
    return weights / weights.sum(axis=-1, keepdims=True), topics
