"""Numbers of rows: few are wasted, and those that are taken give every row the bits that it has among many."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders import alone, assert_close, documents, encoder_of
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from moee_topics.encode import MoEEncoder
from moee_topics.encode.models import experts, row_counts
from moee_topics.encode.models.row_counts import CANDIDATES, Product, RowCounts

EVERY = RowCounts(tuple(CANDIDATES))
NO_FILLER = RowCounts(tuple(range(1, 5000)))


def test_at_most_a_quarter_is_filled_up_where_all_candidates_round_alike() -> None:
    assert all(rows <= EVERY.filled(rows) <= 1.25 * rows for rows in range(1, 5000))
    assert len(CANDIDATES) < 40


def test_without_any_that_rounds_alike_rows_are_multiples_of_64() -> None:
    assert [RowCounts().filled(rows) for rows in (1, 64, 65, 1000)] == [64, 64, 128, 1024]
    assert [RowCounts((16, 80)).filled(rows) for rows in (1, 16, 17, 64, 70, 81)] == [16, 16, 64, 64, 80, 128]
    assert [RowCounts((48,), step=96).filled(rows) for rows in (1, 49, 97, 1000)] == [48, 96, 192, 1056]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("columns", [16, 96])
@pytest.mark.parametrize(("transposed", "biased"), [(False, False), (True, False), (False, True)])
def test_a_row_is_the_same_at_every_place_among_the_numbers_that_were_found(
    dtype: torch.dtype, columns: int, transposed: bool, biased: bool
) -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(columns, 200, generator=generator).to(dtype)
    states = torch.randn(10, 200, generator=generator).to(dtype)
    bias = torch.randn(columns, generator=generator).to(dtype) if biased else None

    def multiply(rows: Tensor) -> Tensor:
        return rows @ weight.T.contiguous() if transposed else functional.linear(rows, weight, bias)

    counts = row_counts.counts_for([Product(columns, 200, dtype, transposed, biased)])
    multiples = [times * counts.step for times in (1, 2, 3, 5, 7, 13, 16, 29) if dtype == torch.float32]  # not on AMX
    expected = multiply(states.repeat(100, 1)[: counts.step])[:10]
    for rows in [*counts.alike, *multiples]:
        found = multiply(states.repeat(500, 1)[:rows])
        assert torch.equal(found, expected.repeat(500, 1)[:rows]), rows


def replace_linear(monkeypatch: pytest.MonkeyPatch, others: Callable[[Tensor], Any]) -> None:
    """Of the rows of a product, which are alike, some are added up in another order."""

    def linear(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        product, other = (states.double() @ weight.double().T).to(states), states.flip(1) @ weight.flip(1).T
        product[others(states)] = other[others(states)]
        return product

    monkeypatch.setattr(row_counts.functional, "linear", linear)
    monkeypatch.setattr(row_counts, "_roundings", row_counts._roundings.__wrapped__)
    monkeypatch.setattr(row_counts, "LARGE", (384, 512))


def test_a_kernel_that_adds_few_rows_in_another_order_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_linear(monkeypatch, lambda states: slice(len(states) if len(states) < 16 else 0))
    counts = row_counts.counts_for([Product(160, 321, torch.bfloat16)])
    assert counts == RowCounts(tuple(rows for rows in CANDIDATES if rows >= 16))


def test_where_the_last_rows_of_64_are_added_in_another_order_rows_are_multiples_of_96(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replace_linear(monkeypatch, lambda states: slice(len(states) // 12 * 12, None))
    counts = row_counts.counts_for([Product(16, 64, torch.float32), Product(24, 576, torch.float32)])
    assert counts == RowCounts((12, 24, 48, 96, 192), step=96)


def test_where_all_multiples_differ_those_of_64_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_linear(monkeypatch, lambda states: slice(5))
    assert row_counts.counts_for([Product(16, 64, torch.float32)]) == RowCounts()


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
