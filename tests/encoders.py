"""Encoders of tiny checkpoints, documents for them, and embeddings compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from moee_topics.embeddings import Embeddings
from moee_topics.encode.encoder import MoEEncoder

WORDS = ("the", "court", "heard", "a", "case", "while", "space", "probes", "orbit", "planets", "and", "goalie", "puck")


def documents(count: int = 24) -> list[str]:
    """Texts of 1 to some 60 words, all different."""
    generator = np.random.default_rng(0)
    sizes = np.clip(generator.lognormal(2.2, 1.0, count).astype(int), 1, 60)
    return [f"{i} " + " ".join(generator.choice(WORDS, size)) for i, size in enumerate(sizes)]


def encoder_of(folder: Path, **options: object) -> MoEEncoder:
    return MoEEncoder.from_pretrained(folder, **{"dtype": "float32", "max_tokens": 256, **options})  # type: ignore[arg-type]


def assert_close(one: Embeddings, other: Embeddings, tolerance: float) -> None:
    np.testing.assert_allclose(one.hidden_states, other.hidden_states, rtol=0, atol=tolerance)
    np.testing.assert_allclose(one.router_logits, other.router_logits, rtol=0, atol=tolerance)
    np.testing.assert_allclose(one.routing_weights, other.routing_weights, rtol=0, atol=tolerance)


def assert_same_bits(one: Embeddings, other: Embeddings) -> None:
    assert_close(one, other, 0.0)


def alone(encoder: MoEEncoder, texts: list[str]) -> Embeddings:
    return Embeddings.concatenate([encoder.encode(text) for text in texts])
