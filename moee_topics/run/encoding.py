"""The stage above the wall: every document that the store lacks goes through the model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moee_topics.corpus import Corpus, Document, Survey, open_corpus, survey
from moee_topics.embed import DOCUMENTS_PER_SHARD, Embedder
from moee_topics.encode import EncoderSource, TokenCounts
from moee_topics.errors import StoreError
from moee_topics.progress import Progress, resumable
from moee_topics.recipe import Recipe
from moee_topics.store import EmbeddingStore, key_digest

if TYPE_CHECKING:
    from moee_topics.encode import MoEEncoder

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

    def embedder(self) -> Embedder:
        """Reads its embeddings; there is nothing left to encode."""
        return Embedder(_nothing_to_encode, self.store, key=self.key)


def _nothing_to_encode() -> MoEEncoder:
    raise StoreError("The store lost embeddings while the run was at work. Run the same command again.")


def encoder_of(recipe: Recipe) -> EncoderSource:
    """The encoder of a recipe; routers are needed unless hidden states alone are used."""
    return EncoderSource(recipe.encoder, require_routers=recipe.fusion.needs_routers)


def corpus_of(recipe: Recipe) -> Corpus:
    """Opens the corpus of a recipe."""
    return open_corpus(recipe.corpus)


def survey_of(corpus: Corpus, progress: Progress) -> Survey:
    """Counts and fingerprints a corpus, and says what is odd about it."""
    progress.begin("corpus", f"reading {corpus.source}")
    started = time.perf_counter()
    found = survey(corpus)
    progress.end("corpus", time.perf_counter() - started, f"{found.documents:,} documents, {found.unique:,} different")
    for note in found.notes:
        progress.note(note)
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
    embedder = Embedder(encoder, store, key=key, progress=progress)
    tally = _Tally(encoder, embedder.missing(found.hash_list()))
    encoded = embedder.ensure(tally.passing(corpus), len(tally.missing))
    return Encoded(found, key, tally.counts(), encoded, store)


class _Tally:
    """Counts the tokens of stored documents while those that are missing pass by on their way to the encoder."""

    def __init__(self, encoder: EncoderSource, missing: Mapping[bytes, None]) -> None:
        self.encoder, self.missing = encoder, missing
        self._stored, self._before = TokenCounts(), encoder.counts

    def passing(self, corpus: Corpus) -> Iterator[Document]:
        """The documents that are not stored yet, from one reading of the corpus."""
        seen: set[bytes] = set()
        stored: list[str] = []
        for document in corpus:
            content = document.content_hash
            if content in self.missing:
                yield document
            elif content not in seen:
                stored.append(document.text)
                if len(stored) >= DOCUMENTS_PER_SHARD:
                    self._stored += self.encoder.count(stored)
                    stored.clear()
            seen.add(content)
        self._stored += self.encoder.count(stored)

    def counts(self) -> TokenCounts:
        """Tokens of all documents, stored before or encoded now."""
        return self._stored + self.encoder.counts - self._before


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
    EmbeddingStore.open(store, key).require(found.hash_list())
    return Encoded(found, key, TokenCounts(), 0, store)
