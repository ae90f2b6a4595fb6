"""Token sequences to packs under a token budget, and the way back to document order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

# Row counts of matrix products are kept to multiples of this: a CPU product of fewer rows takes another kernel, whose
# rounding differs, and every new row count costs oneDNN a cached primitive.
ROW_MULTIPLE = 64


@dataclass(frozen=True)
class Pack:
    """Sequences laid end to end in one row, with a filler of pad tokens as a last document of its own.

    Attributes:
        rows: which of the planned sequences these are, in their order in the pack.
        sequences: their token ids.
        filler: number of pad tokens at the end; they belong to no document.
        pad_id: the token that fills.
    """

    rows: tuple[int, ...]
    sequences: tuple[tuple[int, ...], ...]
    filler: int = 0
    pad_id: int = 0

    @classmethod
    def of(cls, rows: Sequence[int], sequences: Sequence[tuple[int, ...]], *, filled: bool, pad_id: int = 0) -> Pack:
        """A pack of these sequences in this order, filled up to whole rows of a matrix product if asked."""
        tokens = sum(len(ids) for ids in sequences)
        return cls(tuple(rows), tuple(sequences), -tokens % ROW_MULTIPLE if filled else 0, pad_id)

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each sequence, the filler not included."""
        return [len(ids) for ids in self.sequences]

    @cached_property
    def segments(self) -> list[int]:
        """Tokens of each stretch that attends only to itself, the filler included."""
        return self.lengths + ([self.filler] if self.filler else [])

    @property
    def tokens(self) -> int:
        """Tokens of the documents, the filler not included."""
        return sum(self.lengths)

    def input_ids(self) -> Tensor:
        """(1, T) token ids."""
        flat = [token for ids in self.sequences for token in ids]
        return torch.tensor([flat + [self.pad_id] * self.filler])

    def position_ids(self) -> Tensor:
        """(1, T) positions, which start again at zero with each document."""
        return torch.cat([torch.arange(length) for length in self.segments]).unsqueeze(0)

    def starts(self) -> list[int]:
        """Index of the first token of each document in the row."""
        return [0, *accumulate(self.lengths)][: len(self.lengths)]

    def padded(self) -> tuple[Tensor, Tensor]:
        """(B, S) token ids padded on the right, and the attention mask of the same shape: the fallback layout."""
        longest = max(self.lengths)
        ids = [[*sequence, *[self.pad_id] * (longest - len(sequence))] for sequence in self.sequences]
        mask = [[1] * length + [0] * (longest - length) for length in self.lengths]
        return torch.tensor(ids), torch.tensor(mask)

    def padded_starts(self) -> list[int]:
        """Index of the first token of each document in the flattened (B * S) layout of ``padded``."""
        longest = max(self.lengths)
        return [row * longest for row in range(len(self.lengths))]


def plan_packs(
    sequences: Sequence[tuple[int, ...]], budget: int, *, pad_id: int = 0, padded: bool = False
) -> Iterator[Pack]:
    """Groups sequences of similar length into packs of at most ``budget`` tokens, longest first.

    The same sequences always give the same packs. A sequence longer than the budget is a pack of its own.

    Args:
        sequences: token ids; their indices come back as ``Pack.rows``.
        budget: tokens in one forward pass; for ``padded`` the pads count too.
        pad_id: the token that fills.
        padded: plan for one padded row per document instead of one packed row.
    """
    order = sorted(range(len(sequences)), key=lambda row: (-len(sequences[row]), row))
    group: list[int] = []
    used = 0

    def packed() -> Pack:
        return Pack.of(group, [sequences[row] for row in group], filled=not padded, pad_id=pad_id)

    for row in order:
        # Longest first: in a padded batch every later row is as wide as the first one.
        size = len(sequences[group[0]]) if padded and group else len(sequences[row])
        if group and used + size > budget:
            yield packed()
            group, used, size = [], 0, len(sequences[row])
        group.append(row)
        used += size
    if group:
        yield packed()
