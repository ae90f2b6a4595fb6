"""One pass over a corpus that counts and fingerprints it, without keeping its texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.corpus.document import Corpus, Document
from moee_topics.errors import InputError


@dataclass(frozen=True)
class Survey:
    """What one pass over a corpus found.

    Attributes:
        source: what the corpus was opened from.
        documents: N.
        unique: how many of their texts differ.
        empty: records dropped for lack of text.
        duplicate_ids: documents that were given another id because theirs had been used.
        characters: of all documents.
        label_names: the known classes, sorted; empty without labels.
        timestamps: the earliest and the latest, where there are any.
        digest: hexadecimal; changes with any id, text, label, timestamp or their order.
        hashes: (N,) content hash of each document, 16 bytes.
    """

    source: str
    documents: int
    unique: int
    empty: int
    duplicate_ids: int
    characters: int
    label_names: tuple[str, ...]
    timestamps: tuple[str, str] | None
    digest: str
    hashes: NDArray[np.void]

    def hash_list(self) -> list[bytes]:
        """The content hashes as bytes, in document order."""
        return [content.tobytes() for content in self.hashes]

    def to_json(self) -> dict[str, Any]:
        """The corpus as the manifest of a run describes it."""
        return {
            "source": self.source,
            "documents": self.documents,
            "unique": self.unique,
            "empty": self.empty,
            "duplicate_ids": self.duplicate_ids,
            "mean_chars": round(self.characters / self.documents, 1),
            "labels": len(self.label_names) or None,
            "label_names": list(self.label_names) or None,
            "timestamps": list(self.timestamps) if self.timestamps else None,
        }


class Surveyor:
    """Counts documents as they pass by."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self._hashes = bytearray()
        self._labels: set[str] = set()
        self._times: tuple[str, str] | None = None
        self._characters = 0

    def passing(self, corpus: Corpus) -> Iterator[Document]:
        """The documents of a corpus, each counted."""
        for document in corpus:
            self._count(document)
            yield document

    def _count(self, document: Document) -> None:
        rest = json.dumps([document.id, document.label, document.timestamp], ensure_ascii=False)
        self._digest.update(document.content_hash + rest.encode() + b"\n")
        self._hashes += document.content_hash
        self._characters += len(document.text)
        if document.label is not None:
            self._labels.add(document.label)
        if document.timestamp is not None:
            first, last = self._times or (document.timestamp, document.timestamp)
            self._times = min(first, document.timestamp), max(last, document.timestamp)

    def result(self, corpus: Corpus) -> Survey:
        """What the finished pass found.

        Raises:
            InputError: there was no document.
        """
        hashes = np.frombuffer(bytes(self._hashes), dtype="V16")
        if not len(hashes):
            raise InputError(f"{corpus.source} has no documents ({corpus.counts.empty} empty ones were dropped).")
        return Survey(
            source=corpus.source,
            documents=len(hashes),
            unique=len(np.unique(hashes.view("S16"))),
            empty=corpus.counts.empty,
            duplicate_ids=corpus.counts.duplicate_ids,
            characters=self._characters,
            label_names=tuple(sorted(self._labels)),
            timestamps=self._times,
            digest=self._digest.hexdigest(),
            hashes=hashes,
        )


def survey(corpus: Corpus) -> Survey:
    """Counts and fingerprints a corpus in one pass, keeping 16 bytes of each document.

    Raises:
        InputError: it has no documents, or cannot be read.
    """
    surveyor = Surveyor()
    for _ in surveyor.passing(corpus):
        pass
    return surveyor.result(corpus)
