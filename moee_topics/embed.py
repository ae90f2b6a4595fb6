"""Texts to stored embeddings: whatever the store lacks is encoded, everything else is read.

Runs, predictions, BERTopic's backend and mteb go through here, and nothing else encodes but the timed trial of an
estimate (``run/estimates.py``), which keeps no vectors.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from moee_topics.corpus import Document
from moee_topics.embeddings import Embeddings
from moee_topics.encode import Reading, View, entry_keys, plain_texts
from moee_topics.errors import InputError, ResourceError
from moee_topics.messages import counted
from moee_topics.progress import Progress
from moee_topics.store import (
    JSON,
    DamagedShard,
    EmbeddingStore,
    Shard,
    content_hash,
    key_digest,
    remove_leftovers,
)

DOCUMENTS_PER_SHARD = 1024  # what a kill can lose; it decides where shards end, so another number is other bytes
CHARACTERS_PER_SHARD = 32_000_000  # a shard's texts are in memory together, and a document may have 50 million
# Of the encoder: so that progress moves on a slow machine. It cuts a longer call into steps of 2,048 by itself.
DOCUMENTS_PER_CALL = 256
CHARACTERS_PER_CALL = 32_768  # some 8,000 tokens: of words and titles, more documents are needed to fill a pack
ROWS_PER_BLOCK = 4096
DISK_MARGIN = 1.05  # ids, hashes and headers, which the arrays do not count

Key = Mapping[str, JSON]


class Text(NamedTuple):
    """What is to be encoded: hashed once, whoever brings it."""

    content: bytes
    id: str
    text: str


class TextEncoder(Protocol):
    """What an embedder needs of an encoder; ``MoEEncoder`` is one."""

    @property
    def spec(self) -> Any:
        """Describes the encoder; its ``key()`` is all that the vectors depend on."""
        ...

    def encode(self, texts: Sequence[str]) -> Embeddings:
        """The embeddings of texts, in their order."""
        ...


class ViewEncoder(TextEncoder, Protocol):
    """What an embedder needs of an encoder whose key names views."""

    def encode_entries(self, texts: Sequence[str], entries: Sequence[View]) -> dict[View, Embeddings]:
        """What entries of a store hold of texts, in their order, from one pass."""
        ...


@runtime_checkable
class CallsEncoder(ViewEncoder, Protocol):
    """An encoder that prepares a call while the one before is in its model; ``MoEEncoder`` is one."""

    def encode_calls(self, calls: Iterable[Sequence[str]], entries: Sequence[View]) -> Iterator[dict[View, Embeddings]]:
        """What entries of a store hold of the texts of one call after the other."""
        ...


class Group(NamedTuple):
    """Texts that become one shard of each view that lacks some of them, and which of them it lacks."""

    texts: list[Text]
    rows: dict[View, list[int]]


class Crew(Protocol):
    """Who encodes for an embedder in other processes; ``RayCrew`` is one."""

    def key(self) -> Key:
        """What the vectors depend on, by an encoder that was loaded there."""
        ...

    def write(self, root: Path, key: Key, groups: Iterable[Group]) -> Iterator[tuple[int, dict[View, Shard]]]:
        """Gives the documents of each group and its shards, in any order, once they are in the folders of a store.

        Groups are asked for as they can be worked on. This process has the store open for writing.
        """
        ...


class Embedder:
    """Gives the embeddings of texts; each text is encoded once and read from the store from then on.

    Where the key names several views or prompts, each is in an entry of the store of its own. All that a text lacks of
    a prompt's views comes from one pass, and what is there is not made again.

    Killed at any moment and started again, it goes on where it was, and the store ends with the same bytes. It may be
    used from several threads.

    Args:
        load: makes the encoder; called when the first text is missing, and once.
        root: the folder of the stores; None encodes every time and keeps nothing.
        key: what the vectors depend on, where it is known without loading the encoder.
        progress: is told how far the encoding is.
        read_only: never write; what the store lacks is encoded for this call alone.
        rounds: without a store give what one would keep, in float16, so that new vectors equal stored ones.
        documents_per_shard: texts that are encoded and written in one go: what a kill can lose.
        part: name of this writer, where several fill one store at once; see :meth:`EmbeddingStore.open`.
        crew: encodes what the store lacks, in the place of the encoder that ``load`` makes.

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
        rounds: bool = False,
        documents_per_shard: int | None = None,
        part: str = "",
        crew: Crew | None = None,
    ) -> None:
        self.root = root
        self.progress = progress or Progress()
        self.read_only = read_only
        self.encoded = 0
        # Before the vectors of several prompts become one, since the store keeps each of them.
        self._rounds = rounds or root is not None
        self._part = part
        self._crew = crew
        self._load = load
        self._key = key
        self._documents_per_shard = documents_per_shard or DOCUMENTS_PER_SHARD
        self._encoder: TextEncoder | None = None
        self._stores: dict[View, EmbeddingStore] = {}
        self._told: set[DamagedShard] = set()
        self._lock = threading.RLock()  # BERTopic's backend may be asked from several threads; one loads and writes

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
        """What the vectors depend on; asking may load the encoder."""
        if self._key is None:
            self._key = self.encoder.spec.key() if self._crew is None else self._crew.key()
        return self._key

    def unembedding(self) -> Any:
        """The directions of the model's unembedding, (D, D), for the filter ``embed_filter``; it may load the model.

        Raises:
            InputError: the embedder was made of something else than a model's settings.
        """
        if not hasattr(self._load, "unembedding"):
            raise InputError("The filter embed_filter needs a model that is given by its name or path.")
        return self._load.unembedding()

    @property
    def keys(self) -> dict[View, Key]:
        """The key of each entry of the store that is filled or, by a reader, read."""
        keys: dict[View, Key] = dict(entry_keys(self.key))
        if self.root is not None and not self.read_only:
            return keys
        return {entry: keys[entry] for entry in self._reading.read_entries}

    @property
    def _reading(self) -> Reading:
        return Reading.of_key(self.key)

    def release(self) -> None:
        """Lets the encoder's memory go; the next text that is missing loads it again."""
        self._encoder = None

    def missing(self, hashes: Iterable[bytes]) -> dict[bytes, None]:
        """The content hashes, each once and in order, whose text must still be encoded.

        The documents of a damaged shard are among them. No lock of a writer is taken, and no encoder is loaded if the
        key is known.
        """
        hashes = list(hashes)
        with self._lock:
            stores = self._opened()
            if len(stores) < len(self.keys):
                return dict.fromkeys(hashes)
            rows = sorted({row for store in stores.values() for row in store.missing(hashes)})
            for store in stores.values():
                self._tell_damage(store)
            return dict.fromkeys(hashes[row] for row in rows)

    def ensure(self, documents: Iterable[Document], total: int | None = None) -> int:
        """Encodes the documents that the store lacks, shard by shard, and returns how many there were.

        Args:
            documents: read as they are needed; only those of one shard are in memory.
            total: how many are missing, where it is known, for the progress and for a look at the disk beforehand.

        Raises:
            StoreError: another process writes to the store.
            ResourceError: memory or disk do not suffice.
        """
        return self._fill((Text(document.content_hash, document.id, document.text) for document in documents), total)

    def ensure_texts(self, texts: Sequence[str]) -> int:
        """:meth:`ensure` for texts without ids."""
        if self.root is None:
            return 0
        texts = list(plain_texts(texts))
        hashes = [content_hash(text) for text in texts]
        missing = self.missing(hashes)
        return self._fill(_those_of(missing, hashes, texts, None), len(missing)) if missing else 0

    def blocks(
        self, texts: Sequence[str], ids: Sequence[str] | None = None, *, rows: int = ROWS_PER_BLOCK
    ) -> Iterator[Embeddings]:
        """The embeddings of texts in their order, at most ``rows`` at a time; what is missing is encoded first.

        Args:
            texts: N texts, any of them more than once.
            ids: what the store calls them; by default their content hash in hexadecimal.
            rows: texts of each block but the last.

        Raises:
            InputError: one of them is not a string.
        """
        texts = list(plain_texts(texts))
        if self.root is None:
            for start in range(0, len(texts), rows):
                yield self._reading.joined(self._encode(texts[start : start + rows], [*self.keys]))
            return
        hashes = [content_hash(text) for text in texts]
        missing = self.missing(hashes)
        new = _those_of(missing, hashes, texts, ids)
        if missing and self.read_only:
            yield from self._with_unstored(hashes, {content: text for content, _, text in new}, rows)
            return
        if missing:
            self._fill(new, len(missing))
        yield from self.stored_blocks(hashes, rows)

    def stored_blocks(self, hashes: Sequence[bytes], rows: int = ROWS_PER_BLOCK) -> Iterator[Embeddings]:
        """Embeddings by content hash from the store alone, in their order and at most ``rows`` at a time.

        Raises:
            StoreError: some are not stored.
        """
        stores, reading, keys = self._opened(), self._reading, entry_keys(self.key)
        entries = reading.read_entries
        for entry in entries:
            if entry not in stores:
                EmbeddingStore.open(self._folder, keys[entry])  # says what is missing
        for parts in zip(*(stores[entry].read_blocks(hashes, rows) for entry in entries), strict=True):
            yield reading.joined(dict(zip(entries, parts, strict=True)))

    def stored_by_shard(
        self, hashes: Sequence[bytes], rows: int = ROWS_PER_BLOCK
    ) -> Iterator[tuple[NDArray[np.int64], Embeddings]]:
        """The same, in the order that the documents lie in, each block with its positions in ``hashes``.

        Raises:
            StoreError: some are not stored.
        """
        stores, entry = self._opened(), self._reading.read_entries[0]
        # Where there is no store yet, reading says so.
        order = stores[entry].disk_order(hashes) if entry in stores else np.arange(len(hashes))
        in_order = [hashes[place] for place in order.tolist()]
        for start, embeddings in zip(range(0, len(order), rows), self.stored_blocks(in_order, rows), strict=True):
            yield order[start : start + rows], embeddings

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """The embeddings of texts in their order, all at once."""
        return Embeddings.concatenate(list(self.blocks(texts)))

    def _fill(self, texts: Iterable[Text], total: int | None) -> int:
        """Encodes and writes what the store lacks, and returns how many there were."""
        if self.root is None or self.read_only:
            return 0
        with self._lock, ExitStack() as open_stores:
            stores = {entry: open_stores.enter_context(self._writable(entry)) for entry in self.keys}
            groups = self._groups(stores, texts)
            fill = self._write_groups if self._crew is None else self._take_groups_in
            done = fill(stores, groups, total)
            for store in stores.values():
                store.drop(store.damaged)
            self._stores = stores  # they know the new shards, and reading goes on when their locks are given back
        return done

    def _write_groups(self, stores: Mapping[View, EmbeddingStore], groups: Iterable[Group], total: int | None) -> int:
        """Encodes groups one after the other, writes them, and returns how many documents there were."""
        done = 0
        for texts, rows in groups:
            parts = self._encode([text.text for text in texts], [*rows], done, total)
            if done == 0:  # hours before the disk is full, and after the first shard has said what a document takes
                sample = sum(part.stored_bytes for part in parts.values()) / len(texts)
                _check_disk(self._folder, total or len(texts), sample)
            for entry, part in parts.items():
                stores[entry].write(part, [text.id for text in texts], [text.content for text in texts])
            done += len(texts)
        return done

    def _take_groups_in(self, stores: Mapping[View, EmbeddingStore], groups: Iterable[Group], total: int | None) -> int:
        """Has groups encoded and written by the crew, and returns how many documents there were."""
        done = 0
        for documents, shards in cast(Crew, self._crew).write(self._folder, self.key, groups):
            if done == 0:
                sample = sum(shard.bytes for shard in shards.values()) / documents
                _check_disk(self._folder, (total or documents) - documents, sample)
            for entry, shard in shards.items():
                stores[entry].take_in(shard)
            done += documents
            self.encoded += documents
            self.progress.advance(done, total or done)
        for store in stores.values():
            remove_leftovers(store.folder)  # of workers that were killed
        return done

    @property
    def _folder(self) -> Path:
        return self.root or Path()

    def _writable(self, entry: View) -> EmbeddingStore:
        """An entry of the store, without the shards of it that are damaged."""
        keys = self.keys
        store = EmbeddingStore.open(self._folder, keys[entry], writable=True, part=self._part, beside=[*keys.values()])
        self._tell_damage(store)
        # Damaged files go: their names come again only where the same documents make up a shard again.
        opened = self._stores.get(entry)
        store.drop([*store.damaged, *(opened.damaged if opened else ())])
        return store

    def _groups(self, stores: Mapping[View, EmbeddingStore], texts: Iterable[Text]) -> Iterator[Group]:
        for shard in self._shards([*stores.values()], texts):
            contents = [text.content for text in shard]
            # A view that is there already is not made again, and its bytes are not touched.
            rows = {entry: missing for entry, store in stores.items() if (missing := store.missing(contents))}
            for store in stores.values():
                self._tell_damage(store)
            yield Group(shard, rows)

    def _encode(
        self, texts: Sequence[str], entries: Sequence[View], done: int = 0, total: int | None = None
    ) -> dict[View, Embeddings]:
        def tell(documents: int, finished: int) -> None:
            self.encoded += documents
            self.progress.advance(done + finished, total or done + len(texts))

        whole = encode_in_calls(self.encoder, self.key, texts, entries, tell)
        return {entry: part.rounded() for entry, part in whole.items()} if self._rounds else whole

    def _shards(self, stores: Sequence[EmbeddingStore], texts: Iterable[Text]) -> Iterator[list[Text]]:
        """What must be encoded, each text once, in groups that become one shard each."""
        # Where a group ends depends on the documents alone, so that a store filled after a kill has the same bytes.
        shard: list[Text] = []
        characters = 0
        seen: set[bytes] = set()  # here alone repeated texts are dropped on their way to the store
        for text in texts:
            if text.content in seen or all(text.content in store for store in stores):
                continue
            seen.add(text.content)
            shard.append(text)
            characters += len(text.text)
            if len(shard) >= self._documents_per_shard or characters >= CHARACTERS_PER_SHARD:
                yield shard
                shard, characters = [], 0
        if shard:
            yield shard

    def _with_unstored(self, hashes: Sequence[bytes], new: Mapping[bytes, str], rows: int) -> Iterator[Embeddings]:
        """Stored and freshly encoded embeddings together, the fresh ones rounded as the store would round them."""
        fresh = self._reading.joined(self._encode(list(new.values()), [*self.keys]))
        stored_hashes = [content for content in dict.fromkeys(hashes) if content not in new]
        parts = [fresh, *(self.stored_blocks(stored_hashes) if stored_hashes else ())]
        row_of = {content: row for row, content in enumerate([*new, *stored_hashes])}
        everything = Embeddings.concatenate(parts)
        for start in range(0, len(hashes), rows):
            yield everything[[row_of[content] for content in hashes[start : start + rows]]]

    def _opened(self) -> dict[View, EmbeddingStore]:
        """The entries of the store for reading, those that there are."""
        for entry, key in self.keys.items():
            if entry not in self._stores and self.root is not None and (self.root / key_digest(key)).is_dir():
                self._stores[entry] = EmbeddingStore.open(self.root, key)
        return self._stores

    def _tell_damage(self, store: EmbeddingStore) -> None:
        for shard in store.damaged:
            if shard not in self._told:
                held = "" if shard.rows is None else f", {counted(shard.rows, 'document')},"
                self.progress.note(
                    f"The shard {shard.name} is damaged ({shard.reason}); what it held{held} is encoded again."
                )
                self._told.add(shard)


def encode_in_calls(
    encoder: TextEncoder,
    key: Key,
    texts: Sequence[str],
    entries: Sequence[View],
    tell: Callable[[int, int], None] = lambda documents, finished: None,
) -> dict[View, Embeddings]:
    """What entries of a store hold of the texts of a shard, in their order: the same bits in whichever process.

    Args:
        encoder: of the key.
        key: what the vectors depend on.
        texts: of one shard.
        entries: those that are wanted.
        tell: is called after each call of the encoder with how many texts that was, and how many are done.
    """
    parts: dict[View, list[Embeddings]] = {entry: [] for entry in entries}
    done = 0
    if isinstance(encoder, CallsEncoder):
        answers = encoder.encode_calls(_calls(texts), entries)
    elif "views" in key or "prompts" in key:
        answers = (cast(ViewEncoder, encoder).encode_entries(some, entries) for some in _calls(texts))
    else:  # an encoder that names neither has one entry alone
        answers = ({entries[0]: encoder.encode(some)} for some in _calls(texts))
    for found in answers:
        for entry, part in found.items():
            parts[entry].append(part)
        rows = len(found[entries[0]])
        done += rows
        tell(rows, done)
    return {entry: Embeddings.concatenate(pieces) for entry, pieces in parts.items()}


def _calls(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Texts in their order, as many at a time as are worth a call of the encoder."""
    start, characters = 0, 0
    for end, text in enumerate(texts, start=1):
        characters += len(text)
        if end - start >= DOCUMENTS_PER_CALL and characters >= CHARACTERS_PER_CALL:
            yield texts[start:end]
            start, characters = end, 0
    if start < len(texts):
        yield texts[start:]


def _those_of(
    missing: Collection[bytes], hashes: Sequence[bytes], texts: Sequence[str], ids: Sequence[str] | None
) -> Iterator[Text]:
    """The texts that are missing, in their order; what is repeated may be repeated."""
    for row, content in enumerate(hashes):
        if content in missing:
            yield Text(content, ids[row] if ids else content.hex(), texts[row])


def _check_disk(root: Path, documents: int, bytes_per_document: float) -> None:
    """Whether so many documents will fit, by what those of the first shard take, exactly."""
    needed, free = int(documents * bytes_per_document * DISK_MARGIN), shutil.disk_usage(root).free
    if needed > free:
        raise ResourceError(
            f"The embeddings of {counted(documents, 'document')} need {needed / 1e9:.2f} GB in {root}, and "
            f"{free / 1e9:.2f} GB are free. Free some, or choose another place with --store."
        )
