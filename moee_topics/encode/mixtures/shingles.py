"""Near-copies of texts that are to be kept apart, such as those a model will be judged on, by the words they share.

A shingle is a few words in a row (Broder 1997, "On the resemblance and containment of documents").
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

WORDS = 8
"""Words of a shingle; all of a text that has fewer."""

_WORD = re.compile(r"\w+")

# A quotation or a phrase that everybody uses is one or two shingles; of a short text that is much.
_MOST_SHARED = 2
_LARGEST_SHARE = 1 / 20


def shingles(text: str) -> NDArray[np.uint64]:
    """Hashes of the shingles of a text; case and what is between the words do not count."""
    words = _WORD.findall(text.lower())
    width = min(WORDS, len(words))
    if not width:
        return np.zeros(0, np.uint64)
    numbers = np.array([zlib.crc32(word.encode("utf-8", "replace")) for word in words], np.uint64)
    hashes = np.zeros(len(words) - width + 1, np.uint64)
    for place in range(width):  # a polynomial of the words' numbers, modulo 2^64
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + numbers[place : place + len(hashes)]
    return hashes


class HeldOut:
    """Texts that no other is to be a near-copy of.

    Attributes:
        left_out: how many texts were too near, of each source that was read.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        # Unique text by text: a corpus of mails quotes itself over and over.
        parts = [np.unique(shingles(text)) for text in texts]
        self.shingles = np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.uint64)
        self.left_out: list[int] = []

    def overlaps(self, text: str) -> bool:
        """Whether a text shares three shingles with those held out, or a twentieth of its own."""
        own = shingles(text)
        shared = int(np.isin(own, self.shingles, kind="sort").sum()) if len(self.shingles) else 0
        return shared > _MOST_SHARED or shared > _LARGEST_SHARE * len(own)

    def apart(self, texts: Iterable[str]) -> Iterator[str]:
        """The texts of one source that do not overlap."""
        self.left_out.append(0)
        for text in texts:
            if self.overlaps(text):
                self.left_out[-1] += 1
            else:
                yield text
