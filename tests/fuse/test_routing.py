"""The block of routing weights: its scores, and the weights of experts and layers that a corpus gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moee_topics.embeddings import Embeddings, softmax
from moee_topics.errors import InputError
from moee_topics.fuse import Fusion, RoutingBlock
from moee_topics.fuse.blocks import flat_routing
from moee_topics.fuse.routing import ROUTER_SCORES, Usage, entropy

LOGITS = np.log(np.array([[[1.0, 2.0, 5.0], [4.0, 4.0, 2.0]], [[6.0, 3.0, 1.0], [2.0, 4.0, 4.0]]], dtype=np.float32))
"""Two documents, two layers, three experts, whose softmax is 0.1, 0.2, 0.5 … over its sum."""
TWO = Embeddings(np.ones((2, 4), np.float32), LOGITS)


def documents(count: int = 40, seed: int = 0) -> Embeddings:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, 3, 5)).astype(np.float32) * np.array([0.1, 1.0, 3.0], np.float32)[:, None]
    return Embeddings(rng.normal(size=(count, 4)).astype(np.float32), logits)


def test_each_kind_of_scores_is_what_its_name_says() -> None:
    scores = {name: score(TWO, 2) for name, score in ROUTER_SCORES.items()}
    np.testing.assert_array_equal(scores["softmax"], softmax(LOGITS))
    np.testing.assert_array_equal(scores["logits"], LOGITS)
    np.testing.assert_allclose(scores["top_k"][0], [[0, 2 / 7, 5 / 7], [0.5, 0.5, 0]], atol=1e-6)
    assert scores["multi_hot"].tolist() == [[[0, 1, 1], [1, 1, 0]], [[1, 1, 0], [0, 1, 1]]]


def test_of_experts_that_tie_the_first_is_taken_and_all_where_k_is_more() -> None:
    assert ROUTER_SCORES["multi_hot"](TWO, 1)[:, 1].tolist() == [[1, 0, 0], [0, 1, 0]]
    assert (ROUTER_SCORES["multi_hot"](TWO, 9) == 1).all()
    np.testing.assert_allclose(ROUTER_SCORES["top_k"](TWO, 9), softmax(LOGITS), atol=1e-6)


@pytest.mark.parametrize("scores", ROUTER_SCORES)
def test_a_fusion_puts_the_scores_in_the_place_of_the_routing_weights(scores: Any) -> None:
    fusion = Fusion("routing_weights", standardize="none", routing=RoutingBlock(scores, 2))
    np.testing.assert_allclose(fusion.transform(TWO), ROUTER_SCORES[scores](TWO, 2).reshape(2, -1), atol=1e-6)


def test_an_expert_that_every_document_uses_counts_nothing_with_idf() -> None:
    everywhere = np.zeros((9, 1, 3), np.float32)
    everywhere[:, :, 0] = 5.0
    everywhere[3:6, :, 1] = 5.0
    usage = Usage()
    usage.update(Embeddings(np.ones((9, 1), np.float32), everywhere))
    idf = np.array([np.log(10 / 10), np.log(10 / 4), np.log(10 / 1)])
    np.testing.assert_allclose(usage.idf()[0], idf / idf.mean(), atol=1e-6)


def test_entropy_and_information_are_those_of_their_definition_whatever_the_cut_into_blocks() -> None:
    found = documents()
    usage = Usage()
    for part in (found[:7], found[7:]):
        usage.update(part)
    weights = softmax(found.router_logits).astype(np.float64)
    mean_entropy = -(weights * np.log(weights)).sum(-1).mean(0)
    np.testing.assert_allclose(usage.mean_entropy(), mean_entropy / np.log(5), atol=1e-6)
    apart = entropy(weights.mean(0)) - mean_entropy
    np.testing.assert_allclose(usage.information(), apart / apart.mean(), atol=1e-6)
    assert (np.diff(usage.information()) > 0).all(), "sharper layers tell documents apart"


@pytest.mark.parametrize("standardize", ["none", "both"])
@pytest.mark.parametrize("filters", [(), ("center",)])
def test_experts_and_layers_are_weighed_after_the_block_is_scaled(standardize: Any, filters: Any) -> None:
    found = documents()
    plain = Fusion("routing_weights", standardize=standardize, filters=filters).fit([found])
    weighed = Fusion(
        "routing_weights",
        standardize=standardize,
        filters=filters,
        routing=RoutingBlock(experts="idf", layers=(0, 1, 2)),
    ).fit(iter([found[:11], found[11:]]))
    usage = Usage()
    usage.update(found)
    factors = (usage.idf() * np.array([0.0, 1.0, 2.0])[:, None]).reshape(1, -1)
    np.testing.assert_allclose(weighed.transform(found), plain.transform(found) * factors, atol=1e-4)


def test_what_is_learnt_is_saved_and_stays_with_another_alpha(tmp_path: Path) -> None:
    found = documents()
    fusion = Fusion(routing=RoutingBlock("logits", experts="idf", layers="information"))
    assert fusion.needs_fit and fusion.learns
    fitted = fusion.fit([found])
    fitted.save(tmp_path / "fusion.safetensors")
    loaded = Fusion.load(tmp_path / "fusion.safetensors")
    assert loaded == fitted and not loaded.needs_fit
    np.testing.assert_array_equal(loaded.transform(found), fitted.transform(found))
    again = fusion.with_alpha(2.0).fitted_like(fitted)
    np.testing.assert_array_equal(again.transform(found), fitted.with_alpha(2.0).transform(found))
    np.testing.assert_array_equal(fitted.canonical().transform(found), fitted.transform(found))
    with pytest.raises(InputError, match="scores of routers"):
        Fusion().fitted_like(fitted)


def test_a_fusion_says_which_scores_it_takes() -> None:
    routing = RoutingBlock("multi_hot", 4, "idf", "information")
    assert Fusion("routing_weights", routing=routing).label == "RW multi_hot 4 idf information z"
    assert Fusion("hidden_states", routing=routing).canonical() == Fusion("hidden_states").canonical()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scores": "max"}, "softmax, logits, top_k, multi_hot"),
        ({"experts": "tfidf"}, "'equal' or 'idf'"),
        ({"layers": (1.0, -1.0)}, "a weight of 0 or more"),
        ({"layers": ()}, "a weight of 0 or more"),
        ({"layers": "entropy"}, "'equal' or 'information'"),
        ({"layers": ("x", 1.0)}, "a weight of 0 or more"),
        ({"layers": 3}, "a weight of 0 or more"),
        ({"layers": (1.0, float("nan"))}, "a weight of 0 or more"),
        ({"top_k": 0}, "a whole number of 1 or more"),
        ({"top_k": 2.5}, "a whole number of 1 or more"),
    ],
)
def test_what_there_is_not_is_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RoutingBlock(**options)


def test_weights_of_layers_are_nothing_to_hidden_states_alone() -> None:
    weighed = RoutingBlock(layers=(1.0, 2.0), experts="idf")  # of three layers
    alone = Fusion("hidden_states", standardize="none", routing=weighed)
    assert not alone.learns and not alone.needs_fit
    standardized = Fusion("hidden_states", routing=weighed).fit([documents()])
    plain = Fusion("hidden_states").fit([documents()])
    np.testing.assert_array_equal(standardized.transform(documents()), plain.transform(documents()))
    np.testing.assert_array_equal(
        Fusion("hidden_states", routing=weighed).fitted_like(plain).transform(documents()), plain.transform(documents())
    )


def test_weights_of_other_layers_than_the_model_has_are_refused() -> None:
    with pytest.raises(InputError, match="2 weights, and the model has 3 MoE layers"):
        Fusion(routing=RoutingBlock(layers=(1.0, 2.0))).fit([documents()])


def test_a_model_without_routers_is_told_as_ever() -> None:
    nothing = Embeddings(np.ones((3, 2), np.float32), np.zeros((3, 0, 0), np.float32))
    for scores in ROUTER_SCORES:
        assert flat_routing(RoutingBlock(scores).read(nothing)).shape == (3, 0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no routers"):
        Fusion(standardize="none").transform(nothing)
