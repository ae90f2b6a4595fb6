"""One pass over a corpus that counts and fingerprints it, without keeping its texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.corpus.corpus import Corpus
from moee_topics.corpus.document import Document
from moee_topics.corpus.markup import holds_markup
from moee_topics.errors import InputError
from moee_topics.messages import counted

MARKED_UP_SHARE = 0.05
COPIES_SHARE, OFTEN = 0.1, 15


@dataclass(frozen=True)
class Survey:
    """What one pass over a corpus found.

    Attributes:
        source: what the corpus was opened from.
        documents: N.
        unique: how many of their texts differ.
        empty: records dropped for lack of text.
        duplicate_ids: documents that were given another id because theirs had been used.
        left_out: other records that are not documents, by reason.
        missing_labels: documents whose label is a word for none, by that word.
        not_times: a value of the column that is called as times are and holds none.
        text_columns: where the texts stand in a table; empty without columns.
        marked_up: documents that hold HTML.
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
    left_out: Mapping[str, int]
    missing_labels: Mapping[str, int]
    not_times: str | None
    text_columns: tuple[str, ...]
    marked_up: int
    characters: int
    label_names: tuple[str, ...]
    timestamps: tuple[str, str] | None
    digest: str
    hashes: NDArray[np.void]

    def hash_list(self) -> list[bytes]:
        """The content hashes as bytes, in document order."""
        return [content.tobytes() for content in self.hashes]

    @cached_property
    def repeated(self) -> NDArray[np.bool_]:
        """(N,) whether a document has the text of one before it."""
        repeated = np.ones(len(self.hashes), dtype=bool)
        repeated[np.unique(self.hashes.view("S16"), return_index=True)[1]] = False
        return repeated

    @property
    def notes(self) -> list[str]:
        """What a person should know of what was lost or looks odd, each with the setting that changes it."""
        notes = []
        if self.empty:
            notes.append(f"Empty documents left out: {self.empty:,}.")
        notes += [f"{reason.capitalize()} left out: {count:,}." for reason, count in self.left_out.items()]
        if self.duplicate_ids:
            repeated = counted(self.duplicate_ids, "document")
            notes.append(f"Ids that were used before are made unique with #2, #3, …, in {repeated}.")
        if self.missing_labels:
            words = ", ".join(f"{word!r}" for word in self.missing_labels)
            missing = counted(sum(self.missing_labels.values()), "document")
            notes.append(
                f"No label but {words} in {missing}; if that is a class, say what is none with corpus.missing=[…]."
            )
        if self.not_times is not None:
            notes.append(
                f"The column that is called as times are holds none (such as {self.not_times[:40]!r}) and is not read. "
                "Name the right one with corpus.timestamp."
            )
        copies, occurrences = self.documents - self.unique, np.unique(self.hashes.view("S16"), return_counts=True)[1]
        if copies >= max(OFTEN, self.documents * COPIES_SHARE) or occurrences.max(initial=0) >= OFTEN:
            # Of 18 made-up corpora with a topic of 3 to 14 texts, each 2 to 400 times, it joined another topic in all
            # with the defaults, and was found in 14 with a min_cluster_size of 3.
            notes.append(
                f"{copies:,} of {self.documents:,} documents are copies of others (one text is there "
                f"{occurrences.max():,} times). Copies count once in hdbscan.min_cluster_size, so a topic of few texts "
                "that repeat often can join another one; hdbscan.min_cluster_size=3 keeps most of these apart."
            )
        if self.marked_up >= max(3, self.documents * MARKED_UP_SHARE):
            notes.append(
                f"{self.marked_up:,} of {self.documents:,} documents hold HTML, whose tags can become words of topics. "
                "Take it away with corpus.clean=html."
            )
        return notes

    def to_json(self) -> dict[str, Any]:
        """The corpus as the manifest of a run describes it."""
        return {
            "source": self.source,
            "documents": self.documents,
            "unique": self.unique,
            "empty": self.empty,
            "duplicate_ids": self.duplicate_ids,
            "left_out": dict(self.left_out),
            "missing_labels": dict(self.missing_labels),
            "not_times": self.not_times,
            "text_columns": list(self.text_columns) or None,
            "marked_up": self.marked_up,
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
        self._characters = self._marked_up = 0

    def passing(self, corpus: Corpus) -> Iterator[Document]:
        """The documents of a corpus, each counted."""
        for document in corpus:
            # JSON keeps the three apart: no id can end where another's label begins.
            rest = json.dumps([document.id, document.label, document.timestamp], ensure_ascii=False)
            self._digest.update(document.content_hash + rest.encode() + b"\n")
            self._hashes += document.content_hash
            self._characters += len(document.text)
            self._marked_up += holds_markup(document.text)
            if document.label is not None:
                self._labels.add(document.label)
            if document.timestamp is not None:
                first, last = self._times or (document.timestamp, document.timestamp)
                self._times = min(first, document.timestamp), max(last, document.timestamp)
            yield document

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
            unique=len(np.unique(hashes.view("S16"))),  # V16 has no order
            empty=corpus.counts.empty,
            duplicate_ids=corpus.counts.duplicate_ids,
            left_out=corpus.counts.left_out,
            missing_labels=corpus.counts.missing_labels,
            not_times=corpus.counts.not_times,
            text_columns=corpus.counts.text_columns,
            marked_up=self._marked_up,
            characters=self._characters,
            label_names=tuple(sorted(self._labels)),
            timestamps=self._times,
            digest=self._digest.hexdigest(),
            hashes=hashes,
        )
