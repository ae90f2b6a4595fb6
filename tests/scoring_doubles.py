"""A stand-in for MoEEncoder that needs no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from moee_topics.embeddings import Embeddings
from moee_topics.store import content_hash


@dataclass
class HashEncoder:
    """Stands in for MoEEncoder: numbers that depend on the text alone, and a list of what it was asked to encode."""

    name: str = "double/hash"
    dimensions: int = 12
    layers: int = 2
    experts: int = 4
    seen: list[str] = field(default_factory=list)

    @property
    def spec(self) -> Any:
        key = {"model": self.name, "revision": "1", "prompt": "{text}", "max_tokens": 64}
        return SimpleNamespace(key=lambda: key)

    def encode(self, texts: Sequence[str]) -> Embeddings:
        self.seen.extend(texts)
        rows = [self._row(text) for text in texts]
        routers = np.stack([row[self.dimensions :] for row in rows]).reshape(-1, self.layers, self.experts)
        return Embeddings(np.stack([row[: self.dimensions] for row in rows]), routers)

    def _row(self, text: str) -> np.ndarray:
        seed = int.from_bytes(content_hash(text)[:8], "little")
        size = self.dimensions + self.layers * self.experts
        return np.random.default_rng(seed).normal(size=size).astype(np.float16).astype(np.float32)
