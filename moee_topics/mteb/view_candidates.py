"""What is compared of a corpus: vectors that the views of a pass allow, of the model and of its controls."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from moee_topics.encode import EncoderSettings, EncoderSource, Reading, View
from moee_topics.errors import RecipeError
from moee_topics.fuse import Fusion, RoutingBlock
from moee_topics.recipe import Recipe, parse_recipe

LAYERS = (0, 0.25, 0.5, 0.75, 0.9, "last")
"""Of a recipe that names none: what goes into the first layer, which is tokens without any context, and five depths."""
COMPARED_POOLINGS = ("last_token", "mean", "weighted_mean")
"""Of a recipe that names one: by hand, since each more is another clustering of every layer; a list adds others."""
WITHOUT_PROMPT = "mean_without_prompt"
TOKENS_ALONE = "tokens alone"
EXPERTS_SHUFFLED = "experts shuffled"
RANDOM = "random model"


@dataclass(frozen=True)
class Candidate:
    """A vector of a document that views of one pass allow.

    Attributes:
        name: of its view, and of what is made of it.
        reading: the views it is made of.
        fusion: what makes it of them.
        overrides: that make a recipe use it.
        control: why it is only there to be compared with: "tokens alone", without any context; "experts shuffled",
            those of each layer mixed up for each document anew; or "random model", of the same shape and untrained;
            empty for all others.
    """

    name: str
    reading: Reading
    fusion: Fusion
    overrides: tuple[str, ...] = ()
    control: str = ""


@dataclass(frozen=True)
class Pass:
    """One way to read the texts, and what is compared of it.

    Attributes:
        source: of the encoder.
        candidates: vectors that its views allow.
    """

    source: EncoderSource
    candidates: tuple[Candidate, ...]


def passes_of(recipe: Recipe, also: Sequence[Sequence[str]] = (), *, random_model: bool = False) -> list[Pass]:
    """The passes of a comparison: the recipe's own in many views, one for each change of its encoder, and a control.

    Args:
        recipe: its encoder and fusion. Where it has several prompts, each of them alone is another pass.
        also: overrides of the encoder, such as another prompt, each of which is another pass.
        random_model: whether a model of the same shape and untrained is read too.

    Raises:
        RecipeError: a change is of something else than the encoder, or none that can be.
        InputError: a layer that the model does not have.
    """
    needs_routers = recipe.fusion.needs_routers
    source = EncoderSource(many_views(recipe.encoder), require_routers=needs_routers)
    passes = [Pass(source, tuple(candidates(recipe, source)))]
    for overrides in [*prompts_alone(recipe), *also]:
        if not overrides or not all(override.startswith("encoder.") for override in overrides):
            raise RecipeError(
                f"--also takes changes of the encoder, such as encoder.prompt=cluster; got {' '.join(overrides)!r}."
            )
        encoder = many_poolings(parse_recipe(recipe.to_json(), overrides).encoder)
        source = EncoderSource(encoder, require_routers=needs_routers)
        passes.append(Pass(source, tuple(candidates_also(recipe, source, tuple(overrides)))))
    if random_model:
        source = EncoderSource(one_view(recipe.encoder), require_routers=needs_routers, trained=False)
        passes.append(Pass(source, tuple(candidates_at_random(source))))
    return passes


def prompts_alone(recipe: Recipe) -> list[tuple[str, ...]]:
    """The changes that read by each single prompt of a recipe with several."""
    return [(f"encoder.prompts={json.dumps([prompt])}",) for prompt in recipe.encoder.prompts or ()]


def many_views(settings: EncoderSettings) -> EncoderSettings:
    """The same encoder with the usual views beside its own, where it names no list of them."""
    layers, settings = settings.layers, many_poolings(settings)
    if not isinstance(layers, tuple):
        layers = (layers, *(layer for layer in LAYERS if layer != 0 or settings.states == "hidden_states"))
    return replace(settings, layers=layers)


def many_poolings(settings: EncoderSettings) -> EncoderSettings:
    """The same encoder and layers with the usual poolings beside its own, where it names no list of them."""
    pooling, routing = settings.pooling, settings.routing
    if not isinstance(pooling, tuple):
        echoes = all(template.count("{text}") == 2 for template in settings.templates)
        # Of an echo the second copy alone is read, so the mean without the prompt is the mean again; without any prompt
        # it is that but for a token that begins every text.
        is_mean = echoes or settings.templates == ("{text}",)
        others = COMPARED_POOLINGS if is_mean else (*COMPARED_POOLINGS, WITHOUT_PROMPT)
        pooling = tuple(dict.fromkeys((pooling, *others)))
        if echoes and WITHOUT_PROMPT in pooling:
            pooling = tuple(name for name in pooling if name != "mean")
    return replace(settings, pooling=pooling, routing=(*pooling, "frequency") if routing is None else routing)


def one_view(settings: EncoderSettings) -> EncoderSettings:
    """The same encoder, read by the last hidden states and the routers under its first pooling alone."""
    pooling = settings.pooling[0] if isinstance(settings.pooling, tuple) else settings.pooling
    routing = "none" if settings.routing == "none" else pooling
    return replace(settings, layers="last", states="hidden_states", pooling=pooling, routing=routing)


def candidates(recipe: Recipe, source: EncoderSource) -> Iterator[Candidate]:
    """What is compared: the recipe's own vectors, every view of hidden states, and the routers' in every form."""
    views = source.reading.views
    yield Candidate(f"the recipe ({recipe.fusion.label})", EncoderSource(recipe.encoder).reading, recipe.fusion)
    for view in (view for view in views if view.block != "router"):
        yield from (of_hidden_states(view, standardize, alone(recipe)) for standardize in ("none", "hidden_states"))
    routers = [view for view in views if view.block == "router"] if source.card.layers else []
    for number, view in enumerate(routers):
        for block in routing_blocks(source) if number == 0 else (RoutingBlock(),):
            yield of_routers(view, block, source.reading.hidden_states, alone(recipe))
    for view in routers[:1]:
        plain = of_routers(view, RoutingBlock(), source.reading.hidden_states)
        yield replace(plain, name=f"{plain.name}, {EXPERTS_SHUFFLED}", control=EXPERTS_SHUFFLED)


def candidates_also(recipe: Recipe, source: EncoderSource, change: tuple[str, ...]) -> Iterator[Candidate]:
    """What is compared of a pass with a change of the encoder: its layers and poolings, and the routers' logits."""
    views, hidden = source.reading.views, source.reading.hidden_states
    for view in (view for view in views if view.block != "router"):
        for standardize in ("none", "hidden_states"):
            yield after(change, of_hidden_states(view, standardize, alone(recipe)))
    # Beside values, or the attention's outputs, the routers are those of the first pass.
    if source.card.layers and source.settings.states == "hidden_states":
        for view in [view for view in views if view.block == "router"][:1]:
            yield after(change, of_routers(view, RoutingBlock("logits"), hidden, alone(recipe)))


def after(change: tuple[str, ...], found: Candidate) -> Candidate:
    """A candidate of a pass with a change: what it says itself, such as its one layer, is left out of the change."""
    said = {override.partition("=")[0] for override in found.overrides}
    left = (override for override in change if override.partition("=")[0] not in said)
    return replace(found, name=f"{found.name}, {' '.join(change)}", overrides=(*left, *found.overrides))


def candidates_at_random(source: EncoderSource) -> Iterator[Candidate]:
    """What is compared of a model without training: its hidden states, and the logits of its routers."""
    reading = source.reading
    found = [of_hidden_states(reading.hidden_states, "hidden_states")]
    if reading.routing and source.card.layers:
        found.append(of_routers(reading.routing, RoutingBlock("logits"), reading.hidden_states))
    for candidate in found:
        yield replace(candidate, name=f"{candidate.name}, {RANDOM}", control=RANDOM)


def alone(recipe: Recipe) -> tuple[str, ...]:
    """The overrides that take out of a recipe's fusion what is not compared, so that what is told is what one gets."""
    words = ("fusion.lexical=0",) if recipe.fusion.lexical else ()
    return words + (("fusion.filters=[]",) if recipe.fusion.filters else ())


def of_hidden_states(view: View, standardize: Any, more: tuple[str, ...] = ()) -> Candidate:
    """Hidden states, or values, alone, as they are or standardized."""
    asked = (f"encoder.layers={view.layer}", f"encoder.pooling={view.pooling}", "fusion.method=hidden_states")
    return Candidate(
        f"{view}{' z' if standardize != 'none' else ''}",
        Reading((view,)),
        Fusion("hidden_states", standardize=standardize),
        (*asked, f"fusion.standardize={standardize}", *more),
        TOKENS_ALONE if view.layer == "0" else "",
    )


def routing_blocks(source: EncoderSource) -> list[RoutingBlock]:
    """The forms of the routers' scores, with the model's own number of experts of a token."""
    k = source.card.experts_per_token or RoutingBlock.top_k
    scores = [RoutingBlock("softmax"), RoutingBlock("logits"), RoutingBlock("top_k", k), RoutingBlock("multi_hot", k)]
    return [*scores, RoutingBlock(experts="idf"), RoutingBlock(layers="information")]


def of_routers(view: View, block: RoutingBlock, hidden: View, more: tuple[str, ...] = ()) -> Candidate:
    """The standardized scores of routers in one form."""
    asked = [f"encoder.routing={view.pooling}", "fusion.method=routing_weights", "fusion.standardize=both"]
    # All keys, those at their default too: the recipe that they are copied to may have others.
    asked += [f"fusion.routing.{name}={value}" for name, value in block.settings().items()]
    # A document has hidden states too: those of the same entry, or any of the same pass.
    beside = hidden if view.entry.block == "router" else view.entry
    return Candidate(
        f"{view}{block.label} z",
        Reading((beside, view)),
        Fusion("routing_weights", standardize="both", routing=block),
        (*asked, *more),
    )
