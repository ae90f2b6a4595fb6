"""Texts to stored embeddings: whatever the store lacks is encoded, everything else is read.

Runs, predictions, BERTopic's backend and mteb go through here, and nothing else encodes but the timed trial of an
estimate (``run/estimation.py``), which keeps no vectors.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from moee_topics.corpus import Document
from moee_topics.embeddings import Embeddings
from moee_topics.errors import ResourceError
from moee_topics.progress import Progress
from moee_topics.store import JSON, DamagedShard, EmbeddingStore, content_hash, key_digest

DOCUMENTS_PER_SHARD = 1024
CHARACTERS_PER_SHARD = 32_000_000
DOCUMENTS_PER_STEP = 256
ROWS_PER_BLOCK = 4096
DISK_MARGIN = 1.05

Key = Mapping[str, JSON]
Batch = list[tuple[bytes, Document]]


class TextEncoder(Protocol):
    """What an embedder needs of an encoder; ``MoEEncoder`` is one."""

    @property
    def spec(self) -> Any:
        """Describes the encoder; its ``key()`` is all that the vectors depend on."""
        ...

    def encode(self, texts: Sequence[str]) -> Embeddings:
        """The embeddings of texts, in their order."""
        ...


class Embedder:
    """Gives the embeddings of texts, each encoded once and read from the store ever after.

    Killed at any moment and started again, it goes on where it was, and the store ends with the same bytes. It may be
    used from several threads.

    Args:
        load: makes the encoder; called when the first text is missing, and once.
        root: the folder of the stores; None encodes every time and keeps nothing.
        key: what the vectors depend on, where it is known without loading the encoder.
        progress: hears how far the encoding is.
        read_only: never write; what the store lacks is encoded for this call alone.
        documents_per_shard: texts that are encoded and written in one go: what a kill can lose.

    Attributes:
        encoded: texts that went through the encoder so far.
    """

    def __init__(
        self,
        load: Callable[[], TextEncoder],
        root: Path | None = None,
        *,
        key: Key | None = None,
        progress: Progress | None = None,
        read_only: bool = False,
        documents_per_shard: int | None = None,
    ) -> None:
        self.root = root
        self.progress = progress or Progress()
        self.read_only = read_only
        self.encoded = 0
        self._load = load
        self._key = key
        self._documents_per_shard = documents_per_shard or DOCUMENTS_PER_SHARD
        self._encoder: TextEncoder | None = None
        self._store: EmbeddingStore | None = None
        self._told: set[DamagedShard] = set()
        self._lock = threading.RLock()

    @classmethod
    def of(cls, encoder: TextEncoder, root: Path | None = None, **options: Any) -> Embedder:
        """An embedder of an encoder that is in memory already."""
        return cls(lambda: encoder, root, **options)

    @property
    def encoder(self) -> TextEncoder:
        """The encoder, loaded now if it was not."""
        with self._lock:
            if self._encoder is None:
                self._encoder = self._load()
            return self._encoder

    @property
    def is_loaded(self) -> bool:
        """Whether the encoder is in memory."""
        return self._encoder is not None

    @property
    def key(self) -> Key:
        """What the vectors depend on, and the key of the store; asking may load the encoder."""
        if self._key is None:
            self._key = self.encoder.spec.key()
        return self._key

    def release(self) -> None:
        """Lets the encoder's memory go; the next text that is missing loads it again."""
        self._encoder = None

    def missing(self, hashes: Iterable[bytes]) -> dict[bytes, None]:
        """The content hashes, each once and in order, whose text must still be encoded.

        The documents of a damaged shard are among them. No lock of a writer is taken, and no encoder is loaded if the
        key is known.
        """
        distinct = list(dict.fromkeys(hashes))
        with self._lock:
            store = self._opened()
            if store is None:
                return dict.fromkeys(distinct)
            missing = dict.fromkeys(distinct[row] for row in store.missing(distinct))
            self._tell_damage(store)
            return missing

    def ensure(self, documents: Iterable[Document], total: int | None = None) -> int:
        """Encodes the documents that the store lacks, shard by shard, and returns how many there were.

        Args:
            documents: read as they are needed; only those of one shard are in memory.
            total: how many are missing, where it is known, for the progress and for a look at the disk beforehand.

        Raises:
            StoreError: another process writes to the store.
            ResourceError: memory or disk do not suffice.
        """
        if self.root is None or self.read_only:
            return 0
        with self._lock, EmbeddingStore.open(self.root, self.key, writable=True) as store:
            self._tell_damage(store)
            store.drop([*store.damaged, *(self._store.damaged if self._store else ())])
            done = 0
            for batch in self._shards(store, documents):
                self._tell_damage(store)
                contents, batch_documents = zip(*batch, strict=True)
                embeddings = self._encode([document.text for document in batch_documents], done, total)
                if done == 0:
                    _check_disk(store.folder, total or len(batch), embeddings)
                store.write(embeddings, [document.id for document in batch_documents], contents)
                done += len(batch)
            store.drop(store.damaged)
            self._store = store  # it knows the new shards, and reading goes on when its lock is given back
        return done

    def ensure_texts(self, texts: Sequence[str]) -> int:
        """:meth:`ensure` for texts without ids."""
        new = self._new_documents([content_hash(text) for text in texts], texts, None) if self.root else []
        return self.ensure(new, len(new)) if new else 0

    def blocks(
        self, texts: Sequence[str], ids: Sequence[str] | None = None, *, rows: int = ROWS_PER_BLOCK
    ) -> Iterator[Embeddings]:
        """The embeddings of texts in their order, at most ``rows`` at a time; what is missing is encoded first.

        Args:
            texts: N texts, any of them more than once.
            ids: what the store calls them; by default their content hash in hexadecimal.
            rows: texts of each block but the last.
        """
        if self.root is None:
            for start in range(0, len(texts), rows):
                yield self._encode(texts[start : start + rows])
            return
        hashes = [content_hash(text) for text in texts]
        new = self._new_documents(hashes, texts, ids)
        if new and self.read_only:
            yield from self._with_unstored(hashes, new, rows)
            return
        if new:
            self.ensure(new, len(new))
        yield from self.stored_blocks(hashes, rows)

    def stored_blocks(self, hashes: Sequence[bytes], rows: int = ROWS_PER_BLOCK) -> Iterator[Embeddings]:
        """Embeddings by content hash from the store alone, in their order and at most ``rows`` at a time.

        Raises:
            StoreError: some are not stored.
        """
        store = self._opened()
        if store is None:
            store = EmbeddingStore.open(self.root or Path(), self.key)  # says what is missing
        yield from store.read_blocks(hashes, rows)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """The embeddings of texts in their order, all at once."""
        return Embeddings.concatenate(list(self.blocks(texts)))

    def _encode(self, texts: Sequence[str], done: int = 0, total: int | None = None) -> Embeddings:
        """Encodes in steps small enough that progress moves on a slow machine; a vector does not depend on its step."""
        parts = []
        for start in range(0, len(texts), DOCUMENTS_PER_STEP):
            parts.append(self.encoder.encode(texts[start : start + DOCUMENTS_PER_STEP]))
            self.encoded += len(parts[-1])
            self.progress.advance(done + start + len(parts[-1]), total or done + len(texts))
        return Embeddings.concatenate(parts)

    def _shards(self, store: EmbeddingStore, documents: Iterable[Document]) -> Iterator[Batch]:
        """What must be encoded, in groups that become one shard each.

        Where a group ends depends on the documents alone, so that a store filled after a kill has the same bytes.
        """
        batch: Batch = []
        characters = 0
        seen: set[bytes] = set()
        for document in documents:
            content = document.content_hash
            if content in seen or content in store:
                continue
            seen.add(content)
            batch.append((content, document))
            characters += len(document.text)
            if len(batch) >= self._documents_per_shard or characters >= CHARACTERS_PER_SHARD:
                yield batch
                batch, characters = [], 0
        if batch:
            yield batch

    def _with_unstored(self, hashes: Sequence[bytes], new: Sequence[Document], rows: int) -> Iterator[Embeddings]:
        """Stored and freshly encoded embeddings together, the fresh ones rounded as the store would round them."""
        fresh_hashes = [document.content_hash for document in new]
        fresh = self._encode([document.text for document in new]).rounded()
        stored_hashes = [content for content in dict.fromkeys(hashes) if content not in set(fresh_hashes)]
        parts = [fresh, *(self.stored_blocks(stored_hashes) if stored_hashes else ())]
        row_of = {content: row for row, content in enumerate([*fresh_hashes, *stored_hashes])}
        everything = Embeddings.concatenate(parts)
        for start in range(0, len(hashes), rows):
            yield everything[[row_of[content] for content in hashes[start : start + rows]]]

    def _new_documents(
        self, hashes: Sequence[bytes], texts: Sequence[str], ids: Sequence[str] | None
    ) -> list[Document]:
        """Those of the texts that are not stored, each once, as documents."""
        missing = self.missing(hashes)
        first_rows = {content: row for row, content in reversed(list(enumerate(hashes))) if content in missing}
        return [Document(ids[row] if ids else hashes[row].hex(), texts[row]) for row in sorted(first_rows.values())]

    def _opened(self) -> EmbeddingStore | None:
        """The store for reading, None while there is none."""
        if self._store is None and self.root is not None and (self.root / key_digest(self.key)).is_dir():
            self._store = EmbeddingStore.open(self.root, self.key)
        return self._store

    def _tell_damage(self, store: EmbeddingStore) -> None:
        for shard in store.damaged:
            if shard not in self._told:
                lost = "its documents are" if shard.rows is None else f"its {shard.rows:,} documents are"
                self.progress.note(f"The shard {shard.name} is damaged ({shard.reason}); {lost} encoded again.")
                self._told.add(shard)


def _check_disk(folder: Path, documents: int, sample: Embeddings) -> None:
    """Whether so many documents like those of a sample will fit; its first shard tells what one needs, exactly."""
    needed, free = int(documents * sample.stored_bytes / len(sample) * DISK_MARGIN), shutil.disk_usage(folder).free
    if needed > free:
        raise ResourceError(
            f"{documents:,} embeddings need {needed / 1e9:.2f} GB in {folder}, and {free / 1e9:.2f} GB are free. "
            "Free some, or choose another place with --store."
        )
