"""The experts' forward: every way gives the sum over each token's chosen experts, plain or quantized."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from quantized_models import last_states, load
from torch import Tensor
from torch.nn import functional
from transformers import AutoModel

from moee_topics.encode.models import experts
from moee_topics.encode.models.loading import load_model
from moee_topics.encode.quantization.bitsandbytes_blocks import KINDS
from moee_topics.encode.settings import EncoderSettings, Kind


def layer_of(model: torch.nn.Module) -> torch.nn.Module:
    return next(module for _, module in experts.experts_modules(model))


def choices(tokens: int, count: int, k: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    weights, chosen = torch.rand(tokens, count, generator=generator).topk(k)
    return chosen, weights


def plain_sum(layer: torch.nn.Module, states: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    total = torch.zeros_like(states)
    for token, (numbers, shares) in enumerate(zip(chosen.tolist(), weights, strict=True)):
        for expert, share in zip(numbers, shares, strict=True):
            gate, up = functional.linear(states[token], layer.gate_up_proj[expert]).chunk(2)
            total[token] += share * functional.linear(layer.act_fn(gate) * up, layer.down_proj[expert])
    return total


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_the_output_is_the_weighted_sum_of_the_chosen_experts(tiny_olmoe: Path, k: int) -> None:
    layer = layer_of(load_model(EncoderSettings(str(tiny_olmoe), dtype="float32"))[0])
    count = len(layer.down_proj)
    states = torch.randn(70, layer.down_proj.shape[1], generator=torch.Generator().manual_seed(0))
    chosen, weights = choices(70, count, k)
    expected = plain_sum(layer, states, chosen, weights)
    for forward in (experts.experts_forward, experts._one_by_one, experts._all_at_once):
        torch.testing.assert_close(forward(layer, states, chosen, weights), expected, atol=1e-5, rtol=1e-5)


def test_one_product_is_taken_where_half_of_the_experts_are_active(tiny_olmoe: Path) -> None:
    layer = layer_of(load_model(EncoderSettings(str(tiny_olmoe), dtype="float32"))[0])
    count = len(layer.down_proj)
    assert experts.is_mostly_active(layer, (count + 1) // 2)
    assert not experts.is_mostly_active(layer, count // 2 - 1 if count > 3 else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_grouped_forward_of_a_gpu_equals_the_one_by_one(checkpoint: Path, kind: Kind) -> None:
    layer = next(module for _, module in experts.experts_modules(load(checkpoint, kind)))
    torch.manual_seed(0)
    states, scores = torch.randn(50, 128), torch.rand(50, 2)
    chosen = torch.randint(0, 8, (50, 2))
    one_by_one = experts._one_by_one(layer, states, chosen, scores)
    torch.testing.assert_close(experts._grouped(layer, states, chosen, scores), one_by_one, atol=1e-5, rtol=1e-5)


def test_plain_experts_take_the_same_forward(checkpoint: Path) -> None:
    stock = AutoModel.from_pretrained(checkpoint, dtype=torch.float32, experts_implementation="eager")
    expected = last_states(stock)
    assert experts.use(stock) >= 1
    torch.testing.assert_close(last_states(stock), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_an_expert_gives_the_same_rows_whatever_its_neighbours(olmoe: Path, dtype: torch.dtype) -> None:
    layer = next(module for _, module in experts.experts_modules(load(olmoe, "nf4", dtype)))
    torch.manual_seed(0)
    states, scores, chosen = torch.randn(300, 128).to(dtype), torch.rand(300, 2), torch.randint(0, 8, (300, 2))
    together = experts.experts_forward(layer, states, chosen, scores)
    alone = experts.experts_forward(layer, states[:7], chosen[:7], scores[:7])
    torch.testing.assert_close(alone, together[:7], atol=0 if dtype == torch.bfloat16 else 1e-6, rtol=0)
