"""Stretches of texts that a mixture learns from: of one length a step, alone or in pairs of the same text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.encode.mixtures.settings import DistilSettings
from moee_topics.errors import InputError

_MIXED_SHARE = 0.25
"""Share of the steps whose pairs come from all sources. In the others all are of one source, which is harder."""


@dataclass
class Texts:
    """Token ids of many texts, one after the other, where each ends, and the number of the source it comes from."""

    tokens: NDArray[Any]
    ends: NDArray[Any]
    sources: NDArray[Any] | None = None
    starts: NDArray[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.starts = np.concatenate([[0], self.ends[:-1]])
        if self.sources is None:
            self.sources = np.zeros(len(self.ends), np.int64)

    @property
    def sizes(self) -> NDArray[Any]:
        """Tokens of each text."""
        sizes: NDArray[Any] = self.ends - self.starts
        return sizes

    @property
    def digest(self) -> str:
        """A digest of these texts, their order and their sources."""
        digest = hashlib.blake2b(digest_size=16)
        for part in (self.tokens, self.ends, self.sources):
            digest.update(np.ascontiguousarray(part, np.int64).data)
        return digest.hexdigest()

    def check(self, settings: DistilSettings) -> None:
        """Refuses texts that are too few, or too short, to fill a step.

        Raises:
            InputError: a step would hold a text twice, or ``pairs`` is not between 0 and 1.
        """
        if not 0 <= settings.pairs <= 1:
            raise InputError(f"pairs is a share of the way from 0 to 1, got {settings.pairs}.")
        # Needed even if every step is one of pairs: deviations are measured on texts of these lengths.
        needs = [(length, settings.batch // length, 1) for length in settings.lengths]
        if settings.pairs:  # a single pair has no other passage to be nearer than
            needs += [(2 * length, settings.batch // (2 * length), 2) for length in settings.pair_lengths]
        for least, count, fewest in needs:
            long = int((self.sizes >= least).sum())
            if long < count or count < fewest:
                raise InputError(
                    f"Only {long} of the {len(self.ends)} texts have {least} tokens; a step of {settings.batch} "
                    f"takes {count}, and {fewest} at least. Give more or longer texts, smaller lengths or another "
                    "batch."
                )

    def order(self, least: int, source: int | None, seed: Sequence[int]) -> Iterator[int]:
        """Texts of at least so many tokens without end, of one source or of all, in a new order at each pass."""
        is_long = self.sizes >= least
        if source is not None:
            is_long &= self.sources == source
        for turn in range(1_000_000):
            yield from np.random.default_rng([*seed, turn]).permutation(np.flatnonzero(is_long)).tolist()


class Passages:
    """What each step of a distillation reads; a step's passages depend on the seed and the steps before alone."""

    def __init__(self, texts: Texts, settings: DistilSettings, *, seed: int | None = None) -> None:
        self.texts, self.settings = texts, settings
        self.seed = settings.seed if seed is None else seed
        self.orders: dict[tuple[int, int | None], Iterator[int]] = {}
        assert texts.sources is not None
        # A source too small to fill a step comes only in steps of all sources.
        longest = 2 * max(settings.pair_lengths)
        enough = settings.batch // (2 * min(settings.pair_lengths))
        self.sources = [
            int(source)
            for source in np.unique(texts.sources)
            if ((texts.sources == source) & (texts.sizes >= longest)).sum() >= enough
        ]

    def stretches(self, step: int) -> NDArray[np.int64]:
        """(texts, tokens) token ids: half of them a text's beginning, half from anywhere in it."""
        length = self.settings.lengths[step % len(self.settings.lengths)]
        rng = np.random.default_rng([self.seed, 0, step])
        rows = self._texts(length, None, max(1, self.settings.batch // length))
        slack = self.texts.sizes[rows] - length
        offsets = np.where(rng.random(len(rows)) < 0.5, 0, rng.integers(0, slack + 1))
        return self._windows(self.texts.starts[rows] + offsets, length)

    def pairs(self, step: int) -> NDArray[np.int64]:
        """(2 * pairs, tokens) token ids: two stretches of a text that do not overlap, in row i of either half."""
        length = self.settings.pair_lengths[step % len(self.settings.pair_lengths)]
        rng = np.random.default_rng([self.seed, 1, step])
        mixed = rng.random() < _MIXED_SHARE or len(self.sources) < 2
        source = None if mixed else self.sources[int(rng.integers(len(self.sources)))]
        rows = self._texts(2 * length, source, max(1, self.settings.batch // (2 * length)))
        slack = self.texts.sizes[rows] - 2 * length
        first = rng.integers(0, slack + 1)
        second = first + length + rng.integers(0, slack - first + 1)
        swap = rng.random(len(rows)) < 0.5  # neither half holds the beginnings
        first, second = np.where(swap, second, first), np.where(swap, first, second)
        starts = self.texts.starts[rows]
        return self._windows(np.concatenate([starts + first, starts + second]), length)

    def _texts(self, least: int, source: int | None, count: int) -> NDArray[np.int64]:
        key = (least, source)
        if key not in self.orders:
            self.orders[key] = self.texts.order(least, source, [self.seed, least, 0 if source is None else source + 1])
        return np.array([next(self.orders[key]) for _ in range(count)])

    def _windows(self, starts: NDArray[Any], length: int) -> NDArray[np.int64]:
        return self.texts.tokens[starts[:, None] + np.arange(length)].astype(np.int64)


def tokenized(tokenizer: Any, sources: Iterable[Iterable[str]], *, longest: int = 1024) -> Texts:
    """The texts of one source or more as one row of token ids, each text cut at ``longest``.

    Raises:
        InputError: there is no text.
    """
    rows: list[NDArray[np.int32]] = []
    numbers: list[int] = []
    for number, texts in enumerate(sources):
        for text in texts:
            if ids := tokenizer(text, truncation=True, max_length=longest)["input_ids"]:
                rows.append(np.array(ids, np.int32))
                numbers.append(number)
    if not rows:
        raise InputError("There is no text to learn from. Give a corpus with at least some hundred texts.")
    return Texts(np.concatenate(rows), np.cumsum([len(row) for row in rows]), np.array(numbers))
