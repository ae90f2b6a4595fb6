"""The stage above the wall: every document that the store lacks goes through the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from moee_topics.corpus import Document, Survey
from moee_topics.distributed import WHOLE, RayCrew, RaySettings, Share
from moee_topics.embed import DOCUMENTS_PER_SHARD
from moee_topics.encode import TokenCounts, arithmetic_of_key, entry_keys
from moee_topics.errors import InputError, StoreError
from moee_topics.messages import counted
from moee_topics.progress import Progress, resumable
from moee_topics.recipe import Recipe
from moee_topics.run.ledger import fingerprint
from moee_topics.run.stage import Outcome, Stage
from moee_topics.run.workspace import Workspace
from moee_topics.store import fewest_differences, key_digest, stored_keys


@dataclass(frozen=True)
class Encoded:
    """A corpus, or a share of one, that is in the store as a whole.

    Attributes:
        survey: the corpus.
        unique: its different documents, of the share where a share was encoded.
        counts: their tokens.
        encoded: documents that went through the model this time.
        folder: where the shards of its first view are.
    """

    survey: Survey
    unique: int
    counts: TokenCounts
    encoded: int
    folder: Path


class EmbedStage(Stage):
    """Fills the store."""

    name = "embed"

    def inputs(self, work: Workspace) -> str | None:
        """The corpus, and what its vectors depend on."""
        return None if work.key is None else fingerprint(work.survey.digest, work.key)

    def is_done(self, work: Workspace) -> bool:
        """The store is shared by runs and may have lost something since; so it is asked itself."""
        return super().is_done(work) and not work.missing()

    def reason(self, work: Workspace, *, done: bool) -> str:
        """How many documents are missing; a new run of stored documents has their tokens to count."""
        missing, stored = work.missing(), f"all {len(work.hashes):,} documents are stored"
        if missing:
            return f"{missing:,} of {len(work.hashes):,} documents are not stored"
        return stored if done else f"{stored}, only their tokens are counted"

    def run(self, work: Workspace) -> Outcome:
        """Encodes what is missing, where that is allowed.

        Raises:
            StoreError: it is not allowed, and something is missing.
        """
        missing, encoder = work.missing(), work.recipe.encoder
        if missing and not work.may_encode:
            what = f"{missing:,} of {work.survey.unique:,} documents are not in the store {work.store}. Encode the rest"
            if work.key is None:
                key = f"model {encoder.model!r}, prompt {', '.join(map(repr, encoder.prompts or [encoder.prompt]))}, …"
                what = f"The store {work.store} holds nothing encoded like this ({nearest_key(work) or key}). Encode"
            raise StoreError(f"{what} first: moee-topics embed RECIPE --output {work.store}")
        if missing and was_encoded(work):
            work.note_lost(missing)
        encoded = encode_corpus(work)
        kind, _ = arithmetic_of_key(work.embedder.key)
        few_bits = f" in {kind}" if kind != "none" and encoded.encoded else ""
        were_stored = encoded.survey.unique - encoded.encoded
        line = f"{counted(encoded.encoded, 'document')} encoded{few_bits}, {were_stored:,} were stored"
        # Known by who has loaded the model: of a corpus that was stored before, its first run says it.
        arithmetic = {"arithmetic": work.encoder.arithmetic} if work.encoder.arithmetic else {}
        return Outcome(line, {**asdict(encoded.counts), "encoded": encoded.encoded, **arithmetic})


def embed(
    recipe: Recipe,
    store: Path,
    *,
    share: Share = WHOLE,
    ray: RaySettings | None = None,
    progress: Progress | None = None,
) -> Encoded:
    """Encodes the documents of a recipe's corpus that the store lacks; weights are loaded only if there are any.

    Killed at any moment and started again, it goes on where it was and ends with the same bytes.

    Args:
        recipe: its sections corpus and encoder matter.
        store: root folder of the embedding store.
        share: only these documents; several shares may be encoded into one store at once.
        ray: the workers of a Ray cluster that encode, instead of this process.
        progress: is told how far the work is.

    Raises:
        InputError: the corpus cannot be read, or changed while it was read; or a share is asked of a Ray cluster.
        ModelError: the model cannot be loaded.
        StoreError: another process writes to the store, or a share meets other settings there.
        ResourceError: memory or disk do not suffice.
        Interrupted: stopped by the user; run it again to go on.
    """
    if ray is not None and share != WHOLE:
        raise InputError(f"The share {share} and --ray exclude each other: Ray divides the corpus by itself.")
    kept = "Every finished shard is kept: run the same command again to go on where it stopped."
    work = Workspace(recipe, store, store, progress or Progress(), share=share)
    with resumable(kept), ExitStack() as crews:
        if ray is not None:
            work.crew = crews.enter_context(RayCrew(work.encoder, ray, work.progress))
        encoded = encode_corpus(work)
        # A fit would see it, and after this command there may be none.
        if lost := len(work.embedder.missing(work.hashes)):
            raise InputError(
                f"{work.corpus.source} changed while it was read: {lost:,} of its documents were not there any more "
                "when they were to be encoded. What is stored is right. Run the same command again."
            )
        return encoded


def was_encoded(work: Workspace) -> bool:
    """Whether the last run in this folder had these very documents encoded like this."""
    try:
        hashes = work.run.section("hashes")
    except InputError:  # the manifest is damaged, which the run writes anew
        return False
    return hashes.get("corpus") == work.survey.digest and hashes.get("store") == key_digest(work.embedder.key)


def nearest_key(work: Workspace) -> str:
    """How the settings of a recipe differ from the nearest that something is stored with, empty where nothing is."""
    expected = next(iter(entry_keys(work.encoder.expected).values()))  # of several prompts the first
    keys = ({name: key.get(name) for name in expected} for key in stored_keys(work.store))
    return fewest_differences(keys, expected)


def encode_corpus(work: Workspace) -> Encoded:
    """Encodes what is missing of a corpus or its share, and counts the tokens of all of that, in one reading."""
    survey = work.survey
    work.progress.begin("embed", f"{work.recipe.encoder.model}, {counted(len(work.hashes), 'document')}")
    missing = work.embedder.missing(work.hashes)
    counting = work.crew or work.encoder
    stored_counts, before = TokenCounts(), counting.counts

    def passing() -> Iterator[Document]:
        # Of a corpus that does not stay in memory this is a second reading, the price of knowing beforehand what is
        # missing. Hashes come from the first one, by row; only what is encoded is then hashed again, because the store
        # must not get a text under another's name. That the corpus is still the same, the fit looks at.
        nonlocal stored_counts
        stored: list[str] = []
        for document, content, repeated in zip(work.passing(), survey.hash_list(), survey.repeated, strict=False):
            if content in missing:
                yield document
            elif not repeated and content in work.hashes:
                stored.append(document.text)
                if len(stored) >= DOCUMENTS_PER_SHARD:
                    stored_counts += work.encoder.count(stored)
                    stored.clear()
        stored_counts += work.encoder.count(stored)

    encoded = work.embedder.ensure(passing(), len(missing))
    counts = stored_counts + counting.counts - before
    return Encoded(
        survey, len(work.hashes), counts, encoded, work.store / key_digest(next(iter(work.embedder.keys.values())))
    )
