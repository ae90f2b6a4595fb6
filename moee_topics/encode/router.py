"""Router capture: a hook on every router that pools inside it, so that nothing of size tokens x layers is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from moee_topics.errors import ModelError

Reading = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Router:
    """One router of a model.

    Attributes:
        name: its path in the model.
        module: the module whose output holds the scores.
        index: where in that output, if it is a tuple.
        read: turns what the model records into logits (T, E).
    """

    name: str
    module: nn.Module
    index: int
    read: Reading

    def logits(self, output: Any) -> Tensor:
        """(T, E) scores before the softmax, from what the module's forward returned."""
        return self.read(output[self.index] if isinstance(output, tuple) else output)


def _flat(scores: Tensor) -> Tensor:
    """(B, S, E) or (T, E) to (T, E)."""
    return scores.reshape(-1, scores.shape[-1])


def _from_probabilities(scores: Tensor) -> Tensor:
    """Logarithms of recorded probabilities: their softmax is the probabilities again."""
    # A probability of 0 would be minus infinity, and a mean with it too.
    return _flat(scores).float().clamp_min(torch.finfo(torch.float32).tiny).log()


def _from_product_keys(scores: Tensor) -> Tensor:
    """(2, T, k) scores of two half keys to (T, k * k): expert (i, j) scores the sum of its halves."""
    first, second = scores.unbind(0)
    return (first.unsqueeze(-1) + second.unsqueeze(-2)).flatten(-2)


# Model types (or the beginning of them) that record something else than logits of every expert, in transformers 5.23.
READINGS: dict[str, Reading] = {
    "gemma4": _from_probabilities,
    "doge": _from_product_keys,
}


ROUTER_STRENGTH = "moee_topics_router_strength"
"""The key of a carved model's config.json that holds the scale of its router's logits."""


def _contributions(router: Any, strength: float, scores: Tensor) -> Tensor:
    """The predicted logarithm of what each group of a carved layer contributes, less its mean, (T, E).

    Carved logits are small, so that every chosen group counts fully: their softmax would be 1/E everywhere.
    """
    # The bias only chooses, after a sigmoid whose slope at 0 is a quarter.
    bias: Tensor = router.e_score_correction_bias
    return (_flat(scores).float() + 4 * bias.float()) / strength


def reading_of(model_type: str) -> Reading:
    """How the recorded scores of a model type become logits."""
    return next((read for start, read in READINGS.items() if model_type.startswith(start)), _flat)


def find_routers(model: nn.Module) -> list[Router]:
    """The routers of a model, in the order of its layers; empty for a model without any.

    They are the modules that the model's class declares in ``_can_record_outputs`` of transformers.
    """
    declared = (getattr(model, "_can_record_outputs", None) or {}).get("router_logits", [])
    recorders: list[Any] = list(declared) if isinstance(declared, (list, tuple)) else [declared]
    config = getattr(model, "config", None)
    read, strength = reading_of(getattr(config, "model_type", "")), getattr(config, ROUTER_STRENGTH, None)

    def reading(module: nn.Module) -> Reading:
        return partial(_contributions, module, strength) if strength else read

    routers = [
        Router(name, module, getattr(recorder, "index", 0), reading(module))
        for name, module in model.named_modules()
        for recorder in recorders
        if isinstance(module, getattr(recorder, "target_class", recorder))
    ]
    # JetMoE declares its attention experts and the router inside them: the inner one is the router, and counts once.
    names = [router.name for router in routers]
    return [router for router in routers if not any(name.startswith(f"{router.name}.") for name in names)]


class RouterCapture:
    """Hooks every router while it is open, and pools its scores the moment they are there.

    A context manager: after the forward pass ``logits`` and ``weights`` hold what was pooled. Nothing else is kept.
    The hooks see the forward passes of all threads, so only one may run meanwhile (``ONE_AT_A_TIME`` of loading).

    Args:
        routers: what ``find_routers`` gave.
        pool: token states (T, E) to document vectors (N, E).
        with_weights: also pool the softmax of each token, which a mean needs.
        kept: (P, L, E) scores of tokens that went through the model before; they are put before those of the pass.
    """

    def __init__(
        self,
        routers: Iterable[Router],
        pool: Callable[[Tensor], Tensor],
        with_weights: bool,
        kept: Tensor | None = None,
    ) -> None:
        self.routers, self.pool, self.with_weights, self.kept = list(routers), pool, with_weights, kept
        self._inside, self._pool_inside = set[nn.Module](), pool
        self._logits: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}
        self._handles: list[Any] = []

    def pool_inside(self, layer: nn.Module, pool: Callable[[Tensor], Tensor]) -> None:
        """Pools the routers of a layer that sees other tokens than the rest by another function, and nothing kept."""
        self._inside, self._pool_inside = set(layer.modules()), pool

    def __enter__(self) -> RouterCapture:
        for number, router in enumerate(self.routers):
            self._handles.append(router.module.register_forward_hook(partial(self._keep, number, router)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _keep(self, number: int, router: Router, module: nn.Module, _inputs: Any, output: Any) -> None:
        logits, pool = router.logits(output), self.pool
        if module in self._inside:
            pool = self._pool_inside
        elif self.kept is not None:
            logits = torch.cat([self.kept[:, number], logits])
        self._logits[router.name] = pool(logits)
        # Softmax and mean do not commute, and only here are the scores of each token at hand.
        if self.with_weights:
            self._weights[router.name] = pool(logits.float().softmax(dim=-1))

    def logits(self) -> Tensor | None:
        """(N, L, E) float32 pooled router logits; None for a model without routers.

        Raises:
            ModelError: not every router ran, or they have different numbers of experts.
        """
        return self._stacked(self._logits)

    def weights(self) -> Tensor | None:
        """(N, L, E) float32 mean of the softmax of each token; None unless asked for."""
        return self._stacked(self._weights)

    def _stacked(self, pooled: dict[str, Tensor]) -> Tensor | None:
        if not pooled:
            return None
        layers = [pooled[router.name] for router in self.routers if router.name in pooled]
        widths = sorted({layer.shape[-1] for layer in layers})
        if len(layers) != len(self.routers) or len(widths) != 1:
            raise ModelError(
                f"{len(layers)} of {len(self.routers)} routers answered, with {widths} experts: "
                "all MoE layers must run and have the same number of experts."
            )
        return torch.stack(layers, dim=1)


def multi_hot(logits: Tensor, k: int) -> Tensor:
    """(T, E) float32: 1 where an expert is among the k of the highest scores of its token, else 0."""
    chosen = logits.topk(min(k, logits.shape[-1]), dim=-1).indices
    return torch.zeros(logits.shape, dtype=torch.float32, device=logits.device).scatter_(-1, chosen, 1.0)
