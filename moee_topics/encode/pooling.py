"""Token states to document vectors: the last token, or a mean over the tokens of a sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moee_topics.encode.views import Pooling


@dataclass(frozen=True)
class Spans:
    """Where the documents of a forward pass lie among its flattened tokens.

    Attributes:
        starts: index of the first token of each document.
        lengths: tokens of each document, prompt and special tokens included.
        last: (N,) index of the last token of each, on the device of the model.
        inner: first and one past the last token of each document's own text, counted from its start.
    """

    starts: list[int]
    lengths: list[int]
    last: Tensor
    inner: Sequence[tuple[int, int]]

    @classmethod
    def of(
        cls,
        starts: list[int],
        lengths: list[int],
        device: torch.device,
        inner: Sequence[tuple[int, int]] | None = None,
    ) -> Spans:
        """Spans of documents that begin at ``starts``; without ``inner`` all their tokens are of their own text."""
        # Made once: every router of every layer pools by it, and on a GPU each making would be a wait.
        ends = [start + length - 1 for start, length in zip(starts, lengths, strict=True)]
        return cls(starts, lengths, torch.tensor(ends, device=device), inner or [(0, length) for length in lengths])


def last_token(states: Tensor, spans: Spans) -> Tensor:
    """The state of the last token of each document: (T, D) to (N, D) float32."""
    return states.index_select(0, spans.last).float()


def mean(states: Tensor, spans: Spans) -> Tensor:
    """The float32 mean over all tokens of each document's sequence: (T, D) to (N, D).

    With a prompt these are the tokens of the prompt too. Tokens between the documents (pads) are left out.
    """
    # Each document by itself: in one sum over all of them its rounding would depend on its neighbours.
    spread = zip(spans.starts, spans.lengths, strict=True)
    return torch.stack([states[start : start + length].float().mean(dim=0) for start, length in spread])


def weighted_mean(states: Tensor, spans: Spans) -> Tensor:
    """The mean over all tokens of each sequence, the i-th with the weight i: (T, D) to (N, D) float32.

    In a decoder a later token has seen more. Source: SGPT (Muennighoff, arXiv 2202.08904), section 3.1.
    """
    positions = torch.arange(1, max(spans.lengths) + 1, device=states.device, dtype=torch.float32)[:, None]
    rows = []
    for start, length in zip(spans.starts, spans.lengths, strict=True):
        weighted = states[start : start + length].float() * positions[:length]
        rows.append(weighted.sum(dim=0) / (length * (length + 1) / 2))
    return torch.stack(rows)


def mean_without_prompt(states: Tensor, spans: Spans) -> Tensor:
    """The mean over the tokens of a document's own text, without prompt and special tokens: (T, D) to (N, D) float32.

    Of an empty document, which has none, it is the mean over the whole sequence.
    """
    rows = []
    for start, length, (first, stop) in zip(spans.starts, spans.lengths, spans.inner, strict=True):
        own = states[start + first : start + stop] if first < stop else states[start : start + length]
        rows.append(own.float().mean(dim=0))
    return torch.stack(rows)


POOLINGS: Mapping[str, Callable[[Tensor, Spans], Tensor]] = {
    "last_token": last_token,
    "mean": mean,
    "weighted_mean": weighted_mean,
    "mean_without_prompt": mean_without_prompt,
}


def pool(states: Tensor, spans: Spans, pooling: Pooling | str) -> Tensor:
    """Pools flattened token states (T, D) to document vectors (N, D) float32."""
    return POOLINGS[pooling](states, spans)
