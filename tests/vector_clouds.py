"""Clouds of vectors around a few centres, with copies of one row where asked."""

from __future__ import annotations

import numpy as np


def cloud(rows: int = 120, groups: int = 4, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 6, (groups, 8))
    return (centres[np.arange(rows) % groups] + rng.normal(0, 1, (rows, 8))).astype(np.float32)


def with_copies(X: np.ndarray, copies: int) -> np.ndarray:
    """So many more rows, all copies of the first."""
    return np.concatenate([X, np.repeat(X[:1], copies, axis=0)])
