"""Token sequences to packs: what goes through the model together, under a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from moee_topics.encode.models import MULTIPLES, RowCounts


@dataclass(frozen=True)
class Pack:
    """Sequences that go through the model together.

    Attributes:
        rows: which of the planned sequences these are, in their order in the pack.
        sequences: their token ids.
        packed: they lie end to end in one row, behind them a filler of pad tokens as a last document of its own;
            otherwise each has a row, padded on the right.
        pad_id: the token that fills.
        shared: tokens that stand before each of these sequences and are not among them, since a kept prefix has them;
            empty for none.
        row_counts: the numbers of tokens that packed rows have.
    """

    rows: tuple[int, ...]
    sequences: tuple[tuple[int, ...], ...]
    packed: bool = True
    pad_id: int = 0
    shared: tuple[int, ...] = ()
    row_counts: RowCounts = MULTIPLES

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each sequence, pads not included."""
        return [len(ids) for ids in self.sequences]

    @cached_property
    def segments(self) -> list[int]:
        """Tokens of each stretch of a packed row that attends only to itself, the filler included."""
        # A document of its own: pads behind the last document would be tokens of that one.
        filler = self.row_counts.filled(sum(self.lengths)) - sum(self.lengths)
        return self.lengths + ([filler] if filler else [])

    @property
    def before(self) -> list[int]:
        """Tokens that stand before each of the ``segments`` and are not in the row; the filler has none."""
        return [*self.shared, *[0] * (len(self.segments) - len(self.shared))]

    @property
    def starts(self) -> list[int]:
        """Where each sequence begins among the flattened tokens of the pack."""
        widths = self.lengths if self.packed else [max(self.lengths)] * len(self.lengths)
        return [0, *accumulate(widths[:-1])]

    def inputs(self) -> dict[str, Tensor]:
        """What the model is called with: (1, T) ids and positions of a packed row, else (B, S) ids and their mask."""
        if self.packed:
            flat = [token for ids in self.sequences for token in ids]
            ids = torch.tensor([flat + [self.pad_id] * (sum(self.segments) - len(flat))])
            # They begin again with each document, which is to be read as if it were alone.
            spread = zip(self.before, self.segments, strict=True)
            positions = torch.cat([torch.arange(first, first + length) for first, length in spread])
            return {"input_ids": ids, "position_ids": positions[None]}
        longest = max(self.lengths)
        ids = torch.tensor([[*ids, *[self.pad_id] * (longest - len(ids))] for ids in self.sequences])
        if min(self.lengths) == longest:
            return {"input_ids": ids}
        mask = torch.arange(longest) < torch.tensor(self.lengths)[:, None]
        return {"input_ids": ids, "attention_mask": mask.long()}


def plan_packs(
    sequences: Sequence[tuple[int, ...]],
    budget: int,
    *,
    packed: bool = True,
    pad_id: int = 0,
    shared: Sequence[int] = (),
    row_counts: RowCounts = MULTIPLES,
) -> list[Pack]:
    """Sequences of similar length in packs of at most ``budget`` tokens, the longest first.

    Args:
        sequences: token ids.
        budget: tokens of a pack.
        packed: see :class:`Pack`.
        pad_id: see :class:`Pack`.
        shared: how many of the first tokens of each are left out, since a kept prefix has them; empty for none.
        row_counts: see :class:`Pack`.

    The same sequences always give the same packs. A sequence longer than the budget is a pack of its own; the pads of
    padded rows count, the filler of a packed row does not.
    """
    shared = [*shared] or [0] * len(sequences)
    sequences = [ids[kept:] for ids, kept in zip(sequences, shared, strict=True)]
    groups: list[list[int]] = []
    used = 0
    for row in sorted(range(len(sequences)), key=lambda row: (-len(sequences[row]), row)):
        # Longest first: in a padded batch every later row is as wide as the first one.
        size = len(sequences[groups[-1][0]]) if groups and not packed else len(sequences[row])
        if not groups or used + size > budget:
            groups.append([])
            used, size = 0, len(sequences[row])
        groups[-1].append(row)
        used += size
    made = ((tuple(rows), tuple(sequences[row] for row in rows), tuple(shared[row] for row in rows)) for rows in groups)
    return [Pack(rows, ids, packed, pad_id, kept, row_counts) for rows, ids, kept in made]
