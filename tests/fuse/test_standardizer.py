"""Standardizing: mean 0 and deviation 1 by statistics that forget their blocks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fusion_doubles import embeddings, no_routers

from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError
from moee_topics.fuse.standardizer import Standardizer


def plain_standardized(block: np.ndarray) -> np.ndarray:
    block = block.astype(np.float64)
    return (block - block.mean(axis=0)) / block.std(axis=0)


@pytest.mark.parametrize("cut", [1, 3, 7, 64, 1000])
def test_the_statistics_do_not_depend_on_the_blocks(cut: int) -> None:
    documents = embeddings(1000)
    standardizer = Standardizer.fit(documents[start : start + cut] for start in range(0, 1000, cut))
    hidden, routing = standardizer.transform(documents)
    np.testing.assert_allclose(hidden, plain_standardized(documents.hidden_states), atol=1e-6)
    np.testing.assert_allclose(routing, plain_standardized(documents.routing_weights.reshape(1000, 12)), atol=1e-6)


def test_more_rows_than_one_pass_takes_are_the_same() -> None:
    documents = embeddings(10_000)
    hidden, _ = Standardizer.fit([documents]).transform(documents)
    np.testing.assert_allclose(hidden, plain_standardized(documents.hidden_states), atol=1e-6)


def test_a_large_offset_costs_no_accuracy() -> None:
    generator = np.random.default_rng(1)
    hidden = generator.normal(1e6, 1.0, (500, 3))
    documents = Embeddings(hidden, np.zeros((500, 0, 0)))
    standardizer = Standardizer.fit(documents[start : start + 7] for start in range(0, 500, 7))
    np.testing.assert_allclose(standardizer.transform(documents)[0], plain_standardized(hidden), atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -1234.5, 6e4])
def test_a_constant_dimension_becomes_zero(value: float) -> None:
    documents = embeddings(99)
    hidden = documents.hidden_states.astype(np.float32)
    hidden[:, 2] = value
    constant = Embeddings(hidden, documents.router_logits)
    standardizer = Standardizer.fit(constant[start : start + 10] for start in range(0, 99, 10))
    got, _ = standardizer.transform(constant)
    assert not got[:, 2].any()
    assert np.isfinite(got).all()


def test_one_document_is_standardized_like_among_others() -> None:
    documents = embeddings(50)
    standardizer = Standardizer.fit([documents])
    whole = standardizer.transform(documents)
    for block, single in zip(whole, standardizer.transform(documents[7:8]), strict=True):
        np.testing.assert_array_equal(single[0], block[7])


def test_documents_of_another_model_are_refused() -> None:
    standardizer = Standardizer.fit([embeddings(5)])
    with pytest.raises(InputError, match=r"Got 3 dimensions.* have 6"):
        standardizer.transform(no_routers())
    with pytest.raises(InputError, match="different models"):
        Standardizer.fit([embeddings(5), no_routers()])
    with pytest.raises(InputError, match="at least one document"):
        Standardizer.fit([])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_are_refused(value: float) -> None:
    hidden = embeddings(5).hidden_states.copy()
    hidden[3, 1] = value
    with pytest.raises(InputError, match="NaN or infinity"):
        Standardizer.fit([replace(embeddings(5), hidden_states=hidden)])


def test_damaged_statistics_are_an_error_and_no_endless_numbers() -> None:
    documents = embeddings(20)
    standardizer = Standardizer.fit([documents])
    assert standardizer.hidden_states is not None
    standardizer.hidden_states.scale[0] = 1e-300  # as one flipped bit of its exponent leaves it
    with pytest.raises(InputError, match="statistics of the hidden states are damaged"):
        standardizer.transform(documents)
