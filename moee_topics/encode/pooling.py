"""Token states to document vectors: the last token, or a mean over the tokens of a sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from moee_topics.encode.models import on_device
from moee_topics.encode.views import Pooling

Stretch: TypeAlias = tuple[int, int]

TOKENS_PER_RUN = 512
"""Of short documents whose means are taken together: what a processor keeps in its cache as float32."""

TOKENS_PER_CHUNK = 32
"""That one thread of a GPU adds up, one after the other."""


@dataclass(frozen=True)
class Spans:
    """Where the documents of a forward pass lie among its flattened tokens, those of a kept prefix before them.

    Attributes:
        starts: where the first token of each document is, or would be were it not kept.
        lengths: tokens of each in the pass, kept ones not included.
        last: (N,) index of the last token of each, on the device of the model.
        read: first and one past the last token of what a mean goes over, counted from the document's start: all of its
            tokens, prompt and special ones included, or the second copy of an echo.
        own: the same of its own text.
        shared: how many of the first tokens of each document are kept: the first of all tokens.
    """

    starts: Sequence[int]
    lengths: Sequence[int]
    last: Tensor
    read: Sequence[Stretch]
    own: Sequence[Stretch]
    shared: Sequence[int]

    @classmethod
    def of(
        cls,
        starts: list[int],
        lengths: list[int],
        device: torch.device,
        own: Sequence[Stretch] | None = None,
        read: Sequence[Stretch] | None = None,
        shared: Sequence[int] = (),
        kept: int = 0,
    ) -> Spans:
        """Spans of documents whose tokens in a pass begin at ``starts``.

        Args:
            starts: among the tokens of the pass.
            lengths: tokens of each in the pass.
            device: of the model.
            own: see :class:`Spans`; by default all tokens.
            read: alike.
            shared: tokens of each that are kept; empty for none.
            kept: tokens of the kept prefix.
        """
        # Made once: every router of every layer pools by it, and on a GPU each making would be a wait.
        shared = shared or [0] * len(starts)
        ends = [kept + start + length - 1 for start, length in zip(starts, lengths, strict=True)]
        whole = [(0, before + length) for before, length in zip(shared, lengths, strict=True)]
        starts = [kept + start - before for start, before in zip(starts, shared, strict=True)]
        return cls(starts, lengths, on_device(torch.tensor(ends), device), read or whole, own or whole, shared)

    @cached_property
    def runs(self) -> Runs:
        """All documents in their order, by what a mean goes over."""
        return _runs(self, self.read)  # once for the routers of all layers

    @cached_property
    def own_runs(self) -> Runs:
        """The same by their own text; of an empty one, which has none, by what a mean goes over."""
        pairs = zip(self.own, self.read, strict=True)
        return _runs(self, [own if own[0] < own[1] else read for own, read in pairs])


class Run(NamedTuple):
    """Neighbours of one length, of which as many tokens are kept and the same stretch is read.

    Attributes:
        start: where the first token is that the first of them has in the pass.
        documents: how many there are.
        length: tokens of each in the pass.
        shared: tokens of each that are kept.
        stretch: first and one past the last token that is read, kept ones counted.
    """

    start: int
    documents: int
    length: int
    shared: int
    stretch: Stretch

    def read_of(self, states: Tensor) -> Tensor:
        """(documents, tokens, D) float32: what is read of each and not kept, of the tokens (T, D) of a pass."""
        block = states[self.start : self.start + self.documents * self.length]
        first, stop = (max(place - self.shared, 0) for place in self.stretch)
        return block.reshape(self.documents, self.length, -1)[:, first:stop].float()


class Runs(list[Run]):
    """All documents of a pass in their order, as many together as are alike and in the cache."""

    _chunks: Chunks | None = None

    @cached_property
    def has_kept(self) -> bool:
        """Whether a mean goes over kept tokens too."""
        return any(run.stretch[0] < run.shared for run in self)

    @cached_property
    def stretches(self) -> list[Stretch]:
        """First and one past the last token of the pass that is read of each document."""
        starts = ((run, run.start + i * run.length - run.shared) for run in self for i in range(run.documents))
        return [(start + run.stretch[0], start + run.stretch[1]) for run, start in starts]

    def chunks(self, tokens: int, device: torch.device) -> Chunks:
        """How the tokens of a pass are added up on a GPU; made once for the routers of all layers."""
        if self._chunks is None:
            self._chunks = Chunks.of(self.stretches, tokens, device)
        return self._chunks


class Chunks(NamedTuple):
    """Where sums begin and end in a pass, counted from each document, so that none depends on its neighbours.

    Attributes:
        lengths: tokens of each chunk, and of what lies between documents.
        numbers: which of these are chunks.
        of_document: chunks of each document.
        position: (T, 1) float32: 1, 2, ... for the tokens of a document in their order.
        read: (N, 1) tokens of each document.
    """

    lengths: Tensor
    numbers: Tensor
    of_document: Tensor
    position: Tensor
    read: Tensor

    @classmethod
    def of(cls, stretches: Sequence[Stretch], tokens: int, device: torch.device) -> Chunks:
        """The chunks of documents that lie at these stretches of so many tokens."""
        lengths, numbers, of_document, position, end = [0], list[int](), list[int](), torch.zeros(tokens, 1), 0
        for first, stop in stretches:
            whole, rest = divmod(stop - first, TOKENS_PER_CHUNK)
            sizes = [TOKENS_PER_CHUNK] * whole + [rest] * (rest > 0)
            lengths.append(first - end)
            numbers += range(len(lengths), len(lengths) + len(sizes))
            lengths += sizes
            of_document.append(len(sizes))
            position[first:stop, 0] = torch.arange(1, stop - first + 1)
            end = stop
        read = [[stop - first] for first, stop in stretches]
        columns = ([*lengths, tokens - end], numbers, of_document, position, read)
        return cls(*(on_device(torch.as_tensor(column), device) for column in columns))

    def sums(self, states: Tensor) -> Tensor:
        """(N, D) of (T, D) float32: chunk by chunk, then chunks by document."""
        chunks = torch.segment_reduce(states, "sum", lengths=self.lengths, unsafe=True)
        chosen = chunks.index_select(0, self.numbers)
        return torch.segment_reduce(chosen, "sum", lengths=self.of_document, unsafe=True)


def _runs(spans: Spans, stretches: Sequence[Stretch]) -> Runs:
    runs = Runs()
    for start, length, shared, stretch in zip(spans.starts, spans.lengths, spans.shared, stretches, strict=True):
        one = Run(start + shared, 1, length, shared, stretch)
        before = runs[-1] if runs else one
        tokens = before.documents * length
        if one == before._replace(start=before.start + tokens, documents=1) and tokens + length <= TOKENS_PER_RUN:
            runs[-1] = before._replace(documents=before.documents + 1)
        else:
            runs.append(one)
    return runs


def last_token(states: Tensor, spans: Spans) -> Tensor:
    """The state of the last token of each document: (T, D) to (N, D) float32."""
    return states.index_select(0, spans.last).float()


def mean(states: Tensor, spans: Spans) -> Tensor:
    """The float32 mean over all tokens of each document's sequence: (T, D) to (N, D).

    With a prompt these are the tokens of the prompt too, unless it is an echo. Tokens between the documents (pads) are
    left out.
    """
    return _means(states, spans.runs)


def weighted_mean(states: Tensor, spans: Spans) -> Tensor:
    """The mean over all tokens of each sequence, the i-th with the weight i: (T, D) to (N, D) float32.

    In a decoder a later token has seen more. Source: SGPT (Muennighoff, arXiv 2202.08904), section 3.1.
    """
    longest = max(stop - first for first, stop in spans.read)
    return _means(states, spans.runs, torch.arange(1, longest + 1, device=states.device)[:, None])


def mean_without_prompt(states: Tensor, spans: Spans) -> Tensor:
    """The mean over the tokens of a document's own text, without prompt and special tokens: (T, D) to (N, D) float32.

    Of an empty document, which has none, it is the mean over the whole sequence.
    """
    return _means(states, spans.own_runs)


def _means(states: Tensor, runs: Runs, weights: Tensor | None = None) -> Tensor:
    """The float32 mean over the stretch of each document, its i-th token with the i-th weight: (T, D) to (N, D)."""
    if states.is_cuda and not runs.has_kept:
        return _means_by_chunks(states, runs, is_weighted=weights is not None)
    of_prefix: dict[Stretch, Tensor] = {}  # documents begin with the same tokens, which are added up once

    def added(some: Tensor, place: int) -> Tensor:
        return (some if weights is None else some * weights[place : place + some.shape[-2]]).sum(dim=-2)

    parts = []
    # Each document has a sum of its own: in one over all of them its rounding would depend on its neighbours.
    for run in runs:
        first, stop = run.stretch
        total = added(run.read_of(states), max(run.shared - first, 0))
        if first < run.shared:
            kept = first, min(run.shared, stop)
            if kept not in of_prefix:
                of_prefix[kept] = added(states[slice(*kept)].float(), 0)
            total = of_prefix[kept] + total
        length = stop - first
        parts.append(total / (length if weights is None else length * (length + 1) / 2))
    return torch.cat(parts)


def _means_by_chunks(states: Tensor, runs: Runs, *, is_weighted: bool) -> Tensor:
    """The same in a few kernels for all documents; one after the other they would keep a GPU waiting."""
    chunks = runs.chunks(len(states), states.device)
    if not is_weighted:
        return chunks.sums(states.float()) / chunks.read
    return chunks.sums(states.float() * chunks.position) / (chunks.read * (chunks.read + 1) / 2)


POOLINGS: Mapping[str, Callable[[Tensor, Spans], Tensor]] = {
    "last_token": last_token,
    "mean": mean,
    "weighted_mean": weighted_mean,
    "mean_without_prompt": mean_without_prompt,
}


def pool(states: Tensor, spans: Spans, pooling: Pooling | str) -> Tensor:
    """Pools flattened token states (T, D) to document vectors (N, D) float32."""
    return POOLINGS[pooling](states, spans)
