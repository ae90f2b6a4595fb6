"""What an encoder can be told. The ``encoder`` section of a recipe is this class; nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, Unpack, cast, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from moee_topics.encode.prompts import LongDocuments, get_prompt
from moee_topics.encode.views import (
    LAST,
    CombinePrompts,
    Layer,
    Pooling,
    Reading,
    Routing,
    States,
    check_layers,
    numbers_of,
    reading_of,
)
from moee_topics.errors import InputError

if TYPE_CHECKING:
    import torch

Kind = Literal["int8", "nf4"]
"""Weights in few bits, in blocks with a scale each; products stay in 16 bits or float32."""

Integer = Literal["w8a8", "w7a8"]
"""Weights and states in 8-bit integers, and so are their products."""

Float8 = Literal["fp8"]
"""Weights and states in floating point of eight bits (e4m3), and so are their products, on a GPU."""

FewBits = Literal[Kind, Integer, Float8]

Saved = Literal[Kind, Float8]
"""What is the same on every machine that reads it, and can be saved."""

Quantize = Literal["none", FewBits]
AUTO: Literal["auto"] = "auto"
"""Stands for one of the others, which a machine chooses for a model (``models/arithmetic.py``)."""

Dtype = Literal["float32", "bfloat16", "float16"]
POCKET = Path(__file__).parent / "models" / "pocket"
"""Folder of the small model that the package carries; its name everywhere is "pocket"."""
UNTRAINED = "untrained"
"""What stands in the place of a commit where a model has its shape alone, with weights at random."""


def resolve(name_or_path: str | Path) -> str:
    """The folder of the embedded model for "pocket", else the name or path as it is."""
    return str(POCKET) if str(name_or_path) == "pocket" else str(name_or_path)


def averages(pooling: str, long_documents: LongDocuments) -> bool:
    """Whether a vector is the mean of several, whose routing weights are taken before the mean and stored beside."""
    return pooling != "last_token" or long_documents == "chunk"


# A mistyped option is an error; left alone, pydantic would take the default without a word.
@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class EncoderSettings:
    """A model, and how it reads documents.

    Attributes:
        model: a hub name, a folder in hub layout, or "pocket" for the model that the package carries.
        revision: commit, branch or tag of a hub model.
        quantize: "none" keeps what the files hold. "int8" or "nf4" keep linear and expert weights in 8 or 4 bits.
            "w8a8" also multiplies 8-bit integers: on a CPU with AMX a large model takes four fifths of
            bfloat16's time, its experts alone a half to two thirds; "w7a8", weights in 7 bits, runs on any with AVX2.
            "fp8" multiplies experts in floating point of 8 bits on GPUs that can (Ada, Hopper and later), in half the
            memory; attention stays in 16.
            "auto" takes 8-bit integers on a CPU where they are exact, faster for the shapes of the model and true to it
            (cosine 0.999), "fp8" or else "nf4" on a GPU that 16 bits do not fit, else "none"; of a model that the store
            knows already it takes what it finds there. `moee-topics doctor` says what there is.
        dtype: type of the arithmetic; by default bfloat16 where the device multiplies it fast, else float32.
        device: such as "cpu" or "cuda:1"; by default the GPU if there is one.
        prompt: name of a built-in prompt, one for clustering with the kind of text ("cluster:forum post"), or a
            template with one ``{text}``; with two, or "echo", means are over the second copy (arXiv 2402.15449).
            After "chat:" it is said in the model's chat template. By default
            "prompteol", as in the paper; for "pocket", which reads long texts best without, "none" (short ones by
            "cluster"). Empty where ``prompts`` has several.
        prompts: several of these in the place of ``prompt``, such as the paper's eight aspects or those of MetaEOL
            (arXiv 2402.18458). Each text goes through the model once for each; a prompt that is added is encoded alone.
        combine_prompts: how the vectors of several prompts become one: the "mean", or "concat", hidden states end to
            end; the scores of routers are the mean either way, so that an expert stays one number.
        layers: whose hidden states are read: "last" (after the final norm), the number of a decoder layer from 1 (0 is
            what goes into the first), a range such as "8-12", "all", or a share of the depth such as 0.75; or a list
            of these. All are read in one pass and stored; the first is what a document's hidden states are.
        pooling: "last_token", or over all tokens of the sequence (with a prompt, the prompt's too) "mean" or
            "weighted_mean", where later tokens count more; "mean_without_prompt" leaves prompt and special tokens out.
            Or a list of these, as for ``layers``. By default "last_token"; for "pocket" "mean".
        states: "hidden_states"; or "values", the mean of the value vectors of the tokens (value aggregation, arXiv
            2602.01572), or "attention_outputs", what the attention of a layer gives (with ``last_token`` the same
            paper's aligned weighted values). Of these each of ``layers`` is one view, a range the mean of its layers.
        routing: the pooling of the routers' scores, where it is not that of the hidden states; or "frequency", the
            share of the tokens that go to each expert; or a list, as for ``layers``. With "none" no router is read, and
            the pass ends after the last of ``layers``.
        reroute: layers, named as in ``layers``, in which every token also attends to the key and value of the last one
            (KV-Embedding, arXiv 2601.01046), so that early tokens know of the whole document. The paper takes some in
            the middle, and asks in the prompt for one word. Of models that run packed.
        max_tokens: longest sequence, prompt included.
        long_documents: "truncate" cuts the end of a longer document away; "chunk" encodes all of it in pieces of
            ``max_tokens`` and takes the mean of their vectors, weighted by their document tokens.
        tokens_per_batch: tokens in one forward pass; it changes memory and speed, not the vectors.
    """

    model: str = "pocket"
    revision: str | None = None
    quantize: Literal["auto", Quantize] = AUTO
    dtype: Dtype | None = None
    device: str | None = None
    # Left out, these two follow from the model: nobody but __post_init__ ever sees the None.
    prompt: str = None  # type: ignore[assignment]
    pooling: Pooling | tuple[Pooling, ...] = None  # type: ignore[assignment]
    prompts: tuple[str, ...] | None = None
    combine_prompts: CombinePrompts = "mean"
    layers: Layer | tuple[Layer, ...] = LAST
    states: States = "hidden_states"
    routing: Routing | tuple[Routing, ...] | None = None
    reroute: Layer | tuple[Layer, ...] | None = None
    max_tokens: Annotated[int, Field(ge=1)] = 512
    long_documents: LongDocuments = "truncate"
    tokens_per_batch: Annotated[int, Field(ge=1)] | None = None

    def __post_init__(self) -> None:
        """Fills in what depends on the model.

        Raises:
            InputError: a prompt that is neither a built-in name nor a template, two prompts that are the same, one
                prompt beside several, a layer that cannot be, an empty list, or "none" beside other ways to read
                routers.
        """
        self._settle_prompts()
        small = resolve(self.model) == str(POCKET)
        defaults = {"prompt": "none", "pooling": "mean"} if small else {"prompt": "prompteol", "pooling": "last_token"}
        for name, value in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if not self.prompts:
            get_prompt(self.prompt)
        for name in ("layers", "pooling", "routing", "reroute"):
            value = getattr(self, name)
            if isinstance(value, list | tuple):  # one of a list is that one: both are the same recipe
                if not value:
                    raise InputError(f"encoder.{name} is an empty list. Name one or more, or leave it out.")
                object.__setattr__(self, name, tuple(value) if len(value) > 1 else value[0])
        for name in ("layers", "reroute"):
            check_layers(listed(getattr(self, name)), name)
        if "none" in (routing := listed(self.routing)) and len(routing) > 1:
            raise InputError(
                f"encoder.routing is {list(routing)}: with 'none' no router is read. Leave it or the rest out."
            )

    def _settle_prompts(self) -> None:
        """Several prompts as they are kept: two or more, and beside them ``prompt`` is empty."""
        if self.prompts is None:
            return
        if not self.prompts:
            raise InputError("encoder.prompts is an empty list. Name one or more, or leave it out.")
        if self.prompt:
            raise InputError(
                f"encoder.prompt is {self.prompt!r} and encoder.prompts is {list(self.prompts)}: give one of them. "
                "Leave encoder.prompt out, or empty, to read each text in several prompts."
            )
        templates = [get_prompt(prompt).template for prompt in self.prompts]
        for place, template in enumerate(templates):
            if template in templates[:place]:
                same = self.prompts[templates.index(template)], self.prompts[place]
                raise InputError(f"encoder.prompts has {same[0]!r} and {same[1]!r}, which are the same. Leave one out.")
        alone = len(self.prompts) == 1  # one of a list is that one
        object.__setattr__(self, "prompt", self.prompts[0] if alone else "")
        object.__setattr__(self, "prompts", None if alone else tuple(self.prompts))

    @classmethod
    def checked(cls, model: str | Path = "pocket", **options: Unpack[EncoderOptions]) -> EncoderSettings:
        """Settings from what a caller typed; None, as everywhere, stands for the default.

        Raises:
            InputError: an option does not exist or has none of its values.
        """
        typed: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        for name in {"dtype", "device"} & typed.keys():  # torch has types of its own for both
            typed[name] = str(typed[name]).removeprefix("torch.")
        try:
            settings = _SETTINGS.validate_python({"model": str(model), **typed})
        except ValidationError as error:
            faults: dict[Any, str] = {}  # of each option the first: a union tells a fault once for each of its types
            for fault in error.errors():
                faults.setdefault(fault["loc"][0], f"{fault['loc'][0]} is {fault['input']!r}: {fault['msg']}")
            raise InputError(f"These options of an encoder cannot be: {'; '.join(faults.values())}.") from error
        return settings

    @property
    def template(self) -> str:
        """The prompt as a template with ``{text}``; empty where there are several."""
        return "" if self.prompts else get_prompt(self.prompt).template

    @property
    def templates(self) -> tuple[str, ...]:
        """All prompts as templates."""
        return tuple(get_prompt(prompt).template for prompt in self.prompts or (self.prompt,))

    def rerouted(self, depth: int) -> tuple[int, ...]:
        """The numbers of the layers that are re-routed in a model of so many decoder layers, in their order.

        Raises:
            InputError: a layer does not exist.
        """
        numbers = {
            number for layer in listed(self.reroute) for number in numbers_of(layer, depth, self.model, "reroute")
        }
        if 0 in numbers:
            raise InputError("encoder.reroute has 0, what goes into the first layer: it has no keys and no values.")
        return tuple(sorted(numbers))

    def reading(self, depth: int) -> Reading:
        """The views that are read of a model of so many decoder layers.

        Raises:
            InputError: a layer does not exist.
        """
        views = listed(self.layers), listed(self.pooling), listed(self.routing)
        reading = reading_of(*views, depth=depth, model=self.model, states=self.states)
        return replace(reading, prompts=self.templates, combine=self.combine_prompts) if self.prompts else reading


def listed(value: Any) -> tuple[Any, ...]:
    """One or several as several, None as none."""
    return value if isinstance(value, tuple) else () if value is None else (value,)


_SETTINGS = TypeAdapter(EncoderSettings)


class EncoderOptions(TypedDict, total=False):
    """The options of :class:`EncoderSettings` but the model, as a caller may type them; None stands for the default.

    It serves editors and mypy alone: the class above says what an option means, which values it has and its default.
    """

    revision: str | None
    quantize: Literal["auto", Quantize] | None
    dtype: Dtype | torch.dtype | None
    device: str | torch.device | None
    prompt: str | None
    prompts: Sequence[str] | None
    combine_prompts: CombinePrompts | None
    pooling: Pooling | Sequence[Pooling] | None
    layers: Layer | Sequence[Layer] | None
    states: States | None
    routing: Routing | Sequence[Routing] | None
    reroute: Layer | Sequence[Layer] | None
    max_tokens: int | None
    long_documents: LongDocuments | None
    tokens_per_batch: int | None


NOT_IN_VECTORS = ("device", "tokens_per_batch")
"""Options that decide where and how fast a model runs, and change no vector."""

VIEW_OPTIONS = ("layers", "pooling", "states", "routing")
"""Options that name views; a key names the views themselves."""

EXCLUSIVE = {"encoder.prompt": "encoder.prompts", "encoder.prompts": "encoder.prompt"}
"""Keys of a recipe of which one is given: an override of the one sets the other aside."""

PROMPT_OPTIONS = ("prompt", "prompts", "combine_prompts")
"""Options that say in what a text is read; a key names one template, or several and how they are combined."""

ARITHMETIC = ("quantize", "dtype")
"""Options that say in what a model is computed; left open, each machine chooses, and a key says what was taken."""

KEY_OPTIONS = tuple(
    field.name for field in fields(EncoderSettings) if field.name not in ("model", *NOT_IN_VECTORS, *VIEW_OPTIONS)
)
"""Options that vectors depend on, by the names that they have in the key of a store too."""


def arithmetic_of_key(key: Mapping[str, Any]) -> tuple[Quantize, Dtype | None]:
    """The options ``quantize`` and ``dtype`` that give vectors as those of a store's key."""
    quantize = key["quantize"] if key.get("quantize") in get_args(Quantize) else "none"
    return cast(Quantize, quantize), key.get("dtype")


def options_of(key: Mapping[str, Any]) -> EncoderOptions:
    """The options that load the model of a store's key again."""
    options = {name: key[name] for name in KEY_OPTIONS if key.get(name) is not None} | _view_options(key)
    revision, quantize = str(options.get("revision", "")), options.get("quantize")
    # No commits: the hash of a folder, and what stands for one where the cache of the hub has none.
    if revision.startswith("sha256:") or revision in ("unknown", "none", UNTRAINED):
        del options["revision"]
    # The method of a foreign quantizer: its checkpoint loads as it is.
    if quantize is not None and quantize not in get_args(Quantize):
        del options["quantize"]
    return cast(EncoderOptions, options)


def _view_options(key: Mapping[str, Any]) -> dict[str, Any]:
    """The options that name the views of a key."""
    if "views" not in key:  # its "layers" are the number of those that have routers
        return {"pooling": key["pooling"]} if "pooling" in key else {}
    reading = Reading.of_key(key)
    hidden = [view for view in reading.views if view.block != "router"]
    routers = [view for view in reading.views if view.block == "router"]
    layers = [int(view.layer) if view.layer.isdigit() else view.layer for view in hidden]
    return {
        "states": reading.hidden_states.block,
        "layers": tuple(dict.fromkeys(layers)),
        "pooling": tuple(dict.fromkeys(view.pooling for view in hidden)),
        "routing": tuple(view.pooling for view in routers) or "none",
    }
