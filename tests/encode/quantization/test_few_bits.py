"""Weights of a module in few bits lie as their kind says, and a linear layer multiplies with what they stand for."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from moee_topics.encode.quantization import bitsandbytes_blocks, few_bits, integer_products
from moee_topics.encode.settings import FewBits, Integer, Kind


def linear(kind: FewBits) -> nn.Module:
    torch.manual_seed(0)
    return few_bits.linear_class(kind)(nn.Linear(64, 128))


@pytest.mark.parametrize("kind", [*bitsandbytes_blocks.KINDS, "fp8"])
def test_rounded_weights_lie_as_those_do_that_wait_for_their_file(kind: FewBits) -> None:
    rounded, waiting = linear(kind), linear(kind)
    few_bits.round_weights(rounded, ["weight"], kind)
    few_bits.hold_quantized(waiting, ["weight"], kind)
    for module in (rounded, waiting):
        parts = few_bits.quantized_parts(module, "weight")
        layout = {ending: (len(part), part.dtype) for ending, part in parts.items()}
        assert layout == few_bits.stored_as((128, 64), kind)
        assert (module.quantized_kind, module.quantized_shapes) == (kind, {"weight": (128, 64)})
        assert "bias" in dict(module.named_parameters())


@pytest.mark.parametrize("kind", bitsandbytes_blocks.KINDS)
@torch.no_grad()
def test_a_linear_layer_multiplies_with_its_expanded_weight_and_keeps_its_bias(kind: Kind) -> None:
    layer, states = linear(kind), torch.randn(3, 64)
    parts = few_bits.quantize(layer.weight, kind)  # type: ignore[arg-type]
    scales = bitsandbytes_blocks.scales(parts, kind)
    weight = bitsandbytes_blocks.dequantize(parts[""], scales, kind, torch.float32).view(128, 64)
    few_bits.round_weights(layer, ["weight"], kind)
    assert torch.equal(layer(states), functional.linear(states, weight, layer.bias))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", integer_products.KINDS)
def test_integers_are_packed_in_the_place_of_their_parameters(kind: Integer) -> None:
    if not integer_products.is_exact(kind):
        pytest.skip("this processor has no exact kernel of 8-bit integers")
    layer = linear(kind)
    few_bits.round_weights(layer, ["weight"], kind)
    assert not few_bits.quantized_parts(layer, "weight")
    assert [matrix.rows for matrix in integer_products.packed(layer)["weight"]] == [128]
