"""Choosing alpha: it finds the block that carries the structure, from labels or from pairs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError
from moee_topics.fuse.alpha import grid_search_alpha, grid_search_alpha_pairs
from moee_topics.fuse.fusion import Fusion

CLASSES = 4


def fuse(embeddings: Embeddings, method: str) -> np.ndarray:
    return Fusion(method, standardize="none").transform(embeddings).astype(np.float64)  # type: ignore[arg-type]


def documents(hidden: float, routing: float, count: int = 200, seed: int = 0) -> tuple[Embeddings, np.ndarray]:
    """Documents of four classes, each block showing the class as strongly as asked, in noise of size one."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    centres = np.eye(CLASSES)[labels]
    states = np.hstack([hidden * centres, np.zeros((count, 4))]) + generator.normal(size=(count, 8))
    logits = (routing * np.hstack([centres, centres]) + generator.normal(size=(count, 8))).reshape(count, 2, CLASSES)
    return Embeddings(states, logits), labels


def test_labels_choose_the_block_that_shows_the_classes() -> None:
    alphas = (0.0, 1.0, 50.0)
    with_hidden, labels = documents(8.0, 0.0)
    assert grid_search_alpha(with_hidden, labels, alphas, "ami").alpha < 50.0
    with_routing, labels = documents(0.0, 8.0)
    choice = grid_search_alpha(with_routing, labels, alphas, "v_measure")
    assert choice.alpha > 0.0
    assert choice.scores[choice.alpha] == max(choice.scores.values()) > 0.9
    assert choice.scores[0.0] < 0.3


def test_pairs_choose_by_spearman_with_the_known_scores() -> None:
    generator = np.random.default_rng(0)
    first, _ = documents(0.0, 1.0, count=120)
    noise = generator.uniform(0, 6, 120)
    second = Embeddings(
        generator.normal(size=first.hidden_states.shape),
        first.router_logits + noise[:, None, None] * generator.normal(size=(120, 2, CLASSES)),
    )
    choice = grid_search_alpha_pairs(first, second, -noise, (0.0, 1.0, 100.0))
    assert choice.alpha > 0.0
    routing = [fuse(part, "routing_weights") for part in (first, second)]
    cosines = (routing[0] * routing[1]).sum(1) / np.prod([np.linalg.norm(block, axis=1) for block in routing], axis=0)
    assert choice.scores[100.0] == pytest.approx(spearmanr(cosines, -noise).statistic, abs=0.02)


def test_ties_go_to_the_smallest_alpha() -> None:
    embeddings, labels = documents(100.0, 100.0)
    assert grid_search_alpha(embeddings, labels, (2.0, 0.5, 1.0)).alpha == 0.5


def test_input_is_checked() -> None:
    embeddings, labels = documents(1.0, 1.0, count=30)
    bare = Embeddings(np.ones((30, 2)), np.zeros((30, 0, 0)))
    for message, action in {
        "Unknown metric": lambda: grid_search_alpha(embeddings, labels, metric="purity"),  # type: ignore[arg-type]
        "at least one alpha": lambda: grid_search_alpha(embeddings, labels, ()),
        "0 or more": lambda: grid_search_alpha(embeddings, labels, (0.1, -1.0)),
        "at least 20 documents": lambda: grid_search_alpha(embeddings[:19], labels[:19]),
        "one label per document": lambda: grid_search_alpha(embeddings, labels[:5]),
        "same pairs": lambda: grid_search_alpha_pairs(embeddings, embeddings, [1.0]),
        "no routers": lambda: grid_search_alpha(bare, labels),
    }.items():
        with pytest.raises(InputError, match=message):
            action()
