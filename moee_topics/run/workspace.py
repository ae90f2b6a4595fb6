"""What the stages of a run share: the recipe, its corpus and encoder, the store, and the run folder."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from moee_topics.corpus import Corpus, Document, Survey, Surveyor, open_corpus
from moee_topics.distributed import WHOLE, RayCrew, Share
from moee_topics.embed import Embedder
from moee_topics.encode import EncoderSource, key_of_blocks
from moee_topics.errors import InputError
from moee_topics.fuse import LARGE_DIMENSIONS
from moee_topics.messages import counted
from moee_topics.progress import Progress
from moee_topics.recipe import Recipe
from moee_topics.remote import refuse_address
from moee_topics.run.idle_keys import idle_keys, idle_note
from moee_topics.run.ledger import Ledger
from moee_topics.run_folder import RunFolder
from moee_topics.store import writing_alone
from moee_topics.topics import FitSettings, MappedDocuments, UpstreamSections

WORDS = "words"  # a store of its own beside that of the documents: words are no documents of any corpus
WORDS_PER_SHARD = 2048  # as in stores of 0.1.0, whose shards of words hold what one call of BERTopic asked for

# A corpus of up to so many characters stays in memory from its first reading on, so that each document is read and
# hashed once in a run. A larger one is read again where it is needed, since model and texts may not fit together.
MOST_CHARACTERS_KEPT = 64_000_000
CHARACTERS_OF_A_DOCUMENT = 256  # what id, hash and objects of a short text take beside it


@dataclass
class Workspace:
    """One recipe at work; everything is opened when it is first needed, and once.

    Attributes:
        recipe: all of it.
        folder: of the run.
        store: root folder of the embedding store; runs share it.
        progress: is told how far the work is.
        may_encode: whether documents may go through the model.
        share: the documents that are encoded, the others are left to other machines.
        crew: encodes them in other processes; without one this process does.
        tells_idle_keys: whether the survey notes what of the recipe is without effect.

    Raises:
        InputError: a folder is an address of an object store.
    """

    recipe: Recipe
    folder: Path
    store: Path
    progress: Progress = field(default_factory=Progress)
    may_encode: bool = True
    share: Share = WHOLE
    crew: RayCrew | None = None
    tells_idle_keys: bool = True
    _in_memory: list[Document] | None = field(default=None, init=False, repr=False)
    _mapped: MappedDocuments | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        # Now, and not at the first file: before that lies the model, or hours of encoding.
        for folder in (self.folder, self.store):
            refuse_address(folder)

    @cached_property
    def run(self) -> RunFolder:
        """Every file of the run."""
        return RunFolder(self.folder)

    @cached_property
    def ledger(self) -> Ledger:
        """What was finished before."""
        return Ledger(self.run)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keeps other processes out of the run folder, and looks again at what they finished before."""
        with writing_alone(self.folder):
            self.run = RunFolder(self.folder)  # what was read of it may be old
            self.ledger = Ledger(self.run)
            yield

    @cached_property
    def corpus(self) -> Corpus:
        """The documents, read afresh at each pass."""
        return open_corpus(self.recipe.corpus)

    @cached_property
    def survey(self) -> Survey:
        """The corpus counted and fingerprinted; the first asking reads all of it, and says what is odd about it."""
        self.progress.begin("corpus", f"reading {self.corpus.source}")
        started = time.perf_counter()
        surveyor, documents, characters = Surveyor(), list[Document](), 0
        for document in surveyor.passing(self.corpus):
            characters += len(document.text) + CHARACTERS_OF_A_DOCUMENT
            if characters <= MOST_CHARACTERS_KEPT:
                documents.append(document)
        result = surveyor.result(self.corpus)
        self._in_memory = documents if characters <= MOST_CHARACTERS_KEPT else None
        outcome = f"{counted(result.documents, 'document')}, {result.unique:,} different"
        self.progress.end("corpus", time.perf_counter() - started, outcome)
        idle = idle_note(idle_keys(self.recipe, result).items()) if self.tells_idle_keys else ""
        for note in [*result.notes, *([idle] if idle else [])]:
            self.progress.note(note)
        return result

    def passing(self) -> Iterable[Document]:
        """The documents once more: those in memory, which know their hashes, else from their source."""
        _ = self.survey
        return self.corpus if self._in_memory is None else self._in_memory

    def documents(self) -> Sequence[Document]:
        """All documents, the very ones of the survey: in memory, or those of a large corpus in a file beside the run.

        Raises:
            InputError: the corpus changed since.
            ResourceError: the disk is full.
        """
        _ = self.survey
        if self._in_memory is not None:
            return list(self._in_memory)
        if self._mapped is not None:
            return self._mapped
        # Hashed again: encoding may have taken hours, and vectors of other texts in the place of these would be topics
        # that nobody can tell from true ones.
        surveyor, is_large = Surveyor(), self.recipe.large.holds(self.survey.documents)
        passing = surveyor.passing(self.corpus)
        documents = MappedDocuments.of(passing, self.folder) if is_large else list(passing)
        if not len(documents) or surveyor.result(self.corpus).digest != self.survey.digest:
            raise InputError(f"{self.corpus.source} changed while it was worked on. Run the same command again.")
        self._mapped = documents if isinstance(documents, MappedDocuments) else None
        return documents

    @cached_property
    def encoder(self) -> EncoderSource:
        """The encoder, not loaded yet; routers are needed unless hidden states alone are used."""
        return EncoderSource(self.recipe.encoder, require_routers=self.recipe.fusion.needs_routers)

    @property
    def key(self) -> Mapping[str, Any] | None:
        """What the vectors depend on, where it is known without loading the encoder."""
        if self.encoder.is_loaded:
            return self.encoder.key()
        # A store names what it was encoded with, so a run below the wall needs neither the model nor its files.
        return self.encoder.stored_key(self.store)

    @property
    def key_of_blocks(self) -> Mapping[str, Any] | None:
        """What the documents' own blocks depend on: a view that is stored beside them changes no vector."""
        return None if self.key is None else key_of_blocks(self.key)

    @cached_property
    def embedder(self) -> Embedder:
        """Gives the embeddings of the documents."""
        return Embedder(
            self.encoder, self.store, key=self.key, progress=self.progress, part=self.share.part, crew=self.crew
        )

    @cached_property
    def hashes(self) -> dict[bytes, None]:
        """The content hashes of the share, each once and in order."""
        return dict.fromkeys(filter(self.share.holds, self.survey.hash_list()))

    def missing(self) -> int:
        """How many different documents the store lacks: all of them, where nothing was ever encoded like this."""
        return len(self.hashes if self.key is None else self.embedder.missing(self.hashes))

    def note_lost(self, lost: int) -> None:
        """Says how many documents that the run had encoded are not stored any more."""
        self.progress.note(
            f"Encoded again, since the store {self.store} no longer has them: {counted(lost, 'document')}. "
            "If their embeddings are elsewhere, stop this and say where: --store FOLDER."
        )

    def word_embedder(self) -> Embedder:
        """Gives the embeddings of words and keeps them too, so that fitting again needs no model."""
        return Embedder(self.encoder, self.store / WORDS, key=self.embedder.key, documents_per_shard=WORDS_PER_SHARD)

    @property
    def reduced_dimensions(self) -> int | None:
        """To how many numbers the vectors are reduced; None where they stay as the fusion makes them."""
        asked = self.recipe.reduce.dimensions
        if asked == "auto":
            return LARGE_DIMENSIONS if self.recipe.large.holds(self.survey.documents) else None
        return asked

    def fit_settings(self) -> FitSettings:
        """What the recipe says of topics and of upstream's classes."""
        sections = {name: getattr(self.recipe, name) for name in (*UpstreamSections.model_fields, "seed")}
        return FitSettings(**vars(self.recipe.topics), **sections, cluster=self.recipe.cluster, large=self.recipe.large)
