"""The value that crosses the wall: shapes are checked once, and routing weights are a softmax or a stored mean."""

from __future__ import annotations

import numpy as np
import pytest

from moee_topics.embeddings import Embeddings, softmax
from moee_topics.errors import InputError


def embeddings(documents: int = 4, mean: bool = False) -> Embeddings:
    generator = np.random.default_rng(documents)
    logits = generator.normal(size=(documents, 2, 3)).astype(np.float32)
    weights = np.full(logits.shape, 1 / 3, np.float32) if mean else None
    return Embeddings(generator.normal(size=(documents, 5)).astype(np.float32), logits, weights)


def test_routing_weights_of_a_layer_sum_to_one() -> None:
    weights = embeddings().routing_weights
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-6)
    logits = embeddings().router_logits.astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(weights, expected, rtol=1e-5)


def test_large_and_masked_logits_do_not_overflow() -> None:
    weights = softmax(np.array([[60000.0, 0.0, -np.inf]], np.float16))
    np.testing.assert_array_equal(weights, [[1, 0, 0]])


def test_a_stored_mean_is_used_instead_of_the_softmax() -> None:
    np.testing.assert_array_equal(embeddings(mean=True).routing_weights, np.full((4, 2, 3), 1 / 3, np.float32))


def test_a_model_without_routers_has_empty_weights() -> None:
    assert Embeddings(np.ones((2, 3)), np.zeros((2, 0, 0))).routing_weights.shape == (2, 0, 0)


@pytest.mark.parametrize(
    ("hidden", "logits", "mean"),
    [
        ((4, 5), (3, 2, 3), None),
        ((4,), (4, 2, 3), None),
        ((4, 5), (4, 6), None),
        ((4, 5), (4, 2, 3), (4, 2, 2)),
        ((), (4, 2, 3), None),
    ],
)
def test_arrays_of_other_documents_are_refused(
    hidden: tuple[int, ...], logits: tuple[int, ...], mean: tuple[int, ...] | None
) -> None:
    with pytest.raises(InputError, match="same N documents"):
        Embeddings(np.zeros(hidden), np.zeros(logits), None if mean is None else np.zeros(mean))


@pytest.mark.parametrize("mean", [False, True])
def test_parts_joined_are_the_whole(mean: bool) -> None:
    whole = embeddings(7, mean)
    joined = Embeddings.concatenate([whole[:3], whole[3:4], whole[[4, 5, 6]]])
    np.testing.assert_array_equal(joined.hidden_states, whole.hidden_states)
    np.testing.assert_array_equal(joined.router_logits, whole.router_logits)
    np.testing.assert_array_equal(joined.routing_weights, whole.routing_weights)
    assert len(joined) == 7


def test_parts_of_different_models_or_poolings_are_not_joined() -> None:
    other = Embeddings(np.ones((2, 9)), np.ones((2, 2, 3)))
    for parts in ([], [embeddings(), other], [embeddings(), embeddings(mean=True)]):
        with pytest.raises(InputError, match="one model and one pooling"):
            Embeddings.concatenate(parts)
