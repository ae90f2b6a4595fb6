"""Products in floating point of eight bits on a GPU (``quantize: fp8``), by the kernels that passed their trial there.

Weights are scaled for each output, states for each token (``float8_weights``), and products are in bfloat16.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moee_topics.encode.quantization import float8_checks, float8_weights
from moee_topics.encode.quantization.float8_weights import Float8Weight, weight_of


class Float8Linear(nn.Module):
    """A linear layer in float8."""

    def __init__(self, plain: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = plain.in_features, plain.out_features
        self.bias, self.weight = plain.bias, plain.weight

    def forward(self, states: Tensor) -> Tensor:
        """Of (..., in) the product (..., out)."""
        codes, scales = rounded(states.reshape(-1, self.in_features))
        output = float8_weights.product(codes, scales, weight_of(self, "weight")).to(states.dtype)
        if self.bias is not None:
            output += self.bias
        return output.view(*states.shape[:-1], self.out_features)


def grouped_product(codes: Tensor, scales: Tensor, weight: Float8Weight, ends: Tensor) -> Tensor:
    """``float8_weights.product_of_experts``, or one expert after the other where a device lacks it."""
    if float8_checks.groups(codes.device):
        return float8_weights.product_of_experts(codes, scales, weight, ends)
    output = torch.empty(len(codes), weight.codes.shape[1], dtype=torch.bfloat16, device=codes.device)
    start = 0
    for expert, end in enumerate(ends.tolist()):  # the one place where the layer waits for the device
        rows, start = slice(start, end), end
        if rows.start < end:
            one = Float8Weight(weight.codes[expert], weight.scales[expert])
            output[rows] = float8_weights.product(codes[rows], scales[rows], one)
    return output


def rounded(states: Tensor) -> tuple[Tensor, Tensor]:
    """Codes of states (T, columns) in e4m3, and the scale of each row in float32."""
    return float8_checks.passes_for(states.device).rounded(states)


def gated_and_rounded(product: Tensor) -> tuple[Tensor, Tensor]:
    """``rounded`` of silu(gate) * up, of a product (T, 2 x columns)."""
    return float8_checks.passes_for(product.device).gated_and_rounded(product)
