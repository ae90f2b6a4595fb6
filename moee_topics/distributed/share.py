"""Which documents of a corpus one of several machines encodes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from moee_topics.errors import InputError


@dataclass(frozen=True)
class Share:
    """Some of a corpus: the texts whose content hash leaves a certain rest.

    Shares of one ``of`` have no text in common and are the corpus together. Which text is in which depends on the text
    alone, so that machines need not agree on anything, and a corpus may grow or be in another order.

    Attributes:
        number: from 1.
        of: how many shares there are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Share:
        """The share of ``3/16``.

        Raises:
            InputError: it is not written so, or there is no such share.
        """
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip(), flags=re.ASCII)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise InputError(f"{text!r} is not a share, expected I/N with I from 1 to N, such as 3/16.")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def part(self) -> str:
        """Its name as a writer of a store beside others; empty for the whole."""
        return f"share-{self.number}-of-{self.of}" if self.of > 1 else ""

    def holds(self, content: bytes) -> bool:
        """Whether the text of a content hash is in it."""
        return int.from_bytes(content[:8], "big") % self.of == self.number - 1


WHOLE = Share(1, 1)
