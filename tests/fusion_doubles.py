"""Documents of random numbers, with routers and without, and their plain fusion."""

from __future__ import annotations

import numpy as np

from moee_topics.embeddings import Embeddings
from moee_topics.fuse.fusion import Fusion


def embeddings(documents: int = 20, seed: int = 0, scale: float = 3.0) -> Embeddings:
    generator = np.random.default_rng(seed)
    hidden = generator.normal(1.0, scale, (documents, 6)).astype(np.float16)
    return Embeddings(hidden, generator.normal(0, 2, (documents, 3, 4)).astype(np.float16))


def no_routers() -> Embeddings:
    return Embeddings(np.ones((2, 3), np.float32), np.zeros((2, 0, 0), np.float32))


def fuse(documents: Embeddings, method: str, alpha: float = 1.0) -> np.ndarray:
    return Fusion(method, alpha, "none").transform(documents)  # type: ignore[arg-type]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def cosines_of(rows: np.ndarray) -> np.ndarray:
    """The cosines of all pairs of different rows."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines: np.ndarray = (unit @ unit.T)[np.triu_indices(len(rows), 1)]
    return cosines
