"""A plugin for BERTopic's own tests: whatever asks for a model of sentence-transformers gets our backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import sentence_transformers

from moee_topics import MoEEBackend


class SentenceTransformer(MoEEBackend):
    """One backend for all of the suite, as a user has one: what it learnt from the documents it keeps."""

    _one: SentenceTransformer | None = None

    def __new__(cls, *_: Any, **__: Any) -> SentenceTransformer:
        if cls._one is None:
            cls._one = super().__new__(cls)
            MoEEBackend.__init__(cls._one, "pocket", store=Path("store"), max_tokens=128)
        return cls._one

    def __init__(self, *_: Any, **__: Any) -> None:
        pass  # made once above, and not again for each name

    def encode(self, documents: Any, **_: Any) -> np.ndarray:
        """The name that the suite's fixtures and BERTopic's wrapper of a sentence-transformers model call."""
        vectors: np.ndarray = self.embed_documents(documents)
        return vectors


sentence_transformers.SentenceTransformer = SentenceTransformer  # type: ignore[assignment,misc]
