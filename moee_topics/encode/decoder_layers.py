"""States inside a decoder: hooks that pool them the moment they are there, and end the pass early."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from moee_topics.encode.batching import Pack
from moee_topics.encode.layout import last_states
from moee_topics.encode.pooling import Spans, pool
from moee_topics.encode.views import View
from moee_topics.errors import ModelError


def find_layers(model: nn.Module) -> list[nn.Module]:
    """The decoder layers of a model in their order: the modules whose class it declares as those of hidden states."""
    return _declared(model, "hidden_states")


def find_sources(model: nn.Module, states: str) -> list[nn.Module]:
    """The modules whose outputs are the states of each layer: the layer itself, its attention, or what makes values."""
    if states == "values":
        return [module for name, module in model.named_modules() if name.endswith("v_proj")]
    return _declared(model, "attentions") if states == "attention_outputs" else find_layers(model)


def _declared(model: nn.Module, output: str) -> list[nn.Module]:
    """The modules of the classes that a model of transformers declares to have an output."""
    declared = (getattr(model, "_can_record_outputs", None) or {}).get(output, [])
    recorders: list[Any] = list(declared) if isinstance(declared, (list, tuple)) else [declared]
    classes = tuple(kind for r in recorders if isinstance(kind := getattr(r, "target_class", r), type))
    return [module for module in model.modules() if isinstance(module, classes)]


class LayerCapture:
    """Hooks the layers that views name while it is open, and pools their states; nothing else is kept.

    A context manager around one pass, as ``RouterCapture`` is. Where nothing of the pass is needed after the last of
    these layers, the pass ends there.

    Args:
        layers: what ``find_sources`` gave.
        views: by the number of a layer, or a range of numbers, whose mean is taken; "0" is what goes into the first.
        spans: where the documents lie.
        ends: whether the pass ends after the last layer that a view names.
        kept: (P, D) states of tokens that went through the model before, by the number of a layer; they are put before
            those of the pass.

    Attributes:
        pooled: (N, D) float32 of each view.
    """

    def __init__(
        self,
        layers: Sequence[nn.Module],
        views: Iterable[View],
        spans: Spans,
        *,
        ends: bool,
        kept: Mapping[int, Tensor] | None = None,
    ) -> None:
        self.layers, self.spans, self.ends, self.kept = layers, spans, ends, kept or {}
        self.views: dict[int, list[View]] = {}
        for view in views:
            for number in _numbers(view):
                self.views.setdefault(number, []).append(view)
        self.pooled: dict[View, Tensor] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> Self:
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
        self._keep(0, (inputs[0] if inputs else named["hidden_states"]).flatten(0, -2))

    def _keep_output(self, number: int, _module: nn.Module, _inputs: Any, output: Any) -> None:
        self._keep(number, (output[0] if isinstance(output, tuple) else output).flatten(0, -2))

    def _keep(self, number: int, states: Tensor) -> None:
        if number in self.kept:
            states = torch.cat([self.kept[number], states])
        for view in self.views[number]:
            pooled, numbers = pool(states, self.spans, view.pooling), _numbers(view)
            if len(numbers) > 1:  # added up layer by layer: all of them at once would take their number's memory
                pooled = self.pooled.get(view, 0.0) + pooled / len(numbers)
            self.pooled[view] = pooled
        if self.ends and number == max(self.views):
            # There is no other way out of the forward of a foreign class.
            raise _PassIsOver


class TokenStates(LayerCapture):
    """Keeps the states of every token of a pass, (T, D) by the number of a layer, in the place of pooled ones.

    Attributes:
        states: those that views name.
    """

    def __init__(self, layers: Sequence[nn.Module], views: Iterable[View]) -> None:
        super().__init__(layers, views, Spans.of([], [], torch.device("cpu")), ends=False)
        self.states: dict[int, Tensor] = {}

    def _keep(self, number: int, states: Tensor) -> None:
        self.states[number] = states


def _numbers(view: View) -> range:
    """The layers that a view is the mean of."""
    first, _, last = view.layer.partition("-")
    return range(int(first), int(last or first) + 1)


class _PassIsOver(Exception):
    """Ends a forward pass whose later layers nobody needs."""


@torch.inference_mode()
def check_layers(model: Any, layers: Sequence[nn.Module], depth: int, name: str, states: str = "hidden_states") -> int:
    """That the states inside a model can be read, by two tokens through it; gives their size.

    Raises:
        ModelError: the model has not one such module for each layer, or they pass on something else than states (T, D).
    """
    shapes: list[tuple[int, ...]] = []

    def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) else output
        shapes.append(tuple(getattr(first, "shape", ())))

    with ExitStack() as hooks:
        for layer in layers:
            hooks.callback(layer.register_forward_hook(note).remove)
        hidden_size = last_states(model, Pack((0,), ((1, 2),), packed=False)).shape[-1]
    size = shapes[0][-1] if shapes and shapes[0] and states == "values" else hidden_size
    if len(shapes) != depth or not all(shape[-1:] == (size,) and math.prod(shape) == 2 * size for shape in shapes):
        raise ModelError(
            f"The {states.replace('_', ' ')} of each layer of {name!r} ({model.config.model_type}) cannot be read: "
            f"{len(shapes)} of {depth} layers answer, and what they give has the shapes {sorted(set(shapes))}, where "
            f"states of two tokens were expected. Use encoder.states=hidden_states and encoder.layers=last."
        )
    return int(size)
