"""The stage above the wall: every document that the store lacks goes through the model."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moee_topics.corpus import Corpus, Document, Survey, open_corpus, survey
from moee_topics.embeddings import Embeddings
from moee_topics.encode import EncoderSource, TokenCounts, bytes_per_document
from moee_topics.errors import ResourceError, StoreError
from moee_topics.progress import Progress, resumable
from moee_topics.recipe import Recipe
from moee_topics.store import EmbeddingStore, key_digest

if TYPE_CHECKING:
    from moee_topics.encode import MoEEncoder

DOCUMENTS_PER_SHARD = 1024
CHARACTERS_PER_SHARD = 32_000_000
DOCUMENTS_PER_STEP = 256
DISK_MARGIN = 1.05

Key = Mapping[str, Any]


@dataclass(frozen=True)
class Encoded:
    """A corpus that is in the store as a whole.

    Attributes:
        survey: the corpus.
        key: what its vectors depend on.
        counts: its tokens.
        encoded: documents that went through the model this time.
        store: the root folder of the store.
    """

    survey: Survey
    key: Key
    counts: TokenCounts
    encoded: int
    store: Path

    @property
    def folder(self) -> Path:
        """Where the shards are."""
        return self.store / key_digest(self.key)

    def open(self) -> EmbeddingStore:
        """The store, for reading."""
        return EmbeddingStore.open(self.store, self.key)


def encoder_of(recipe: Recipe) -> EncoderSource:
    """The encoder of a recipe; routers are needed unless hidden states alone are used."""
    return EncoderSource(recipe.encoder, require_routers=recipe.fusion.method != "hidden_states")


def corpus_of(recipe: Recipe) -> Corpus:
    """Opens the corpus of a recipe."""
    return open_corpus(recipe.corpus)


def survey_of(corpus: Corpus, progress: Progress) -> Survey:
    """Counts and fingerprints a corpus, and says what is odd about it."""
    progress.begin("corpus", f"reading {corpus.source}")
    started = time.perf_counter()
    found = survey(corpus)
    progress.end("corpus", time.perf_counter() - started, f"{found.documents:,} documents, {found.unique:,} different")
    if found.empty:
        progress.note(f"{found.empty:,} documents were empty and are left out.")
    if found.duplicate_ids:
        progress.note(f"{found.duplicate_ids:,} documents repeat an id; theirs were made unique with #2, #3, …")
    return found


def embed(
    recipe: Recipe,
    store: Path,
    *,
    corpus: Corpus | None = None,
    encoder: EncoderSource | None = None,
    progress: Progress | None = None,
) -> Encoded:
    """Encodes the documents of a recipe's corpus that the store lacks; weights are loaded only if there are any.

    Killed at any moment and started again, it goes on where it was and ends with the same bytes.

    Args:
        recipe: its sections corpus and encoder matter.
        store: root folder of the embedding store.
        corpus: where it is open already.
        encoder: where it is loaded already.
        progress: hears how far it is.

    Raises:
        InputError: the corpus cannot be read.
        ModelError: the model cannot be loaded.
        StoreError: another process writes to the store.
        ResourceError: memory or disk do not suffice.
        Interrupted: stopped by the user; run it again to go on.
    """
    progress = progress or Progress()
    corpus = corpus or corpus_of(recipe)
    encoder = encoder or encoder_of(recipe)
    with resumable("Every finished shard is kept: run the same command again to go on where it stopped."):
        return embed_surveyed(corpus, survey_of(corpus, progress), encoder, store, progress)


def embed_surveyed(corpus: Corpus, found: Survey, encoder: EncoderSource, store: Path, progress: Progress) -> Encoded:
    """:func:`embed` of a corpus that has been counted."""
    key = encoder.stored_key(store) or encoder.key()
    progress.begin("embed", f"{encoder.settings.model}, {found.unique:,} documents")
    with EmbeddingStore.open(store, key, writable=True) as opened:
        _drop_damaged(opened, progress)
        hashes = found.hash_list()
        missing = dict.fromkeys(hashes[row] for row in opened.missing(hashes))
        work = _Encoding(opened, encoder, missing, progress)
        counts = work.run(corpus) if missing else _count_all(corpus, encoder)
    return Encoded(found, key, counts, work.done, store)


def _drop_damaged(store: EmbeddingStore, progress: Progress) -> None:
    damaged = store.verify()
    for shard in damaged:
        lost = "its documents are" if shard.rows is None else f"its {shard.rows:,} documents are"
        progress.note(f"The shard {shard.name} is damaged ({shard.reason}); {lost} encoded again.")
    store.drop(damaged)


def _count_all(corpus: Corpus, encoder: EncoderSource) -> TokenCounts:
    seen: set[bytes] = set()
    total = TokenCounts()
    for window in _windows(_first_of_each(corpus, seen)):
        total += encoder.count([document.text for document, _ in window])
    return total


class _Encoding:
    """One pass over a corpus that encodes what is missing, shard by shard."""

    def __init__(
        self, store: EmbeddingStore, encoder: EncoderSource, missing: Mapping[bytes, None], progress: Progress
    ) -> None:
        self.store, self.encoder, self.progress = store, encoder, progress
        self.missing = missing
        self.done = 0
        self._known = TokenCounts()

    def run(self, corpus: Corpus) -> TokenCounts:
        """Encodes, and counts the tokens of all documents, stored before or now."""
        encode = self.encoder()
        before = encode.report
        _check_disk(self.store.folder, len(self.missing), encode)
        self.progress.advance(0, len(self.missing))
        for window in _windows(self._to_encode(corpus)):
            self._write(window)
        mine = encode.report - before
        return self._known + TokenCounts(mine.documents_cut, mine.tokens, mine.tokens_lost)

    def _to_encode(self, corpus: Corpus) -> Iterator[tuple[Document, bytes]]:
        stored: list[str] = []
        for document, content in _first_of_each(corpus, set()):
            if content in self.missing:
                yield document, content
                continue
            stored.append(document.text)
            if len(stored) >= DOCUMENTS_PER_SHARD:
                self._known += self.encoder.count(stored)
                stored.clear()
        self._known += self.encoder.count(stored)

    def _write(self, window: Sequence[tuple[Document, bytes]]) -> None:
        texts = [document.text for document, _ in window]
        parts = []
        for part in self.encoder().encode_stream(texts, DOCUMENTS_PER_STEP):
            parts.append(part)
            self.done += len(part)
            self.progress.advance(self.done, len(self.missing))
        ids = [document.id for document, _ in window]
        self.store.write(Embeddings.concatenate(parts), ids, [content for _, content in window])


def _first_of_each(corpus: Corpus, seen: set[bytes]) -> Iterator[tuple[Document, bytes]]:
    """The documents with their hashes, identical texts once."""
    for document in corpus:
        content = document.content_hash
        if content not in seen:
            seen.add(content)
            yield document, content


def _windows(documents: Iterator[tuple[Document, bytes]]) -> Iterator[list[tuple[Document, bytes]]]:
    """Documents in groups that become one shard each; where a group ends depends on its documents alone."""
    window: list[tuple[Document, bytes]] = []
    characters = 0
    for document, content in documents:
        window.append((document, content))
        characters += len(document.text)
        if len(window) >= DOCUMENTS_PER_SHARD or characters >= CHARACTERS_PER_SHARD:
            yield window
            window, characters = [], 0
    if window:
        yield window


def _check_disk(folder: Path, documents: int, encoder: MoEEncoder) -> None:
    spec = encoder.spec
    averaged = spec.pooling == "mean" or spec.long_documents == "chunk"
    size = bytes_per_document(spec.layers, spec.experts, spec.hidden_size, averaged=averaged)
    needed, free = int(documents * size * DISK_MARGIN), shutil.disk_usage(folder).free
    if needed > free:
        raise ResourceError(
            f"{documents:,} embeddings need {needed / 1e9:.2f} GB in {folder}, and {free / 1e9:.2f} GB are free. "
            "Free some, or choose another place with --store."
        )


def encoded_before(recipe: Recipe, found: Survey, store: Path, encoder: EncoderSource) -> Encoded:
    """A corpus that must be in the store already, for a fit without encoding.

    Raises:
        StoreError: it is not, or not as a whole.
    """
    key = encoder.stored_key(store)
    if key is None:
        raise StoreError(
            f"The store {store} holds nothing encoded like this (model {recipe.encoder.model!r}, prompt "
            f"{recipe.encoder.prompt!r}, …). Encode first: moee-topics embed RECIPE --output {store}"
        )
    missing = EmbeddingStore.open(store, key).missing(found.hash_list())
    if missing:
        raise StoreError(
            f"{len(missing):,} of {found.documents:,} documents are not in the store {store}. "
            f"Encode the rest first: moee-topics embed RECIPE --output {store}"
        )
    return Encoded(found, key, TokenCounts(), 0, store)
