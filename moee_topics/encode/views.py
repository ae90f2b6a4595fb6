"""What is read of a forward pass: views, their names, and which of them the two blocks of a document come from.

A view is named ``hidden_states@LAYER/POOLING``, ``values@LAYERS/POOLING``, ``attention_outputs@LAYERS/POOLING`` or
``router@all/POOLING``: ``hidden_states@last/mean``, ``values@8-20/mean``, ``router@all/frequency``. A store keeps an
entry for each view, a folder of its own, so that a view that is added later lies beside the others and changes none of
their bytes. One entry holds two views, as stores of 0.1.0 do: the last hidden states and the scores of all routers
under one pooling.

Where a text is read in several prompts, each view of each prompt has an entry, the same as of an encoder of that prompt
alone: one more prompt is encoded alone, and how they become one vector is decided when they are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, get_args

from moee_topics.encode.prompts import short_name
from moee_topics.errors import InputError

if TYPE_CHECKING:  # a recipe, and a page of help, are read without numpy
    from moee_topics.embeddings import Embeddings

Pooling = Literal["last_token", "mean", "weighted_mean", "mean_without_prompt"]
Routing = Literal["last_token", "mean", "weighted_mean", "mean_without_prompt", "frequency", "none"]
States = Literal["hidden_states", "values", "attention_outputs"]
CombinePrompts = Literal["mean", "concat"]
Layer: TypeAlias = int | float | str

LAST = "last"
FREQUENCY = "frequency"
_NAME = re.compile(
    r"(hidden_states)@(last|\d+)/(\w+)|(values|attention_outputs)@(\d+(?:-\d+)?)/(\w+)|(router)@(all)/(\w+)"
)
_RANGE = re.compile(r"(\d+)-(\d+)")


@dataclass(frozen=True)
class View:
    """One way to read a forward pass.

    Attributes:
        block: "hidden_states"; "values", what the attention of a layer adds up, or "attention_outputs", what it makes
            of them; or "router".
        layer: of hidden states "last" (after the model's final norm) or the number of a decoder layer whose output they
            are, from 1; "0" is what goes into the first. Of values and attention the number of a layer, or a range
            whose mean is taken. Of routers "all".
        pooling: how the tokens become one vector; of routers also "frequency", the share of the tokens that go to each
            expert.
        prompt: the template that a text is read in, of an encoder that has several; empty where it has one.
    """

    block: str
    layer: str
    pooling: str
    prompt: str = ""

    @property
    def name(self) -> str:
        """Block, layer and pooling, as a key names a view."""
        return f"{self.block}@{self.layer}/{self.pooling}"

    def __str__(self) -> str:
        return f"{self.name} {short_name(self.prompt)}" if self.prompt else self.name

    @classmethod
    def named(cls, name: str) -> Self:
        """The view of a name.

        Raises:
            InputError: it is not the name of a view.
        """
        match = _NAME.fullmatch(name)
        of_block: tuple[str, ...] = get_args(Routing if name.startswith("router") else Pooling)
        poolings = [pooling for pooling in of_block if pooling != "none"]  # which says that no router is read
        if match is None or (view := cls(*filter(None, match.groups()))).pooling not in poolings:
            raise InputError(
                f"{name!r} is not a view. Expected hidden_states@LAYER/POOLING, values@LAYERS/POOLING, "
                "attention_outputs@LAYERS/POOLING or router@all/POOLING, such as hidden_states@last/mean, with a "
                f"pooling of {', '.join(poolings)}."
            )
        return view

    @property
    def entry(self) -> View:
        """The view that the entry of a store is called by which holds this one."""
        is_pooled_router = self.block == "router" and self.pooling != FREQUENCY
        return View("hidden_states", LAST, self.pooling, self.prompt) if is_pooled_router else self


@dataclass(frozen=True)
class Reading:
    """Views of one pass, and which two of them are the blocks of a document.

    Attributes:
        views: all that are read and stored; the first of hidden states is the hidden states of a document, the first
            of routers, if any, its routing.
        prompts: the templates that each text is read in, a pass for each; empty for one, which the key names.
        combine: how the vectors of several prompts become one, see :attr:`EncoderSettings.combine_prompts`.
    """

    views: tuple[View, ...]
    prompts: tuple[str, ...] = ()
    combine: CombinePrompts = "mean"

    @classmethod
    def of_key(cls, key: Mapping[str, Any]) -> Reading:
        """What a key names; that of a store of 0.1.0 names a pooling alone."""
        pooling = str(key.get("pooling", "last_token"))
        reading = cls(tuple(map(View.named, key["views"]))) if "views" in key else usual_reading(pooling)
        return replace(reading, prompts=tuple(key.get("prompts", ())), combine=key.get("combine_prompts", "mean"))

    @property
    def hidden_states(self) -> View:
        """The view that a document's hidden states are, be they values."""
        return next(view for view in self.views if view.block != "router")

    @property
    def routing(self) -> View | None:
        """The view that its routing is; None where no router is read."""
        return next((view for view in self.views if view.block == "router"), None)

    @property
    def entries(self) -> tuple[View, ...]:
        """The entries of a store that hold all views, each once, that of the hidden states first, prompt by prompt."""
        return self._in_each_prompt((self.hidden_states, *self.views))

    @property
    def read_entries(self) -> tuple[View, ...]:
        """Those that the blocks of a document are in."""
        return self._in_each_prompt([self.hidden_states, self.routing] if self.routing else [self.hidden_states])

    def _in_each_prompt(self, views: Sequence[View]) -> tuple[View, ...]:
        entries = dict.fromkeys(view.entry for view in views)
        return tuple(replace(entry, prompt=prompt) for prompt in self.prompts or ("",) for entry in entries)

    def joined(self, parts: Mapping[View, Embeddings]) -> Embeddings:
        """The blocks of documents from the entries of the same documents."""
        if not self.prompts:
            return self._joined_of("", parts)
        from moee_topics.embeddings import combined

        return combined([self._joined_of(prompt, parts) for prompt in self.prompts], self.combine)

    def _joined_of(self, prompt: str, parts: Mapping[View, Embeddings]) -> Embeddings:
        """The blocks of documents that were read in one prompt."""
        hidden = parts[replace(self.hidden_states.entry, prompt=prompt)]
        if self.routing is None:
            return replace(hidden, router_logits=hidden.router_logits[:, :0, :0], mean_routing_weights=None)
        routing = parts[replace(self.routing.entry, prompt=prompt)]
        if routing is hidden:
            return hidden
        weights = routing.router_logits if self.routing.pooling == FREQUENCY else routing.mean_routing_weights
        return replace(hidden, router_logits=routing.router_logits, mean_routing_weights=weights)


def usual_reading(pooling: str) -> Reading:
    """The last hidden states and all routers under one pooling."""
    return Reading((View("hidden_states", LAST, pooling), View("router", "all", pooling)))


def reading_of(
    layers: Sequence[Layer],
    poolings: Sequence[Pooling],
    routing: Sequence[Routing],
    *,
    depth: int,
    model: str,
    states: States = "hidden_states",
) -> Reading:
    """The views of every layer under every pooling, and those of the routers.

    Args:
        layers: see :attr:`EncoderSettings.layers`.
        poolings: of hidden states.
        routing: of routers; empty for the same poolings.
        depth: decoder layers of the model.
        model: its name, for messages.
        states: see :attr:`EncoderSettings.states`.

    Raises:
        InputError: a layer does not exist.
    """
    named = _numbered(layers, depth, model) if states == "hidden_states" else _spans(layers, depth, model)
    hidden = (View(states, layer, pooling) for layer in named for pooling in poolings)
    routers = (View("router", "all", pooling) for pooling in routing or poolings if pooling != "none")
    return Reading(tuple(dict.fromkeys([*hidden, *routers])))


def key_of_reading(reading: Reading) -> dict[str, Any]:
    """The part of a key that names views: a pooling alone where they are the usual ones, as in 0.1.0.

    Of several prompts it names these too.
    """
    pooling, prompts = reading.hidden_states.pooling, list(reading.prompts)
    usual = reading.views == usual_reading(pooling).views
    return (
        {"pooling": pooling}
        | ({} if usual else {"views": list(map(str, reading.views))})
        | ({"prompts": prompts, "combine_prompts": reading.combine} if prompts else {})
    )


def key_of_blocks(key: Mapping[str, Any]) -> dict[str, Any]:
    """A key without the views that are only stored; topics, and all else made of documents, depend on this one."""
    reading = Reading.of_key(key)
    blocks = tuple(view for view in (reading.hidden_states, reading.routing) if view)
    rest = {name: value for name, value in key.items() if name != "views"}
    return {**rest, **key_of_reading(Reading(blocks))} if "views" in key else rest


def entry_keys(key: Mapping[str, Any]) -> dict[View, dict[str, Any]]:
    """The key of each entry that a key's views are stored under.

    Of the last hidden states it is what it was in 0.1.0, so that stores of that time go on being read; of one of
    several prompts what it is of that prompt alone.
    """
    rest = {name: value for name, value in key.items() if name not in ("views", "prompts", "combine_prompts")}
    keys = {}
    for entry in Reading.of_key(key).entries:
        keys[entry] = {**rest, "prompt": entry.prompt} if entry.prompt else {**rest}
        if "views" in key:  # the key of a double names no pooling
            keys[entry] |= {"pooling": entry.pooling} | ({} if entry.layer == LAST else {"view": entry.name})
    return keys


def entry_of(stored: Mapping[str, Any], reading: Reading | None = None) -> View:
    """The entry that a key of a store's folder stands for, with its prompt where a reading has several."""
    entry = View.named(str(stored["view"])) if "view" in stored else Reading.of_key(stored).hidden_states
    return replace(entry, prompt=str(stored.get("prompt"))) if reading is not None and reading.prompts else entry


def check_layers(layers: Iterable[Layer], option: str = "layers") -> None:
    """That layers are spelt as they can be, whatever the model.

    Raises:
        InputError: one is not.
    """
    for layer in layers:
        if isinstance(layer, str):
            span = _RANGE.fullmatch(layer)
            ok = layer in (LAST, "all") or layer.isdecimal() or (span is not None and int(span[1]) <= int(span[2]))
        else:
            ok = layer >= 0 if isinstance(layer, int) else 0 <= layer <= 1
        if not ok:
            raise InputError(
                f"encoder.{option} has {layer!r}. Expected 'last', 'all', the number of a layer, a range such as "
                "'8-12', or a share of the depth such as 0.75."
            )


def _numbered(layers: Sequence[Layer], depth: int, model: str) -> list[str]:
    """Layers by number, the last as ``last``, each once and in the order given."""
    numbers = [number for layer in layers for number in numbers_of(layer, depth, model)]
    return [LAST if number == depth else str(number) for number in dict.fromkeys(numbers)]


def _spans(layers: Sequence[Layer], depth: int, model: str) -> list[str]:
    """What was given as numbers and ranges of layers that have an attention."""
    spans = []
    for layer in layers:
        numbers = numbers_of(layer, depth, model)
        first, last = numbers[0], numbers[-1]
        if first == 0:
            raise InputError("encoder.layers has 0, what goes into the first layer: it has no values and no attention.")
        spans.append(str(first) if first == last else f"{first}-{last}")
    return list(dict.fromkeys(spans))


def numbers_of(layer: Layer, depth: int, model: str, option: str = "layers") -> list[int]:
    """The numbers of one or more layers.

    Raises:
        InputError: one of them does not exist.
    """
    if layer == "all":
        return list(range(1, depth + 1))
    if layer == LAST:
        return [depth]
    if isinstance(layer, float):  # a share of the depth, and never what goes into the first layer
        return [max(1, round(layer * depth))]
    span = _RANGE.fullmatch(str(layer))
    first, last = (int(span[1]), int(span[2])) if span else (int(layer), int(layer))
    if last > depth:
        raise InputError(
            f"encoder.{option} asks for layer {last}, and {model!r} has {depth}: 1 to {depth}, 0 for what goes into "
            "the first, or 'last'."
        )
    return list(range(first, last + 1))
