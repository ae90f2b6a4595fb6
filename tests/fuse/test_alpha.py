"""Choosing alpha: it finds the block that carries the structure, from labels, pairs or the embeddings alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError
from moee_topics.fuse.alpha import choose_alpha, grid_search_alpha, grid_search_alpha_pairs
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


def test_stability_prefers_the_block_with_clusters() -> None:
    alphas = (0.0, 50.0)
    for hidden, routing, expected in ((9.0, 0.0, 0.0), (0.0, 9.0, 50.0)):
        embeddings, _ = documents(hidden, routing)
        choice = choose_alpha(embeddings, alphas, "stability", n_clusters=CLASSES)
        assert choice.alpha == expected
        assert choice.scores[expected] > 0.9


@pytest.mark.parametrize("criterion", ["neighbours", "spearman"])
def test_balance_is_neither_block_alone(criterion: str) -> None:
    embeddings, _ = documents(3.0, 3.0)
    fusion = Fusion().fit([embeddings])
    choice = choose_alpha(embeddings, (0.0, 1.0, 1000.0), criterion, fusion=fusion)  # type: ignore[arg-type]
    assert choice.alpha == 1.0
    assert choice.criterion == criterion


@pytest.mark.parametrize("criterion", ["neighbours", "spearman"])
def test_blocks_that_say_the_same_agree_fully_whatever_alpha(criterion: str) -> None:
    generator = np.random.default_rng(0)
    same = generator.dirichlet(np.ones(6), 50)
    embeddings = Embeddings(same, np.log(same)[:, None, :])
    choice = choose_alpha(embeddings, (0.0, 0.5, 2.0), criterion)  # type: ignore[arg-type]
    assert list(choice.scores.values()) == pytest.approx([1.0] * 3, abs=0.01)


def test_the_spearman_criterion_is_the_mean_of_both_correlations() -> None:
    embeddings, _ = documents(2.0, 2.0, count=40)
    choice = choose_alpha(embeddings, (0.5,), "spearman", seed=3)
    blocks = [fuse(embeddings, method) for method in ("hidden_states", "routing_weights")]
    units = [block / np.linalg.norm(block, axis=1, keepdims=True) for block in blocks]
    i, j = np.triu_indices(40, k=1)
    hidden, routing = ((unit @ unit.T)[i, j] for unit in units)
    fused = hidden + 0.5 * routing
    expected = (spearmanr(fused, hidden).statistic + spearmanr(fused, routing).statistic) / 2
    assert choice.scores[0.5] == pytest.approx(expected, abs=0.02)


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


@pytest.mark.parametrize("criterion", ["neighbours", "spearman", "stability"])
def test_the_same_seed_gives_the_same_choice(criterion: str) -> None:
    embeddings, _ = documents(2.0, 2.0)
    one, two = (choose_alpha(embeddings, (0.0, 1.0), criterion, seed=7, sample=80) for _ in range(2))  # type: ignore[arg-type]
    assert one == two


def test_ties_go_to_the_smallest_alpha() -> None:
    embeddings, labels = documents(100.0, 100.0)
    assert grid_search_alpha(embeddings, labels, (2.0, 0.5, 1.0)).alpha == 0.5


def test_input_is_checked() -> None:
    embeddings, labels = documents(1.0, 1.0, count=30)
    bare = Embeddings(np.ones((30, 2)), np.zeros((30, 0, 0)))
    for message, action in {
        "Unknown criterion": lambda: choose_alpha(embeddings, criterion="magic"),  # type: ignore[arg-type]
        "Unknown metric": lambda: grid_search_alpha(embeddings, labels, metric="purity"),  # type: ignore[arg-type]
        "at least one alpha": lambda: choose_alpha(embeddings, ()),
        "0 or more": lambda: choose_alpha(embeddings, (0.1, -1.0)),
        "at least 20 documents": lambda: choose_alpha(embeddings[:19]),
        "2 to 15 clusters, not 16": lambda: choose_alpha(embeddings, criterion="stability", n_clusters=16),
        "one label per document": lambda: grid_search_alpha(embeddings, labels[:5]),
        "same pairs": lambda: grid_search_alpha_pairs(embeddings, embeddings, [1.0]),
        "no routers": lambda: choose_alpha(bare),
    }.items():
        with pytest.raises(InputError, match=message):
            action()
