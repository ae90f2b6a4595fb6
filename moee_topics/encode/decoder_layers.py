"""The states between the layers of a decoder: hooks that pool them the moment they are there and end the pass early."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from moee_topics.encode.batching import Pack
from moee_topics.encode.layout import last_states
from moee_topics.encode.pooling import Spans, pool
from moee_topics.encode.views import View
from moee_topics.errors import ModelError


def find_layers(model: nn.Module) -> list[nn.Module]:
    """The decoder layers of a model in their order: the modules whose class it declares as those of hidden states."""
    declared = (getattr(model, "_can_record_outputs", None) or {}).get("hidden_states", [])
    recorders: list[Any] = list(declared) if isinstance(declared, (list, tuple)) else [declared]
    classes = tuple(kind for r in recorders if isinstance(kind := getattr(r, "target_class", r), type))
    return [module for module in model.modules() if isinstance(module, classes)]


class LayerCapture:
    """Hooks the layers that views name while it is open, and pools their states; nothing else is kept.

    A context manager around one pass, as ``RouterCapture`` is. Where nothing of the pass is needed after the last of
    these layers, the pass ends there.

    Args:
        layers: what ``find_layers`` gave.
        views: of hidden states by the number of a layer; "0" is what goes into the first.
        spans: where the documents lie.
        ends: whether the pass ends after the last layer that a view names.

    Attributes:
        pooled: (N, D) float32 of each view.
    """

    def __init__(self, layers: Sequence[nn.Module], views: Iterable[View], spans: Spans, *, ends: bool) -> None:
        self.layers, self.spans, self.ends = layers, spans, ends
        self.views: dict[int, list[View]] = {}
        for view in views:
            self.views.setdefault(int(view.layer), []).append(view)
        self.pooled: dict[View, Tensor] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> LayerCapture:
        for number in self.views:
            if number == 0:
                hook = self.layers[0].register_forward_pre_hook(self._keep_input, with_kwargs=True)
            else:
                hook = self.layers[number - 1].register_forward_hook(partial(self._keep_output, number))
            self._handles.append(hook)
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def run(self, forward: Callable[[], Tensor]) -> Tensor | None:
        """What a forward pass gives; None where it was ended early."""
        try:
            return forward()
        except _PassIsOver:
            return None

    def _keep_input(self, _module: nn.Module, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        self._keep(0, inputs[0] if inputs else named["hidden_states"])

    def _keep_output(self, number: int, _module: nn.Module, _inputs: Any, output: Any) -> None:
        self._keep(number, output[0] if isinstance(output, tuple) else output)

    def _keep(self, number: int, states: Tensor) -> None:
        states = states.flatten(0, -2)
        for view in self.views[number]:
            self.pooled[view] = pool(states, self.spans, view.pooling)
        if self.ends and number == max(self.views):
            # There is no other way out of the forward of a foreign class.
            raise _PassIsOver


class _PassIsOver(Exception):
    """Ends a forward pass whose later layers nobody needs."""


@torch.inference_mode()
def check_layers(model: Any, layers: Sequence[nn.Module], depth: int, name: str) -> None:
    """That the states between the layers of a model can be read, by two tokens through it.

    Raises:
        ModelError: it declares other layers than it has, or they pass on something else than states (T, D).
    """
    shapes: list[tuple[int, ...]] = []

    def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output
        shapes.append(tuple(getattr(states, "shape", ())))

    with ExitStack() as hooks:
        for layer in layers:
            hooks.callback(layer.register_forward_hook(note).remove)
        size = last_states(model, Pack((0,), ((1, 2),), packed=False)).shape[-1]
    if len(shapes) != depth or not all(shape[-1:] == (size,) and math.prod(shape) == 2 * size for shape in shapes):
        raise ModelError(
            f"The states between the layers of {name!r} ({model.config.model_type}) cannot be read: {len(shapes)} of "
            f"{depth} layers answer, and what they pass on has the shapes {sorted(set(shapes))}, where states of two "
            f"tokens were expected. Use encoder.layers=last."
        )
