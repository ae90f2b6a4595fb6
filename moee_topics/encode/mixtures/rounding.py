"""Weights that learn to bear four bits: rounded while a step is computed, exact while they change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from moee_topics.encode.mixtures.dense_mixture import undensified
from moee_topics.encode.mixtures.settings import DistilSettings
from moee_topics.encode.quantization import int4_blocks
from moee_topics.errors import InputError, ModelError

_NOT_ROUNDED = ("embed_tokens.weight", "mlp.gate.weight")
"""Embeddings are kept in eight bits; a rounded router would choose other groups, for a few bytes."""


def check_four_bits(model: nn.Module, settings: DistilSettings) -> None:
    """Refuses what cannot be stored as it learned.

    Raises:
        InputError: the matrices do not learn, and would be rounded all the same.
        ModelError: a matrix has rows that blocks do not divide.
    """
    if settings.learn != "all":
        raise InputError(
            f"four_bits rounds the matrices, which learn={settings.learn!r} is to leave as they are. Give one of both."
        )
    for name, weight in model.named_parameters():
        if weight.dim() >= 2 and weight.shape[-1] % int4_blocks.BLOCK and not name.endswith(_NOT_ROUNDED):
            raise ModelError(
                f"{name} has rows of {weight.shape[-1]} weights, and four bits are stored in blocks of "
                f"{int4_blocks.BLOCK}. Learn without four_bits, or carve groups whose size is a multiple of it."
            )


class Rounding:
    """Weights as they are in four bits while a step is computed; their gradients go to the exact ones."""

    def __init__(self, model: nn.Module, scales: dict[str, Tensor] | None = None) -> None:
        matrices = {n: p for n, p in model.named_parameters() if p.dim() == 2}
        self.weights = {name: weight for name, weight in matrices.items() if not name.endswith(_NOT_ROUNDED)}
        self.scales = scales or {}
        if not scales:
            self.fit_scales()

    def fit_scales(self) -> None:
        """Looks for the scales anew: weights that learn for long leave the grid they began on."""
        self.scales = {name: int4_blocks.block_scales(weight) for name, weight in self.weights.items()}

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Rounds, and puts the exact weights back."""
        rounded = {name: int4_blocks.rounded(weight.data, self.scales[name]) for name, weight in self.weights.items()}
        with self.shown(rounded):
            yield

    @contextmanager
    def shown(self, values: dict[str, Tensor]) -> Iterator[None]:
        """Values in the place of the weights, and the weights back."""
        exact = {name: weight.data for name, weight in self.weights.items()}
        for name, weight in self.weights.items():
            weight.data = values[name].view(weight.shape)
        try:
            yield
        finally:
            for name, weight in self.weights.items():
                weight.data = exact[name]

    def stored_scales(self, model: nn.Module) -> dict[str, Tensor]:
        """The scale of each block of the rounded weights, under the names that the mixture's class saves."""
        # Spread over their blocks the scales go the way of the weights they belong to.
        spread = {n: s.float().repeat_interleave(int4_blocks.BLOCK) for n, s in self.scales.items()}
        with self.shown(spread):
            named = undensified(model)
        matrices = {n: w for n, w in named.items() if w.dim() >= 2 and not n.endswith(_NOT_ROUNDED)}
        return {name: spread[..., :: int4_blocks.BLOCK].reshape(-1).half().cpu() for name, spread in matrices.items()}
