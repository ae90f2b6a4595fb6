"""What a worker of a Ray cluster loads in the place of a model; it finds this file by the driver's ``PYTHONPATH``."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field

from scoring_doubles import HashEncoder

from moee_topics.embeddings import Embeddings
from moee_topics.encode import TokenCounts
from moee_topics.errors import ModelError


class Refusing(HashEncoder):
    """Cannot encode one text, and dies of another."""

    def encode(self, texts: Sequence[str]) -> Embeddings:
        if "deadly" in texts:
            os.kill(os.getpid(), signal.SIGKILL)
        if "bad" in texts:
            raise ModelError("The vector of this text is not finite.")
        return super().encode(texts)


@dataclass
class HashSource:
    """Gives the encoder, and counts a token for each text."""

    name: str = "double/hash"
    missing: bool = False
    _encoder: HashEncoder | None = field(default=None, repr=False)

    def __call__(self) -> HashEncoder:
        if self.missing:
            raise ModelError("The model double/hash is not here.")
        self._encoder = self._encoder or Refusing(self.name)
        return self._encoder

    @property
    def counts(self) -> TokenCounts:
        return TokenCounts(tokens=0 if self._encoder is None else len(self._encoder.seen))
