"""Numbers of rows: few are wasted, and those that are taken give every row the bits that it has among many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import alone, assert_close, documents, encoder_of
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from moee_topics.encode import MoEEncoder
from moee_topics.encode.models import experts, row_counts
from moee_topics.encode.models.row_counts import CANDIDATES, MULTIPLE, Product, RowCounts

EVERY = RowCounts(tuple(CANDIDATES))
NO_FILLER = RowCounts(tuple(range(1, 5000)))


def test_at_most_a_quarter_is_filled_up_where_all_candidates_round_alike() -> None:
    assert all(rows <= EVERY.filled(rows) <= 1.25 * rows for rows in range(1, 5000))
    assert len(CANDIDATES) < 40


def test_without_any_that_rounds_alike_rows_are_multiples_of_64() -> None:
    assert [RowCounts().filled(rows) for rows in (1, 64, 65, 1000)] == [64, 64, 128, 1024]
    assert [RowCounts((16, 80)).filled(rows) for rows in (1, 16, 17, 64, 70, 81)] == [16, 16, 64, 64, 80, 128]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("transposed", "biased"), [(False, False), (True, False), (False, True)])
def test_rows_of_the_numbers_that_were_found_are_those_among_64(
    dtype: torch.dtype, transposed: bool, biased: bool
) -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(96, 200, generator=generator).to(dtype)
    states = torch.randn(CANDIDATES[-1], 200, generator=generator).to(dtype)
    bias = torch.randn(96, generator=generator).to(dtype) if biased else None

    def multiply(rows: Tensor) -> Tensor:
        return rows @ weight.T.contiguous() if transposed else functional.linear(rows, weight, bias)

    expected = torch.cat([multiply(part) for part in states.split(MULTIPLE)])
    for rows in row_counts.counts_for([Product(96, 200, dtype, transposed, biased)]).alike:
        assert torch.equal(multiply(states[:rows]), expected[:rows]), rows


def test_a_kernel_that_adds_few_rows_in_another_order_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_another_order(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if len(states) >= 16:
            return states @ weight.T
        return states.flip(1) @ weight.flip(1).T

    monkeypatch.setattr(row_counts.functional, "linear", in_another_order)
    product = Product(160, 321, torch.bfloat16)
    assert min(row_counts._alike.__wrapped__(product, 1)) >= 16


def flops(encoder: MoEEncoder, counts: RowCounts, texts: list[str]) -> int:
    """What the products of a model of this encoder add up to where rows are filled up to these numbers."""
    encoder.row_counts = counts
    for _, layer in experts.experts_modules(encoder.model):
        layer.row_counts = counts
    with FlopCounterMode(display=False) as counter:
        encoder.encode(texts)
    return counter.get_total_flops()


def test_one_word_and_few_documents_cost_little_more_than_their_own_tokens(tiny_olmoe: Path) -> None:
    encoder = encoder_of(tiny_olmoe, dtype="bfloat16")
    for texts in (["word"], documents(4)):
        own = flops(encoder, NO_FILLER, texts)
        assert own < flops(encoder, EVERY, texts) <= 1.3 * own
    assert flops(encoder, RowCounts(), ["word"]) > 2 * flops(encoder, NO_FILLER, ["word"])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_word_has_the_same_vector_alone_and_among_others_whatever_fills_the_rows(
    tiny_olmoe: Path, dtype: str
) -> None:
    encoder = encoder_of(tiny_olmoe, dtype=dtype)
    words = [f"{letter} word" for letter in "abcdefghijk"] + documents(3)
    filled = encoder.encode(words)
    assert_close(filled, alone(encoder, words), 0 if dtype == "bfloat16" else 1e-6)
    flops(encoder, RowCounts(), ["word"])  # from here on multiples of 64
    assert_close(filled, encoder.encode(words), 0 if dtype == "bfloat16" else 1e-6)


def test_layers_and_packs_of_a_loaded_model_have_numbers_of_their_own(tiny_olmoe: Path) -> None:
    encoder = encoder_of(tiny_olmoe, dtype="bfloat16")
    layers = [layer for _, layer in experts.experts_modules(encoder.model)]
    assert all(set(layer.row_counts.alike) <= set(CANDIDATES) for layer in layers)
    assert encoder.row_counts == experts.row_counts_of(encoder.model)
    assert np.isfinite(encoder.encode(["word"]).hidden_states).all()
