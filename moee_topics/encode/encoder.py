"""Texts to embeddings: the hidden states and router scores of a mixture-of-experts language model."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moee_topics.embeddings import Embeddings
from moee_topics.encode.batching import Pack, plan_packs
from moee_topics.encode.decoder_layers import LayerCapture, check_layers, find_layers, find_sources
from moee_topics.encode.last_layer import can_be_shortened, for_last_tokens, reads_last_tokens
from moee_topics.encode.layout import check_rerouting, choose_layout, last_states, measured_sizes
from moee_topics.encode.models import (
    ONE_AT_A_TIME,
    checkpoint_errors,
    depth_of,
    device_of,
    experts_per_token,
    identity,
    load_config,
    load_model,
    quantized_as,
    quantized_copy,
    row_counts_of,
    values_size,
)
from moee_topics.encode.pooling import Spans, pool
from moee_topics.encode.prefix import FEWEST, NOTHING, Prefix, can_be_kept
from moee_topics.encode.prompts import LongDocuments, PromptTokenizer, TokenCounts, TokenSequence, get_prompt
from moee_topics.encode.router import RouterCapture, find_routers, multi_hot
from moee_topics.encode.settings import PROMPT_OPTIONS, UNTRAINED, EncoderOptions, EncoderSettings, averages
from moee_topics.encode.texts import plain_texts
from moee_topics.encode.views import FREQUENCY, LAST, Reading, View, key_of_reading
from moee_topics.errors import ModelError

T = TypeVar("T")
R = TypeVar("R")
logger = logging.getLogger(__name__)

# Documents are sorted by length inside a step: many make packs even, and the token ids of all are in memory.
DOCUMENTS_PER_STEP = 2048
OFTEN_UNSAID = ("views", "reroute", *PROMPT_OPTIONS)
"""Of a key: left out where nothing is said, so that stores of 0.1.0 keep theirs."""
# Eight experts of 64 for each token give every expert 1,024 rows of such a pack; on a CPU 16,384 tokens were no faster
# (benchmarks/LOG.md).
TOKENS_PER_BATCH = 8192
TOKENS_PER_BATCH_ON_GPU = 16384
TOKENS_PER_BATCH_IN_CACHE = 2048
"""For models of a hidden size below 1,024 on a CPU, which their weights do not keep waiting: states that stay in
the cache are added and activated faster than those of four times as many tokens."""


@dataclass(frozen=True)
class EncoderSpec:
    """Everything that the vector of a document depends on: the options of :class:`EncoderSettings`, and their outcome.

    Attributes:
        model: the hub name, "pocket", or "folder" for any other local checkpoint.
        revision: the commit of a hub model, or the content hash of a folder; ``UNTRAINED`` of random weights.
        quantize: what the weights are, which a checkpoint may say itself.
        dtype: what the model runs in.
        prompt: the template, with ``{text}`` where the document goes; empty where there are several.
        pooling: of the hidden states of a document.
        layers: MoE layers, L.
        experts: routed experts of a layer, E.
        hidden_size: D.
        views: names of all views that are read; empty for the usual two, which ``pooling`` names.
        reroute: numbers of the layers whose tokens see the last one of their document; empty for none.
        prompts: the templates, where there are several.
        combine_prompts: how their vectors become one; empty for one prompt.
    """

    model: str
    revision: str
    quantize: str
    dtype: str
    prompt: str
    pooling: str
    max_tokens: int
    long_documents: LongDocuments
    layers: int
    experts: int
    hidden_size: int
    views: Sequence[str] = ()
    reroute: Sequence[int] = ()
    prompts: Sequence[str] = ()
    combine_prompts: str = ""

    @property
    def reading(self) -> Reading:
        """The views, and which two of them the blocks of a document are."""
        return Reading.of_key(self.key())

    def key(self) -> dict[str, Any]:
        """The same as plain JSON, for the key of a store; without what is as in 0.1.0, such as the usual views."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value or name not in OFTEN_UNSAID}


@dataclass(frozen=True)
class EncodingReport(TokenCounts):
    """Running totals of an encoder.

    Attributes:
        documents: documents that were given.
        encoded: documents that went through the model; identical ones go once.
    """

    documents: int = 0
    encoded: int = 0


class MoEEncoder:
    """Encodes texts with a mixture-of-experts language model; any thread may use it.

    The vector of a document depends on the document and the ``spec`` alone: not on its neighbours, the size of a batch
    or the order.

    Attributes:
        model: the base model, a transformers ``PreTrainedModel``.
        tokenizer: its tokenizer.
        spec: what the vectors depend on.
        layout: how the documents of a forward pass lie: "packed" end to end without padding; "padded" on the right
            where a model does not keep packed documents apart; "alone", one at a time, where not even that is exact.
        arithmetic: in what the weights are multiplied, and why: "it was named", or what ``quantize: auto`` measured.
        row_counts: how many tokens a packed row has, filler included.
        shortens: whether the last layer runs for the last token of each document alone where only these are read.
        tokens_per_batch: tokens in one forward pass.
        beginnings: tokens that documents begin with, by their prompt, where they go through the model once for all.
        report: running totals: documents, tokens, and what was cut.
    """

    def __init__(self, model: Any, tokenizer: Any, spec: EncoderSpec, tokens_per_batch: int | None = None) -> None:
        self.model, self.tokenizer, self.spec = model, tokenizer, spec
        self.arithmetic = str(getattr(model, "arithmetic", ""))
        self.routers = find_routers(model)
        self.layers = find_sources(model, spec.reading.hidden_states.block)
        self.prompted = self._tokenizers()
        usual = TOKENS_PER_BATCH_ON_GPU if model.device.type == "cuda" else TOKENS_PER_BATCH
        if spec.hidden_size < 1024 and model.device.type == "cpu":
            usual = TOKENS_PER_BATCH_IN_CACHE
        self.tokens_per_batch = max(tokens_per_batch or usual, spec.max_tokens)
        self.report = EncodingReport()
        # A [PAD] that was added to a tokenizer often has a number beyond the embeddings; what fills is never looked at.
        rows = model.get_input_embeddings().num_embeddings
        fillers = (tokenizer.pad_token_id, tokenizer.eos_token_id)
        self._pad_id = next((i for i in fillers if i is not None and 0 <= i < rows), 0)
        with ONE_AT_A_TIME:
            self.layout = choose_layout(model, spec.max_tokens)
            self.row_counts = row_counts_of(model)
            if spec.reroute:
                check_rerouting(model, self.layout, depth_of(model.config), spec.model)
            self._decoder = find_layers(model)
            self.shortens = (
                self.packed
                and reads_last_tokens(spec.reading.entries, len(self._decoder))
                and can_be_shortened(model, self._decoder, spec.max_tokens, self.row_counts)
            )
        self.beginnings = self._kept_beginnings()
        self._prefixes: dict[tuple[str, frozenset[View]], Prefix] = {}

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | Path, *, require_routers: bool = True, **options: Unpack[EncoderOptions]
    ) -> MoEEncoder:
        """Loads a model and makes an encoder of it.

        Args:
            name_or_path: a hub name, a folder in hub layout, or "pocket" for the model that the package carries.
            require_routers: False lets a model without routers give hidden states alone.
            options: the other options of :class:`EncoderSettings`, such as ``quantize="nf4"``.

        Raises:
            ModelError: the model is missing or not supported, has no routers, or was not quantized as asked.
            InputError: an option does not exist, or does not take the value.
        """
        return cls.from_settings(EncoderSettings.checked(name_or_path, **options), require_routers=require_routers)

    @classmethod
    def from_settings(
        cls,
        settings: EncoderSettings,
        *,
        require_routers: bool = True,
        trained: bool = True,
        keep_quantized: bool = False,
    ) -> MoEEncoder:
        """Does :meth:`from_pretrained` for settings that were checked already.

        Args:
            settings: the model and how it is read.
            require_routers: as for :meth:`from_pretrained`.
            trained: False makes a control whose weights are drawn at random.
            keep_quantized: loads a quantized model from the copy that this machine keeps, and makes the copy first
                where there is none.

        Raises:
            ModelError: as for :meth:`from_pretrained`.
        """
        # What the machine has not, and what the model cannot give, is told before gigabytes are loaded.
        device_of(settings.device)
        config = load_config(settings.model, revision=settings.revision)
        depth = depth_of(config)
        reading, rerouted = settings.reading(depth), list(settings.rerouted(depth))
        if any(view.pooling == FREQUENCY for view in reading.views):
            experts_per_token(config)
        with ONE_AT_A_TIME, checkpoint_errors(settings.model):
            model, tokenizer = load_model(quantized_copy(settings) if keep_quantized else settings, trained=trained)
            layers, experts, hidden_size = measured_sizes(model)
            if any(view.block != "router" and view.layer != LAST for view in reading.views):
                check_layers(model, find_sources(model, settings.states), depth, settings.model, settings.states)
        if not layers and require_routers:
            raise ModelError(
                f"The model {settings.model!r} ({model.config.model_type}) has no routers: it is no mixture of "
                "experts, or not one whose routers transformers declares. `moee-topics models ls` lists those that are "
                "supported. Its hidden states alone can be had with require_routers=False."
            )
        name, commit = identity(settings.model, settings.revision)
        spec = EncoderSpec(
            model=name,
            revision=commit if trained else UNTRAINED,
            quantize=quantized_as(model.config),
            dtype=str(model.dtype).removeprefix("torch."),
            prompt=settings.template,
            max_tokens=settings.max_tokens,
            long_documents=settings.long_documents,
            layers=layers,
            experts=experts,
            hidden_size=hidden_size,
            reroute=rerouted,
            **key_of_reading(reading),
        )
        with checkpoint_errors(settings.model):  # it tokenizes and runs for the first time
            return cls(model, tokenizer, spec, settings.tokens_per_batch)

    def with_prompt(self, prompt: str) -> MoEEncoder:
        """An encoder with another prompt that shares the weights of this one, so that they are in memory once."""
        other = copy.copy(self)  # model and hooks are shared; a deep copy would be a second model
        template = get_prompt(prompt).template
        other.spec = dataclasses.replace(self.spec, prompt=template, prompts=(), combine_prompts="")
        other.prompted = other._tokenizers()
        other.beginnings, other._prefixes = other._kept_beginnings(), {}
        other.report = EncodingReport()
        return other

    def _tokenizers(self) -> dict[str, PromptTokenizer]:
        """What makes tokens of texts, by the prompt as views name it."""
        templates = {prompt: prompt for prompt in self.spec.prompts} or {"": self.spec.prompt}
        return {
            named: PromptTokenizer(self.tokenizer, get_prompt(template), self.spec.max_tokens)
            for named, template in templates.items()
        }

    def _kept_beginnings(self) -> dict[str, tuple[int, ...]]:
        """The tokens that all documents of a prompt begin with, where reading them once is worth it and exact."""
        kept = dict[str, tuple[int, ...]]()
        if not self.packed or self.spec.reroute:  # re-routed, they see the last token of each document
            return kept
        for named, prompted in self.prompted.items():
            if len(prompted.beginning) < FEWEST:
                continue
            with ONE_AT_A_TIME:
                if can_be_kept(self.model, prompted.beginning):
                    kept[named] = prompted.beginning
                    continue
            logger.warning(
                "The %d tokens that the prompt %r begins with go through %s with every document: read once, they "
                "give other vectors in this model.",
                *(len(prompted.beginning), prompted.prompt.template, self.spec.model),
            )
        return kept

    @property
    def packed(self) -> bool:
        """Whether documents run end to end, without padding."""
        return self.layout == "packed"

    @property
    def peak_gpu_bytes(self) -> int | None:
        """The most that tensors have taken on the model's GPU so far; None on a CPU."""
        device = self.model.device
        return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else None

    def encode(self, texts: str | Iterable[str]) -> Embeddings:
        """Encodes documents, in their order; identical ones go through the model once.

        Args:
            texts: one document, or any iterable of them.

        Returns:
            Embeddings of N documents; (1, ...) for a single string.

        Raises:
            InputError: a document is not a string.
        """
        reading = self.spec.reading
        return reading.joined(self.encode_entries(texts, reading.read_entries))

    def encode_entries(self, texts: str | Iterable[str], entries: Sequence[View]) -> dict[View, Embeddings]:
        """Encodes documents for some entries of a store, in their order.

        Each document goes through the model once for each prompt among the entries, and no further than the last layer
        that one of them needs.

        Args:
            texts: one document, or any iterable of them.
            entries: some of :attr:`Reading.entries`.

        Returns:
            For each entry the embeddings of the N documents.

        Raises:
            InputError: a document is not a string.
        """
        documents = list(plain_texts([texts] if isinstance(texts, str) else texts))
        unique = list(dict.fromkeys(documents))
        starts = range(0, max(1, len(unique)), DOCUMENTS_PER_STEP)
        calls = (unique[at : at + DOCUMENTS_PER_STEP] for at in starts)
        parts = _concatenated([*self.encode_calls(calls, entries)])
        self._report(documents=len(documents) - len(unique))
        return _repeated(parts, unique, documents)

    def encode_calls(self, calls: Iterable[Sequence[str]], entries: Sequence[View]) -> Iterator[dict[View, Embeddings]]:
        """Does :meth:`encode_entries` for one list of documents after the other.

        A list is tokenized while the one before is in the model.

        Args:
            calls: lists of documents, read one ahead of what is asked for.
            entries: some of :attr:`Reading.entries`.

        Yields:
            For each list, in their order, the embeddings of its documents by entry.

        Raises:
            InputError: a document is not a string.
        """
        prompts, long_documents = dict.fromkeys(entry.prompt for entry in entries), self.spec.long_documents

        def tokenize(texts: Sequence[str]) -> tuple[list[str], list[str], dict[str, list[TokenSequence]]]:
            documents = list(plain_texts(texts))
            unique = list(dict.fromkeys(documents))
            tokens = {prompt: self.prompted[prompt].sequences(unique, long_documents) for prompt in prompts}
            return documents, unique, tokens

        for documents, unique, tokenized in one_ahead(tokenize, calls):
            parts = dict[View, Embeddings]()
            for prompt, sequences in tokenized.items():
                some = [entry for entry in entries if entry.prompt == prompt]
                parts |= self._encode_sequences(sequences, len(unique), prompt, some)
            counts = TokenCounts.together([TokenCounts.of(sequences) for sequences in tokenized.values()])
            self._report(documents=len(documents), encoded=len(unique), **dataclasses.asdict(counts))
            yield _repeated(parts, unique, documents)

    def encode_stream(self, texts: Iterable[str], documents_per_step: int = DOCUMENTS_PER_STEP) -> Iterator[Embeddings]:
        """Encodes documents step by step, in their order, in memory that does not grow with their number.

        Args:
            texts: any iterable of documents; it is read one step ahead of what is asked for.
            documents_per_step: documents of each part but the last; identical ones inside a step are encoded once.

        Raises:
            InputError: a document is not a string. This, and whatever else reading the documents raises, comes after
                the steps that were full before.
        """
        reading, stream = self.spec.reading, plain_texts(texts)
        calls = iter(lambda: list(islice(stream, documents_per_step)), [])
        yield from map(reading.joined, self.encode_calls(calls, reading.read_entries))

    def _report(self, **counts: int) -> None:
        with ONE_AT_A_TIME:  # += reads and writes, and another thread may encode
            self.report += EncodingReport(**counts)

    def _encode_sequences(
        self, sequences: Sequence[TokenSequence], documents: int, prompt: str, entries: Sequence[View]
    ) -> dict[View, Embeddings]:
        """Embeddings of documents, in their order, from their tokens in one prompt."""
        prompted, is_kept = self.prompted[prompt], self.packed and prompt in self.beginnings
        packs = plan_packs(
            [sequence.ids for sequence in sequences],
            1 if self.layout == "alone" else self.tokens_per_batch,
            packed=self.packed,
            pad_id=self._pad_id,
            shared=[prompted.shared(sequence.ids) for sequence in sequences] if is_kept else (),
            row_counts=self.row_counts,
        )
        # Those of no documents come first, so that nothing encoded has the shapes of everything else.
        nothing = {entry: self._of_no_documents(entry) for entry in entries}
        read = ((pack, [sequences[row] for row in pack.rows]) for pack in packs)
        passes = one_behind(self._run(pack, entries, some) for pack, some in read)
        by_entry = _concatenated([nothing, *(self._read(done) for done in passes)])
        order = np.array([row for pack in packs for row in pack.rows], dtype=np.intp).argsort()
        by_entry = {entry: vectors[order] for entry, vectors in by_entry.items()}
        if len(sequences) == documents:
            return by_entry
        return {entry: mean_of_chunks(vectors, sequences, documents) for entry, vectors in by_entry.items()}

    def _of_no_documents(self, entry: View) -> Embeddings:
        width = 0 if entry.block == "router" else self.spec.hidden_size
        if entry.block == "values":
            width = values_size(self.model)
        has_routers = entry.block == "router" or entry.layer == LAST
        scores = np.zeros((0, self.spec.layers, self.spec.experts) if has_routers else (0, 0, 0), np.float32)
        averaged = has_routers and entry.pooling != FREQUENCY and averages(entry.pooling, self.spec.long_documents)
        return Embeddings(np.zeros((0, width), np.float32), scores, scores if self.routers and averaged else None)

    def forward(
        self, pack: Pack, entries: Sequence[View], sequences: Sequence[TokenSequence] | None = None
    ) -> dict[View, Embeddings]:
        """What the entries of a store hold of the sequences of one pack.

        Args:
            pack: token ids.
            entries: all of one prompt.
            sequences: those of the pack, which say where means are taken; without them over all tokens.

        Raises:
            ModelError: the tokenizer is of another model, or a vector is not finite.
        """
        return self._read(self._run(pack, entries, sequences))

    @torch.inference_mode()
    def _run(self, pack: Pack, entries: Sequence[View], sequences: Sequence[TokenSequence] | None = None) -> _Pass:
        last, rows = max(map(max, pack.sequences)), self.model.get_input_embeddings().num_embeddings
        if last >= rows:  # on a GPU it would end the process
            raise ModelError(
                f"The tokenizer of {self.spec.model!r} gives token {last}, and the model has {rows}: they "
                "do not belong together. Download both again, or take out what was added to the tokenizer."
            )
        whole = [entry for entry in entries if entry.layer == LAST or entry.block == "router"]
        between = [entry for entry in entries if entry not in whole]
        # One pass at a time, not one step: another thread's short question waits for seconds, not for a corpus.
        with ONE_AT_A_TIME, ExitStack() as hooks:
            prefix = self._prefix(entries) if any(pack.shared) else NOTHING
            own, read = ([getattr(each, name) for each in sequences or ()] for name in ("own", "read"))
            spans = Spans.of(pack.starts, pack.lengths, self.model.device, own, read, pack.shared, prefix.size)
            ending = None
            if self.packed and self.shortens and reads_last_tokens(entries, len(self._decoder)):
                short = for_last_tokens(self._decoder[-1], spans.last - prefix.size, self.row_counts)
                ending = hooks.enter_context(short)
            captures = {entry: self._router_capture(entry, spans, prefix, ending) for entry in whole}
            routers = {entry: hooks.enter_context(capture) for entry, capture in captures.items()}
            layers = hooks.enter_context(LayerCapture(self.layers, between, spans, ends=not whole, kept=prefix.layers))
            states = layers.run(lambda: last_states(self.model, pack, self.spec.reroute, kept=prefix.attention))
            hidden = dict(layers.pooled)
            if states is not None:
                states = states if ending else prefix.before(states)
                ends = [entry for entry in whole if entry.layer == LAST]
                hidden |= {entry: pool(states, ending or spans, entry.pooling) for entry in ends}
            scores = {entry: (_sent(capture.logits()), _sent(capture.weights())) for entry, capture in routers.items()}
            hidden = {entry: _sent(pooled) for entry, pooled in hidden.items()}
            device = self.model.device
            arrival = torch.cuda.current_stream(device).record_event() if device.type == "cuda" else None
        return _Pass(pack, entries, hidden, scores, arrival)

    def _read(self, done: _Pass) -> dict[View, Embeddings]:
        done.wait()
        for entry, vectors in done.hidden.items():
            self._check_finite(entry, vectors.numpy())
        return {entry: self._embeddings(entry, done) for entry in done.entries}

    def _prefix(self, entries: Sequence[View]) -> Prefix:
        """What the tokens that documents begin with have left of a pass that was made once."""
        key = entries[0].prompt, frozenset(entries)
        if key not in self._prefixes:
            ids = self.beginnings[entries[0].prompt]
            self._prefixes[key] = Prefix.read(self.model, ids, entries, routers=self.routers, layers=self.layers)
        return self._prefixes[key]

    def _router_capture(self, entry: View, spans: Spans, prefix: Prefix, ending: Spans | None) -> RouterCapture:
        """Hooks that pool router scores as an entry keeps them, those of a shortened last layer by ``ending``."""
        if entry.pooling != FREQUENCY:
            pooled = partial(pool, pooling=entry.pooling)
            with_weights = entry.pooling != "last_token"
            capture = RouterCapture(self.routers, partial(pooled, spans=spans), with_weights, prefix.routers)
            if ending is not None:
                capture.pool_inside(self._decoder[-1], partial(pooled, spans=ending))
            return capture
        k = experts_per_token(self.model.config)
        return RouterCapture(
            self.routers, lambda scores: pool(multi_hot(scores, k), spans, "mean"), False, prefix.routers
        )

    def _embeddings(self, entry: View, done: _Pass) -> Embeddings:
        count = len(done.pack.sequences)
        hidden = done.hidden[entry].numpy() if entry in done.hidden else np.zeros((count, 0), np.float32)
        logits, weights = done.scores.get(entry, (None, None))
        if logits is None:
            return Embeddings(hidden, np.zeros((count, 0, 0), np.float32))
        if weights is None and entry.pooling != FREQUENCY and averages(entry.pooling, self.spec.long_documents):
            # Chunks are averaged later, and the mean of their softmaxes is not the softmax of their mean.
            weights = logits.softmax(dim=-1)
        return Embeddings(hidden, logits.numpy(), None if weights is None else weights.numpy())

    def _check_finite(self, entry: View, hidden: NDArray[np.float32]) -> None:
        if not np.isfinite(hidden).all():
            raise ModelError(
                f"The model {self.spec.model!r} gives vectors that are not finite in {self.spec.dtype} ({entry}). Its "
                "weights are damaged, or its numbers leave that type: try dtype float32, or download it again."
            )


@dataclass(frozen=True)
class _Pass:
    """What a pass has pooled of a pack, on its way to the processor's memory.

    Attributes:
        scores: router logits and routing weights of those entries that have them.
        arrival: when it is there; None where it never was elsewhere.
    """

    pack: Pack
    entries: Sequence[View]
    hidden: dict[View, Tensor]
    scores: dict[View, tuple[Tensor | None, Tensor | None]]
    arrival: torch.cuda.Event | None = None

    def wait(self) -> None:
        """Returns when all of it is there."""
        if self.arrival is not None:
            self.arrival.synchronize()


def _sent(pooled: Tensor | None) -> Any:
    """What was pooled on its way to the processor's memory, or what is there already; nothing waits for it."""
    return None if pooled is None else pooled.to("cpu", non_blocking=pooled.is_cuda)


def one_ahead(work: Callable[[T], R], given: Iterable[T]) -> Iterator[R]:
    """What the work makes of each, in their order; the next one is at work in a thread while one is looked at.

    What is given may raise: that comes once everything before it was looked at, an interrupt at once.
    """
    before: Future[R] | None = None
    with ThreadPoolExecutor(1, "tokenizing") as thread:
        reading = (thread.submit(work, each) for each in given)
        while True:
            now: Future[R] | None = None
            try:
                now = next(reading, None)
            except (KeyboardInterrupt, SystemExit):
                before = None  # nobody waits for what would be made of it
                raise
            finally:  # also where reading raised, which goes on from here when the next one is asked for
                if before is not None:
                    yield before.result()
            if now is None:
                return
            before = now


def one_behind(passes: Iterable[_Pass]) -> Iterator[_Pass]:
    """Each pass when the next one has begun, so that a GPU computes while the processor reads."""
    before: _Pass | None = None
    for one in passes:
        if before is not None:
            yield before
        before = one
    if before is not None:
        yield before


def _repeated(parts: Mapping[View, Embeddings], unique: list[str], documents: list[str]) -> dict[View, Embeddings]:
    """The embeddings of different texts, once for each document that has such a text."""
    row = {text: i for i, text in enumerate(unique)}
    rows = np.array([row[text] for text in documents], dtype=np.intp)
    return {entry: embeddings[rows] for entry, embeddings in parts.items()}


def _concatenated(parts: Sequence[Mapping[View, Embeddings]]) -> dict[View, Embeddings]:
    """The entries of all parts, one after the other."""
    return {entry: Embeddings.concatenate([part[entry] for part in parts]) for entry in parts[0]}


def mean_of_chunks(vectors: Embeddings, sequences: Sequence[TokenSequence], documents: int) -> Embeddings:
    """Embeddings of documents, each the mean of its chunks weighted by their document tokens."""
    owners = torch.tensor([sequence.document for sequence in sequences])
    weights = torch.tensor([sequence.weight for sequence in sequences], dtype=torch.float32)
    shares = weights / torch.zeros(documents, dtype=torch.float32).index_add_(0, owners, weights)[owners]

    def averaged(states: NDArray[np.floating]) -> NDArray[np.float32]:
        weighted = torch.from_numpy(states) * shares.view(-1, *[1] * (states.ndim - 1))
        # reduceat of numpy would add in another order, and give other bits than stores of 0.1.0 have.
        total = torch.zeros(documents, *states.shape[1:], dtype=torch.float32).index_add_(0, owners, weighted)
        return np.asarray(total.numpy())

    routing = vectors.mean_routing_weights
    return Embeddings(
        averaged(vectors.hidden_states),
        averaged(vectors.router_logits),
        None if routing is None else averaged(routing),
    )
