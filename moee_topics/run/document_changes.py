"""The documents of a run and those of some sources, joined by id and content."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from moee_topics.corpus import Corpus, Document
from moee_topics.topics import TopicResult


@dataclass(frozen=True)
class DocumentChanges:
    """The documents of a run after sources were read, and how they differ from those before.

    Attributes:
        documents: N, those that stay in their order, then the new ones.
        rows: (N,) the row that each had before; -1 where it is new or its text is another.
        added: documents with a new id.
        changed: documents whose text is another.
        removed: documents that are in no source, where these are to go.
        described: documents with another label or time and the same text.
    """

    documents: list[Document]
    rows: NDArray[np.int64]
    added: int
    changed: int
    removed: int
    described: int

    @property
    def is_nothing(self) -> bool:
        """Whether all is as it was."""
        return not (self.added or self.changed or self.removed or self.described)


def document_changes(result: TopicResult, sources: Iterable[Corpus], *, remove_missing: bool) -> DocumentChanges:
    """Reads the sources over the documents of a run; of two documents with one id the last holds.

    A document without an id of its own is known by its text: its line number in another file says nothing.

    Args:
        result: of the run.
        sources: read one after the other.
        remove_missing: documents that are in none of them go.

    Raises:
        InputError: a source cannot be read.
    """
    before = documents_of(result)
    after, in_sources = {document.id: document for document in before}, set[str]()
    for corpus in sources:
        ids_of_text: dict[str, list[str]] = {}
        # Reversed, so that pop() below gives the first of several copies.
        for document in reversed(before):
            ids_of_text.setdefault(document.text, []).append(document.id)
        nameless = 0  # of this source so far: the count of its pass grows with each, before it is given
        for document in corpus:
            if corpus.counts.nameless > nameless:
                nameless = corpus.counts.nameless
                copies = ids_of_text.get(document.text)
                document = replace(document, id=copies.pop() if copies else free_id(document.id, after))
            old = after.get(document.id)
            if old is not None:  # a file without the column of labels takes none away
                document = replace(
                    document, label=document.label or old.label, timestamp=document.timestamp or old.timestamp
                )
            after[document.id] = document
            in_sources.add(document.id)
    row_of = {document.id: row for row, document in enumerate(before)}
    # A dict keeps the place of a key that is set again: who stays keeps the order of the rows.
    documents = [document for document in after.values() if not remove_missing or document.id in in_sources]
    old_rows = [row_of.get(document.id, -1) for document in documents]
    same = [row >= 0 and before[row].text == new.text for row, new in zip(old_rows, documents, strict=True)]
    return DocumentChanges(
        documents,
        rows=np.array([row if stays else -1 for row, stays in zip(old_rows, same, strict=True)], dtype=np.int64),
        added=sum(row < 0 for row in old_rows),
        changed=sum(row >= 0 and not stays for row, stays in zip(old_rows, same, strict=True)),
        removed=len(after) - len(documents),
        described=sum(stays and before[row] != new for row, stays, new in zip(old_rows, same, documents, strict=True)),
    )


def documents_of(result: TopicResult) -> list[Document]:
    """The documents of a run with what it knows of them."""
    nothing = [""] * len(result)
    labels, times = result.labels or nothing, result.timestamps or nothing
    rows = zip(result.ids, result.texts, labels, times, strict=True)
    return [Document(name, text, label or None, time or None) for name, text, label, time in rows]


def free_id(name: str, taken: dict[str, Document]) -> str:
    """The name, or the first of name#2, name#3 … that no document has."""
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name}#{number}"
    return unique
