"""Texts to embeddings: the hidden states and router scores of a mixture-of-experts language model."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from moee_topics.embeddings import Embeddings
from moee_topics.encode.batching import Pack, plan_packs
from moee_topics.encode.models import loading
from moee_topics.encode.models.attention import PACKED, packed_segments
from moee_topics.encode.pooling import Spans, pool
from moee_topics.encode.prompts import PromptTokenizer, TokenCounts, TokenSequence, get_prompt
from moee_topics.encode.router import RouterCapture, find_routers
from moee_topics.encode.settings import EncoderSettings, LongDocuments, Pooling
from moee_topics.errors import InputError, ModelError

Layout = Literal["packed", "padded", "alone"]
DOCUMENTS_PER_STEP = 2048
TOKENS_PER_BATCH = 8192


@dataclass(frozen=True)
class EncoderSpec:
    """Everything that the vector of a document depends on.

    Attributes:
        model: the hub name, "pocket", or "folder" for any other local checkpoint.
        revision: the commit of a hub model, or the content hash of a folder.
        quantize: bits of the weights: "none", "int8" or "nf4".
        dtype: type of the arithmetic, as "bfloat16".
        prompt: the template, with ``{text}`` where the document goes.
        pooling: "last_token" or "mean".
        max_tokens: longest sequence, prompt included.
        long_documents: "truncate" cuts the end of a longer document away; "chunk" encodes all of it in pieces of
            ``max_tokens`` and takes the mean of their vectors, weighted by their document tokens.
        layers: MoE layers, L.
        experts: routed experts of a layer, E.
        hidden_size: D.
    """

    model: str
    revision: str
    quantize: str
    dtype: str
    prompt: str
    pooling: Pooling
    max_tokens: int
    long_documents: LongDocuments
    layers: int
    experts: int
    hidden_size: int

    def key(self) -> dict[str, str | int]:
        """The same as plain JSON, for the key of a store."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class EncodingReport(TokenCounts):
    """Running totals of an encoder.

    Attributes:
        documents: documents that were given.
        encoded: documents that went through the model; identical ones go once.
    """

    documents: int = 0
    encoded: int = 0


@dataclass(frozen=True)
class _Vectors:
    """Pooled tensors of some sequences, in float32 on the CPU: (S, D), (S, L, E), and (S, L, E) if averaged."""

    hidden_states: Tensor
    router_logits: Tensor
    routing_weights: Tensor | None

    def rows(self, order: Tensor) -> _Vectors:
        """The same in another order."""
        weights = None if self.routing_weights is None else self.routing_weights[order]
        return _Vectors(self.hidden_states[order], self.router_logits[order], weights)


class MoEEncoder:
    """Encodes texts with a mixture-of-experts language model.

    The vector of a document depends on the document and the ``spec`` alone: not on its neighbours, the size of a batch
    or the order.

    Attributes:
        model: the base model, a transformers ``PreTrainedModel``.
        tokenizer: its tokenizer.
        spec: what the vectors depend on.
        layout: how the documents of a forward pass lie: "packed" end to end without padding; "padded" on the right
            where a model does not keep packed documents apart; "alone", one at a time, where not even that is exact.
        tokens_per_batch: tokens in one forward pass.
        report: running totals: documents, tokens, and what was cut.
    """

    def __init__(self, model: Any, tokenizer: Any, spec: EncoderSpec, tokens_per_batch: int | None = None) -> None:
        self.model, self.tokenizer, self.spec = model, tokenizer, spec
        self.routers = find_routers(model)
        self.prompted = PromptTokenizer(tokenizer, get_prompt(spec.prompt), spec.max_tokens)
        self.tokens_per_batch = max(tokens_per_batch or TOKENS_PER_BATCH, spec.max_tokens)
        self.report = EncodingReport()
        self._pad_id = next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0)
        self.layout = choose_layout(model, spec.max_tokens)

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, *, require_routers: bool = True, **options: Any) -> MoEEncoder:
        """Loads a model and makes an encoder of it.

        Args:
            name_or_path: a hub name, a folder in hub layout, or "pocket" for the model that the package carries.
            require_routers: False lets a model without routers give hidden states alone.
            options: the other attributes of :class:`EncoderSettings`, such as ``quantize="nf4"``.

        Raises:
            ModelError: the model is missing or not supported, has no routers, or was not quantized as asked.
            InputError: an option does not exist or has none of its values.
        """
        plain = {name: str(options[name]).removeprefix("torch.") for name in ("dtype", "device") if options.get(name)}
        settings = EncoderSettings.checked(model=str(name_or_path), **{**options, **plain})
        return cls.from_settings(settings, require_routers=require_routers)

    @classmethod
    def from_settings(cls, settings: EncoderSettings, *, require_routers: bool = True) -> MoEEncoder:
        """:meth:`from_pretrained` of settings that are checked already."""
        model, tokenizer = loading.load_model(
            settings.model,
            quantize=settings.quantize,
            device=settings.device,
            dtype=getattr(torch, settings.dtype) if settings.dtype else None,
            revision=settings.revision,
        )
        name, commit = loading.identity(settings.model, model.config)
        layers, experts, hidden_size = measure(model)
        if not layers and require_routers:
            raise ModelError(no_routers(settings.model, model))
        spec = EncoderSpec(
            model=name,
            revision=commit,
            quantize=loading.quantized_as(model),
            dtype=str(model.dtype).removeprefix("torch."),
            prompt=settings.template,
            pooling=settings.pooling,
            max_tokens=settings.max_tokens,
            long_documents=settings.long_documents,
            layers=layers,
            experts=experts,
            hidden_size=hidden_size,
        )
        return cls(model, tokenizer, spec, settings.tokens_per_batch)

    def with_prompt(self, prompt: str) -> MoEEncoder:
        """An encoder with the same weights, in memory once, and another prompt."""
        other = copy.copy(self)
        other.spec = dataclasses.replace(self.spec, prompt=get_prompt(prompt).template)
        other.prompted = PromptTokenizer(self.tokenizer, get_prompt(prompt), self.spec.max_tokens)
        return other

    def encode(self, texts: str | Iterable[str]) -> Embeddings:
        """Encodes documents, in their order; identical ones go through the model once.

        Args:
            texts: one document or any iterable of them.

        Returns:
            Embeddings of N documents; (1, ...) for a single string.

        Raises:
            InputError: a document is not a string.
        """
        documents = [texts] if isinstance(texts, str) else list(texts)
        unique = list(dict.fromkeys(documents))
        place = {text: row for row, text in enumerate(unique)}
        parts = list(self.encode_stream(unique)) or [self._encode_unique([])]
        self.report += EncodingReport(documents=len(documents) - len(unique))
        return Embeddings.concatenate(parts)[np.array([place[text] for text in documents], dtype=np.intp)]

    def encode_stream(self, texts: Iterable[str], documents_per_step: int = DOCUMENTS_PER_STEP) -> Iterator[Embeddings]:
        """Encodes documents step by step, in their order, in memory that does not grow with their number.

        Args:
            texts: any iterable of documents; it is read as the steps are asked for.
            documents_per_step: documents of each part but the last; identical ones inside a step are encoded once.

        Raises:
            InputError: a document is not a string.
        """
        if isinstance(texts, str):
            raise InputError("encode_stream takes an iterable of documents, not one string; use encode for one.")
        stream = iter(texts)
        while step := list(islice(stream, documents_per_step)):
            unique = list(dict.fromkeys(step))
            place = {text: row for row, text in enumerate(unique)}
            embeddings = self._encode_unique(unique)
            self.report += EncodingReport(documents=len(step))
            yield embeddings[np.array([place[text] for text in step], dtype=np.intp)]

    def _encode_unique(self, texts: Sequence[str]) -> Embeddings:
        clean = [_utf8(text, i) for i, text in enumerate(texts)]
        sequences = self.prompted.sequences(clean, self.spec.long_documents)
        self.report += EncodingReport.of(sequences, encoded=len(clean))
        return self._join(self._run(sequences), sequences, len(clean))

    @torch.inference_mode()
    def _run(self, sequences: Sequence[TokenSequence]) -> _Vectors:
        """Vectors of all sequences, in their order."""
        plan = plan_packs(
            [sequence.ids for sequence in sequences],
            1 if self.layout == "alone" else self.tokens_per_batch,
            pad_id=self._pad_id,
            padded=not self.packed,
        )
        rows: list[int] = []
        parts = [self._nothing()]
        for pack in plan:
            rows += pack.rows
            parts.append(self.forward(pack))
        back = torch.tensor(rows, dtype=torch.long).argsort()
        return _concatenated(parts).rows(back)

    def forward(self, pack: Pack) -> _Vectors:
        """Pooled vectors of the sequences of one pack."""
        starts = pack.starts() if self.packed else pack.padded_starts()
        spans = Spans.of(starts, pack.lengths, self.model.device)

        def pooled(states: Tensor) -> Tensor:
            return pool(states, spans, self.spec.pooling)

        with RouterCapture(self.routers, pooled, self._averages) as capture:
            states = (run_packed if self.packed else run_padded)(self.model, pack)
        hidden = pooled(states).cpu()
        logits, weights = capture.logits(), capture.weights()
        if logits is None:
            return _Vectors(hidden, torch.zeros(len(hidden), 0, 0), None)
        return _Vectors(hidden, logits.cpu(), self._weights(logits, weights))

    @property
    def packed(self) -> bool:
        """Whether documents run end to end, without padding."""
        return self.layout == "packed"

    @property
    def _averages(self) -> bool:
        """Whether vectors are means, of which the routing weights must be taken before the mean."""
        return self.spec.pooling == "mean"

    def _weights(self, logits: Tensor, weights: Tensor | None) -> Tensor | None:
        if weights is not None:
            return weights.cpu()
        return logits.softmax(dim=-1).cpu() if self.spec.long_documents == "chunk" else None

    def _nothing(self) -> _Vectors:
        scores = torch.zeros(0, self.spec.layers, self.spec.experts)
        averaged = self.routers and (self._averages or self.spec.long_documents == "chunk")
        return _Vectors(torch.zeros(0, self.spec.hidden_size), scores, scores if averaged else None)

    def _join(self, vectors: _Vectors, sequences: Sequence[TokenSequence], documents: int) -> Embeddings:
        """Documents of several chunks become the mean of their chunks, weighted by document tokens."""
        if len(sequences) != documents:
            vectors = _mean_of_chunks(vectors, sequences, documents)
        weights = vectors.routing_weights
        return Embeddings(
            vectors.hidden_states.numpy(),
            vectors.router_logits.numpy(),
            None if weights is None else weights.numpy(),
        )


def run_packed(model: Any, pack: Pack) -> Tensor:
    """(T, D) last hidden states of a packed row, filler included."""
    ids, positions = pack.input_ids().to(model.device), pack.position_ids().to(model.device)
    with packed_segments(pack.segments):
        output = model(input_ids=ids, position_ids=positions, use_cache=False)
    return _flat_states(output)


def run_padded(model: Any, pack: Pack) -> Tensor:
    """(B * S, D) last hidden states of rows padded on the right."""
    ids, real = pack.padded()
    mask = None if bool(real.all()) else real.to(model.device)
    return _flat_states(model(input_ids=ids.to(model.device), attention_mask=mask, use_cache=False))


def _flat_states(output: Any) -> Tensor:
    states: Tensor = output.last_hidden_state
    return states.reshape(-1, states.shape[-1])


def choose_layout(model: Any, max_tokens: int) -> Layout:
    """Finds the fastest layout in which documents of one batch do not change each other, and switches the model to it.

    Packed rows go wrong with recurrent or convolutional layers and with attention that is no plain causal one, padded
    rows with routing or sparse attention that looks at later tokens. Three made-up documents tell, at every load.
    """
    native = model.config._attn_implementation
    alone = [_states(model, [document])[0] for document in _probes(model, max_tokens)]
    if _packs_like_alone(model, alone, max_tokens):
        return "packed"
    model.set_attn_implementation(native)
    padded = _states(model, _probes(model, max_tokens)[:2])
    return "padded" if all(_same(model, *pair) for pair in zip(padded, alone, strict=False)) else "alone"


def _packs_like_alone(model: Any, alone: list[Tensor], max_tokens: int) -> bool:
    """Two documents in one pack against each alone, and the second again behind another first one."""
    first, second, other = _probes(model, max_tokens)
    try:
        model.set_attn_implementation(PACKED)
        one, two = (_states(model, [before, second], packed=True) for before in (first, other))
    except (NotImplementedError, ValueError, TypeError, RuntimeError, AttributeError):
        return False
    return _same(model, one[0], alone[0]) and _same(model, one[1], alone[1]) and _same(model, one[1], two[1], 0.1)


@torch.inference_mode()
def _states(model: Any, documents: list[tuple[int, ...]], packed: bool = False) -> list[Tensor]:
    """(T, D) last hidden states of each document, run together."""
    pack = Pack.of(tuple(range(len(documents))), documents, filled=packed)
    states = (run_packed if packed else run_padded)(model, pack).float()
    starts = pack.starts() if packed else pack.padded_starts()
    return [states[start : start + length] for start, length in zip(starts, pack.lengths, strict=True)]


def _same(model: Any, one: Tensor, other: Tensor, strictness: float = 1.0) -> bool:
    """Whether states differ by no more than rounding does; two runs of the same kernels can be held to less."""
    rounding = 1e-4 if model.dtype == torch.float32 else 0.1
    return bool((one - other).abs().max() <= rounding * strictness * other.abs().max())


def _probes(model: Any, max_tokens: int) -> list[tuple[int, ...]]:
    """Documents of made-up tokens, all but the first longer than a sliding window or chunk that would matter."""
    config = model.config
    limits = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    limit = max((size for size in limits if isinstance(size, int) and size < max_tokens), default=16)
    vocabulary = min(config.vocab_size, model.get_input_embeddings().num_embeddings)
    long, short = min(limit + 8, max_tokens), min(limit + 3, max_tokens - 5)
    shapes = ((5, short), (11, long), (17, short))
    return [tuple((i * step + 7) % vocabulary for i in range(length)) for step, length in shapes]


def measure(model: Any) -> tuple[int, int, int]:
    """MoE layers, routed experts of each, and hidden size, from two tokens through the model."""
    routers = find_routers(model)
    spans = Spans.of([0], [2], model.device)
    with (
        torch.inference_mode(),
        RouterCapture(routers, lambda states: pool(states, spans, "last_token"), False) as seen,
    ):
        states = run_padded(model, Pack((0,), ((1, 2),)))
    logits = seen.logits()
    layers, experts = (0, 0) if logits is None else logits.shape[1:]
    return layers, experts, states.shape[-1]


def no_routers(name: str, model: Any) -> str:
    """What to say about a model without routers."""
    return (
        f"The model {name!r} ({model.config.model_type}) has no routers: it is no mixture of experts, or "
        "not one whose routers transformers declares. `moee-topics models ls` lists those that are supported. "
        "Its hidden states alone can be had with require_routers=False."
    )


def _concatenated(parts: Sequence[_Vectors]) -> _Vectors:
    weights = [part.routing_weights for part in parts if part.routing_weights is not None]
    return _Vectors(
        torch.cat([part.hidden_states for part in parts]),
        torch.cat([part.router_logits for part in parts]),
        torch.cat(weights) if weights else None,
    )


def _mean_of_chunks(vectors: _Vectors, sequences: Sequence[TokenSequence], documents: int) -> _Vectors:
    owner = torch.tensor([sequence.document for sequence in sequences])
    share = torch.tensor([float(sequence.weight) for sequence in sequences])
    share /= torch.zeros(documents).index_add_(0, owner, share)[owner]

    def averaged(states: Tensor) -> Tensor:
        weighted = states * share.view(-1, *[1] * (states.ndim - 1))
        return torch.zeros(documents, *states.shape[1:]).index_add_(0, owner, weighted)

    weights = vectors.routing_weights
    return _Vectors(
        averaged(vectors.hidden_states),
        averaged(vectors.router_logits),
        None if weights is None else averaged(weights),
    )


def _utf8(text: Any, index: int) -> str:
    if not isinstance(text, str):
        raise InputError(f"Document {index} of the step is a {type(text).__name__}, not a string.")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
