"""One encoder that is loaded when it is first needed, and what can be said of it before."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from moee_topics.encode.prompts import PromptTokenizer, TokenCounts, get_prompt
from moee_topics.encode.settings import (
    ARITHMETIC,
    AUTO,
    KEY_OPTIONS,
    PROMPT_OPTIONS,
    UNTRAINED,
    EncoderSettings,
    arithmetic_of_key,
    averages,
)
from moee_topics.encode.views import FREQUENCY, LAST, Reading, View, entry_of, key_of_reading
from moee_topics.store import stored_keys

if TYPE_CHECKING:
    from moee_topics.encode.encoder import MoEEncoder
    from moee_topics.encode.models import ModelCard

logger = logging.getLogger(__name__)

# Needs torch, or reads the files of a model: imported where it is used, so that a recipe loads without either.


class EncoderSource:
    """The encoder of some settings: called, it loads the weights once; all else is known without them.

    Args:
        settings: model and options.
        require_routers: False lets a model without routers give hidden states alone.
        trained: False gives the model its shape alone, with random weights: a control, in 16 bits or more.
        keep_quantized: load what is quantized from the copy that this machine keeps, as many processes on it should.
    """

    def __init__(
        self,
        settings: EncoderSettings,
        *,
        require_routers: bool = True,
        trained: bool = True,
        keep_quantized: bool = False,
    ) -> None:
        # What a control has lost is its training alone, so it is not measured whether that bears integers.
        self.settings = settings if trained else replace(settings, quantize="none")
        self._require_routers, self._trained, self._keep_quantized = require_routers, trained, keep_quantized
        self._asked: EncoderSettings | None = None  # what the settings were, where a store has settled them
        self._measured: dict[EncoderSettings, dict[str, str]] = {}
        self._encoder: MoEEncoder | None = None
        self._loading = threading.Lock()  # two threads that both find no weights would load them twice

    def __call__(self) -> MoEEncoder:
        """The encoder; the first call loads the weights.

        Raises:
            ModelError: the model is missing or not supported, or has no routers.
        """
        from moee_topics.encode.encoder import MoEEncoder

        with self._loading:
            if self._encoder is None:
                self._tell_what_is_kept()
                self._encoder = MoEEncoder.from_settings(
                    self.settings,
                    require_routers=self._require_routers,
                    trained=self._trained,
                    keep_quantized=self._keep_quantized,
                )
            return self._encoder

    def _tell_what_is_kept(self) -> None:
        """Says where a store has settled otherwise than this machine would have."""
        if self._asked is None:
            return
        kept, own = self._arithmetic(self.settings), self._arithmetic(self._asked)
        if kept != own:
            logger.warning(
                "The store holds vectors of %s in %s, and what it lacks is encoded alike; this machine would take %s. "
                "To encode everything so: encoder.quantize=%s encoder.dtype=%s",
                *(self.settings.model, " and ".join(kept.values()), " and ".join(own.values()), *own.values()),
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process it is as it was made here, and loads the weights there, as its neighbours do."""
        folder = Path(self.settings.model)  # by its whole name, since that process works in another folder
        settings = replace(self.settings, model=str(folder.resolve())) if folder.is_dir() else self.settings
        made = partial(EncoderSource, require_routers=self._require_routers, trained=self._trained, keep_quantized=True)
        return made, (settings,)

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._encoder is not None

    def release(self) -> None:
        """Lets the weights go; the next call loads them again."""
        self._encoder = None

    @property
    def arithmetic(self) -> str:
        """In what the encoder multiplies, and why; empty before it is loaded."""
        return self._encoder.arithmetic if self._encoder is not None else ""

    @property
    def counts(self) -> TokenCounts:
        """Tokens that went through the encoder so far; none before it is loaded."""
        report = self._encoder.report if self._encoder is not None else TokenCounts()
        return TokenCounts(report.documents_cut, report.tokens, report.tokens_lost)

    @property
    def device(self) -> str:
        """Where the model runs.

        Raises:
            InputError: there is no such device here.
        """
        from moee_topics.encode.models import device_of

        return str(device_of(self.settings.device))

    def key(self) -> dict[str, Any]:
        """What the vectors depend on, from the loaded encoder."""
        return self().spec.key()

    @property
    def expected(self) -> dict[str, Any]:
        """The part of the key that follows from the settings, the files of the model and, where these leave it open,
        from what this machine computes fast.

        Raises:
            InputError: a layer does not exist.
        """
        return self._expected_everywhere | self._arithmetic(self.settings)

    @cached_property
    def _expected_everywhere(self) -> dict[str, Any]:
        """The same on every machine: without the arithmetic."""
        settings = self.settings
        rerouted = list(settings.rerouted(self.depth))
        prompt = {} if settings.prompts else {"prompt": settings.template}
        left_out = ("revision", *ARITHMETIC, "reroute", *PROMPT_OPTIONS)
        return (
            self._identity
            | {name: getattr(settings, name) for name in KEY_OPTIONS if name not in left_out}
            | prompt
            | key_of_reading(settings.reading(self.depth))
            | ({"reroute": rerouted} if rerouted else {})
        )

    @cached_property
    def _identity(self) -> dict[str, str]:
        from moee_topics.encode.models import identity

        model, revision = identity(self.settings.model, self.settings.revision)
        return {"model": model, "revision": revision if self._trained else UNTRAINED}

    def _arithmetic(self, settings: EncoderSettings) -> dict[str, str]:
        """How weights are held and multiplied with these settings, as a key says it."""
        from moee_topics.encode.models import arithmetic_of, quantized_as

        if settings not in self._measured:
            chosen = arithmetic_of(settings)
            stored_as = quantized_as(self._config) if self._trained else "none"
            quantize = stored_as if chosen.quantize == "none" else chosen.quantize
            values = quantize, str(chosen.dtype).removeprefix("torch.")
            self._measured[settings] = dict(zip(ARITHMETIC, values, strict=True))
        return self._measured[settings]

    @cached_property
    def depth(self) -> int:
        """How many decoder layers the model has."""
        from moee_topics.encode.models import depth_of

        return depth_of(self._config)

    @cached_property
    def _config(self) -> Any:
        from moee_topics.encode.models import load_config

        return load_config(self.settings.model, revision=self.settings.revision)

    @property
    def reading(self) -> Reading:
        """The views that are read, and which two of them the blocks of a document are."""
        return Reading.of_key(self._expected_everywhere)

    def keep_to(self, root: Path) -> None:
        """Takes the arithmetic in which the store ``root`` holds this model, where the settings leave it open.

        So a corpus that was begun on another machine is gone on with, not begun anew. Of several that of this machine
        comes first. One that changes vectors more, such as four bits, is taken only where this machine would choose it.
        """
        if self.settings.quantize != AUTO or self.is_loaded:
            return
        from moee_topics.encode.models import interchangeable

        of_this_model = (key for key in stored_keys(root) if self._identity.items() <= key.items())
        there = {tuple(key.get(name) for name in ARITHMETIC): key for key in of_this_model}
        kinds = interchangeable(self._config)
        known = [there[pair] for pair in there if pair[0] in kinds and pair[1] in self._open_dtypes]
        if len(there) > 1 and (own := tuple(self._arithmetic(self.settings).values())) in there:
            known = [there[own]]
        if known:
            self._asked = self.settings
            quantize, dtype = arithmetic_of_key(known[0])
            self.settings = replace(self.settings, quantize=quantize, dtype=dtype)

    @property
    def _open_dtypes(self) -> tuple[str, ...]:
        return (self.settings.dtype,) if self.settings.dtype else ("bfloat16", "float32")

    def stored_key(self, root: Path) -> dict[str, Any] | None:
        """The key under which this encoder has stored a view in the store ``root`` before; None if never.

        From then on it keeps to the arithmetic of that store.
        """
        self.keep_to(root)
        reading = self.reading
        views, of_entry = key_of_reading(reading), {"view", "prompt"} if reading.prompts else {"view"}
        alike = {name: value for name, value in self.expected.items() if name not in views}
        for key in stored_keys(root):
            # A part of the key is enough: what only loaded weights say (layers, experts, width) is in what is found.
            alike_too = key.get("reroute") == self.expected.get("reroute")
            if alike_too and alike.items() <= key.items() and entry_of(key, reading) in reading.entries:
                return {name: value for name, value in key.items() if name not in of_entry} | views
        return None

    def unembedding(self) -> NDArray[np.float32]:
        """The right singular vectors of the model's unembedding, (D, D) as rows, the largest singular value first.

        Loads the weights where they are not in memory.
        """
        from moee_topics.encode.models import unembedding_directions

        return unembedding_directions(self().model, self.settings.model, self.settings.revision)

    @cached_property
    def card(self) -> ModelCard:
        """What the model is, from its configuration."""
        from moee_topics.encode.models import describe

        return describe(self.settings.model, revision=self.settings.revision)

    @property
    def suggested_quantize(self) -> Literal["auto", "nf4"]:
        """``auto``, or four bits on a CPU whose memory holds them and not what ``auto`` would take."""
        from moee_topics.encode.models import leaves_room

        quantize, dtype = arithmetic_of_key(self._arithmetic(self.settings))
        memory = self.card.memory
        if self.device != "cpu" or "nf4" not in memory or quantize not in memory:  # on a GPU auto itself looks at it
            return "auto"
        needed = memory[quantize] * (2 if (quantize, dtype) == ("none", "float32") else 1)
        return "auto" if leaves_room(needed) else "nf4"

    def facts(self) -> dict[str, Any]:
        """Family and size of the model, as a run notes them."""
        names = ("family", "parameters", "active_parameters", "experts_per_token")
        return {name: getattr(self.card, name) for name in names}

    @property
    def bytes_per_document(self) -> int:
        """What the store keeps of one document in float16, all views together."""
        return sum(self.bytes_per_view.values())

    @property
    def bytes_per_view(self) -> dict[str, int]:
        """What the store keeps of one document in float16, by the name of the view.

        The routers' scores are kept with the last hidden states of the same pooling; of means the weights too.
        """
        scores, sizes = self.card.layers * self.card.experts, dict[str, int]()
        for entry in self.reading.entries:
            if entry.block != "router":
                sizes[str(entry)] = 2 * (self.card.hidden_size if entry.layer == LAST else self._size_of_a_state)
            if entry.layer == LAST:
                weights = 2 if averages(entry.pooling, self.settings.long_documents) else 1
                sizes[str(View("router", "all", entry.pooling, entry.prompt))] = 2 * scores * weights
            if entry.pooling == FREQUENCY:
                sizes[str(entry)] = 2 * scores
        return sizes

    def bytes_of(self, view: View) -> int:
        """What the store keeps of one document for one view, in all prompts."""
        prompts = self.reading.prompts or ("",)
        return sum(self.bytes_per_view[str(replace(view, prompt=prompt))] for prompt in prompts)

    @property
    def states_size(self) -> int:
        """How many numbers the hidden states of a document are, or its values; those of all prompts end to end."""
        reading = self.reading
        return self._size_of_a_state * (len(reading.prompts) if reading.combine == "concat" else 1)

    @property
    def _size_of_a_state(self) -> int:
        return self.card.values_size if self.settings.states == "values" else self.card.hidden_size

    def count(self, texts: Sequence[str]) -> TokenCounts:
        """Tokens of texts in all prompts, and what would be cut."""
        long = self.settings.long_documents
        return TokenCounts.together(
            [TokenCounts.of(prompted.sequences(texts, long)) for prompted in self._tokenizers] if texts else []
        )

    @cached_property
    def _tokenizers(self) -> list[PromptTokenizer]:
        """One for each prompt."""
        from moee_topics.encode.models import load_tokenizer

        settings = self.settings
        tokenizer = load_tokenizer(settings.model, revision=settings.revision)
        return [PromptTokenizer(tokenizer, get_prompt(each), settings.max_tokens) for each in settings.templates]
