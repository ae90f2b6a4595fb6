"""Token states to document vectors: the last token, or the mean over the tokens of a sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from moee_topics.encode.settings import Pooling


@dataclass(frozen=True)
class Spans:
    """Where the documents of a forward pass lie among its flattened tokens.

    Attributes:
        starts: index of the first token of each document.
        lengths: tokens of each document, prompt and special tokens included.
        last: (N,) index of the last token of each, on the device of the model.
    """

    starts: list[int]
    lengths: list[int]
    last: Tensor

    @classmethod
    def of(cls, starts: list[int], lengths: list[int], device: torch.device) -> Spans:
        """Spans of documents that begin at ``starts``."""
        # Made once: every router of every layer pools by it, and on a GPU each making would be a wait.
        ends = [start + length - 1 for start, length in zip(starts, lengths, strict=True)]
        return cls(starts, lengths, torch.tensor(ends, device=device))


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


POOLINGS: Mapping[Pooling, Callable[[Tensor, Spans], Tensor]] = {"last_token": last_token, "mean": mean}


def pool(states: Tensor, spans: Spans, pooling: Pooling) -> Tensor:
    """Pools flattened token states (T, D) to document vectors (N, D) float32."""
    return POOLINGS[pooling](states, spans)
