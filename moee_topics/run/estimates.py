"""What a run would need, before it is begun: tokens, memory, disk and time, measured where they can be."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from moee_topics.corpus import Document, Survey
from moee_topics.encode import TokenCounts, weights_are_here
from moee_topics.errors import ModelError
from moee_topics.progress import Progress
from moee_topics.recipe import Recipe
from moee_topics.run.ledger import peak_memory_bytes
from moee_topics.run.workspace import Workspace

SAMPLED_DOCUMENTS = 512
TRIAL_DOCUMENTS = 64


@dataclass(frozen=True)
class Trial:
    """A few documents through the loaded model.

    Attributes:
        documents: how many.
        tokens_per_second: of the second half, when everything is warm.
        load_seconds: to load the weights.
        peak_memory_bytes: of the GPU where there is one, else of the process.
    """

    documents: int
    tokens_per_second: float
    load_seconds: float
    peak_memory_bytes: int


@dataclass(frozen=True)
class Estimate:
    """What a run would need.

    Attributes:
        documents: N.
        unique: how many of their texts differ; only these are encoded.
        stored: how many of those are in the store already.
        sampled: documents whose tokens were counted.
        tokens: of all unique documents, from the sample.
        documents_cut: share of documents longer than max_tokens.
        tokens_lost: share of document tokens cut away.
        weights_bytes: of the model in the precision asked for.
        store_bytes: of the finished store.
        fit_memory_bytes: vectors of all documents and UMAP's copy of them, in float32.
        device: where the model would run.
        trial: a few documents through the model, None where it was not asked for or its weights are not here.
        encode_seconds: for what is not stored, from the trial.
    """

    documents: int
    unique: int
    stored: int
    sampled: int
    tokens: int
    documents_cut: float
    tokens_lost: float
    weights_bytes: int
    store_bytes: int
    fit_memory_bytes: int
    device: str
    trial: Trial | None
    encode_seconds: float | None

    def to_text(self) -> str:
        """One fact a line, for people."""
        lines = [
            f"documents       {self.documents:,} ({self.unique:,} different, {self.stored:,} stored already)",
            f"tokens          about {self.tokens:,} (counted in {self.sampled:,} documents)",
            f"cut             {self.documents_cut:.1%} of documents lose {self.tokens_lost:.1%} of all tokens",
            f"weights         {self.weights_bytes / 1e9:.2f} GB on {self.device}",
            f"store           {self.store_bytes / 1e9:.3f} GB",
            f"memory to fit   {self.fit_memory_bytes / 1e9:.2f} GB for vectors and UMAP",
        ]
        if self.trial is None or self.encode_seconds is None:
            lines.append("time            unknown: no trial was made, or the weights are not on this machine")
        else:
            seconds = self.encode_seconds + self.trial.load_seconds
            minutes = f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
            lines += [
                f"memory at work  {self.trial.peak_memory_bytes / 1e9:.2f} GB (measured)",
                f"speed           {self.trial.tokens_per_second:,.0f} tokens per second (measured)",
                f"time to encode  about {f'{seconds:.0f} s' if seconds < 120 else minutes}",
            ]
        return "\n".join(lines)


def estimate(recipe: Recipe, store: Path, *, trial: bool = True, progress: Progress | None = None) -> Estimate:
    """Counts the corpus, counts the tokens of a sample, and times a few documents.

    Args:
        recipe: its sections corpus, encoder and fusion matter.
        store: root folder of the embedding store.
        trial: load the model and time it; never downloads weights for it.
        progress: is told how far the work is.

    Raises:
        InputError: the corpus cannot be read.
        ModelError: the model's configuration or tokenizer cannot be read.
    """
    work = Workspace(recipe, store, store, progress or Progress())
    survey, settings = work.survey, recipe.encoder
    sample = sample_documents(work.passing(), survey, SAMPLED_DOCUMENTS)
    counts = sum((work.encoder.count([document.text]) for document in sample), TokenCounts())
    card = work.encoder.card
    if settings.quantize not in card.memory:
        raise ModelError(
            f"{card.name!r} ({card.family}) cannot be quantized to {settings.quantize}. Use encoder.quantize=none."
        )
    stored = survey.unique - work.missing()
    # Weights are never downloaded for a trial: an estimate is asked for before somebody decides on gigabytes.
    speed = time_trial(work, sample) if trial and weights_are_here(settings.model) else None
    dimensions = recipe.fusion.dimensions(card.hidden_size, card.layers * card.experts)
    tokens = round(counts.tokens / len(sample) * survey.unique)
    return Estimate(
        documents=survey.documents,
        unique=survey.unique,
        stored=stored,
        sampled=len(sample),
        tokens=tokens,
        documents_cut=counts.documents_cut / len(sample),
        tokens_lost=counts.tokens_lost / max(1, counts.tokens_lost + counts.tokens),
        weights_bytes=card.memory[settings.quantize],
        store_bytes=survey.unique * work.encoder.bytes_per_document,
        # Vectors and UMAP's copy of them, in float32.
        fit_memory_bytes=2 * 4 * survey.documents * dimensions,
        device=work.encoder.device,
        trial=speed,
        encode_seconds=tokens * (1 - stored / survey.unique) / speed.tokens_per_second if speed else None,
    )


def sample_documents(documents: Iterable[Document], survey: Survey, most: int) -> list[Document]:
    """Documents evenly spaced over a corpus, all of a small one."""
    # Not the first ones: a corpus may be sorted by date, by length or by class.
    step = max(1, survey.documents // most)
    return list(islice(islice(documents, 0, None, step), most))


def time_trial(work: Workspace, sample: Sequence[Document]) -> Trial:
    """Loads the model and sends a few of the documents through it."""
    texts = [document.text for document in sample[:: max(1, len(sample) // TRIAL_DOCUMENTS)]][:TRIAL_DOCUMENTS]
    work.progress.begin("trial", f"{work.encoder.settings.model}, {len(texts)} documents")
    started = time.perf_counter()
    encoder = work.encoder()
    load_seconds = time.perf_counter() - started
    # The first half warms up: kernels are chosen and buffers allocated at the first texts.
    encoder.encode(texts[: len(texts) // 2])
    before, started = encoder.report.tokens, time.perf_counter()
    encoder.encode(texts[len(texts) // 2 :])
    seconds = time.perf_counter() - started
    work.progress.end("trial", load_seconds + seconds, "")
    speed = (encoder.report.tokens - before) / seconds
    return Trial(len(texts), speed, load_seconds, encoder.peak_gpu_bytes or peak_memory_bytes())
