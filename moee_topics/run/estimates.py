"""What a run would need, before it is begun: tokens, memory, disk and time, measured where they can be."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from moee_topics.corpus import Document, Survey
from moee_topics.distributed import Fleet
from moee_topics.encode import TokenCounts, arithmetic_of_key, weights_are_here
from moee_topics.errors import InputError, ModelError
from moee_topics.messages import counted
from moee_topics.progress import Progress
from moee_topics.recipe import Recipe
from moee_topics.run.peak_memory import peak_memory_bytes
from moee_topics.run.recipe_labels import LabelCosts, label_costs
from moee_topics.run.workspace import Workspace

SAMPLED_DOCUMENTS = 512
TRIAL_DOCUMENTS = 64
FIT_BYTES_OF_A_DOCUMENT = 1900  # of a large corpus: 1.4 GB at 100,000 and 3.1 at a million (docs/large.md)
TRIAL_FOR_MACHINES = 200  # one second too many in a small trial is hours of a hundred machines


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
class MachinesEstimate:
    """What many machines would need, each with a share.

    Attributes:
        machines: how many.
        hours: until the last is done.
        machine_hours: of all together.
        cost: of those, in the currency of the price; None without one.
        assumptions: under which this holds, a sentence each.
    """

    machines: int
    hours: float
    machine_hours: float
    cost: float | None
    assumptions: tuple[str, ...]

    def lines(self) -> list[str]:
        """One fact a line, for people."""
        cost = "" if self.cost is None else f", {self.cost:,.2f} in all"
        hours = f"about {self.hours:.2f} h on {self.machines:,}, {self.machine_hours:.2f} machine hours{cost}"
        return [f"machines        {hours}", *(f"  assumed       {sentence}" for sentence in self.assumptions)]


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
        view_bytes: of those, what each view takes, by its name.
        fit_memory_bytes: vectors that go through UMAP and its copy of them, in float32; of a large corpus those of its
            sample, and what the fit holds of each document.
        device: where the model would run.
        trial: a few documents through the model, None where it was not asked for or its weights are not here.
        encode_seconds: for what is not stored, from the trial.
        machines: the same on several machines, where that was asked for and a trial was made.
        labels: what a language model would read and write for one topic, where the recipe asks one.
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
    view_bytes: dict[str, int]
    fit_memory_bytes: int
    device: str
    trial: Trial | None = None
    encode_seconds: float | None = None
    machines: MachinesEstimate | None = None
    labels: LabelCosts | None = None

    def to_text(self) -> str:
        """One fact a line, for people."""
        lines = [
            f"documents       {self.documents:,} ({self.unique:,} different, {self.stored:,} stored already)",
            f"tokens          about {self.tokens:,} (counted in {counted(self.sampled, 'document')})",
            f"cut             {self.documents_cut:.1%} of documents lose {self.tokens_lost:.1%} of all tokens",
            f"weights         {self.weights_bytes / 1e9:.2f} GB on {self.device}",
            f"store           {self.store_bytes / 1e9:.3f} GB",
            *(f"  view          {size / 1e9:.3f} GB {name}" for name, size in self.view_bytes.items()),
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
        if self.machines is not None:
            lines += self.machines.lines()
        if self.labels is not None:
            lines.append(f"labels          {self.labels}")
        return "\n".join(lines)


def estimate(
    recipe: Recipe,
    store: Path,
    *,
    trial: bool = True,
    machines: int | None = None,
    price_per_hour: float | None = None,
    progress: Progress | None = None,
) -> Estimate:
    """Counts the corpus, counts the tokens of a sample, and times a few documents.

    Args:
        recipe: its sections corpus, encoder and fusion matter.
        store: root folder of the embedding store.
        trial: load the model and time it; never downloads weights for it.
        machines: that would encode a share each; the trial is then of 200 documents.
        price_per_hour: of one machine.
        progress: is told how far the work is.

    Raises:
        InputError: the corpus cannot be read, there are no machines, or a price without machines.
        ModelError: the model's configuration or tokenizer cannot be read.
    """
    _check_machines(machines, price_per_hour)
    work = Workspace(recipe, store, store, progress or Progress())
    started = time.perf_counter()
    survey = work.survey
    read_seconds = time.perf_counter() - started
    sample = sample_documents(work.passing(), survey, SAMPLED_DOCUMENTS)
    needs = _needs(work, sample)
    # Weights are never downloaded for a trial: an estimate is asked for before somebody decides on gigabytes.
    if not trial or not weights_are_here(recipe.encoder.model):
        return needs
    speed = time_trial(work, sample, TRIAL_DOCUMENTS if machines is None else TRIAL_FOR_MACHINES)
    missing_tokens = needs.tokens * (1 - needs.stored / needs.unique)
    needs = replace(needs, trial=speed, encode_seconds=missing_tokens / speed.tokens_per_second)
    if machines is None:
        return needs
    fleet = Fleet(machines, speed.tokens_per_second, speed.load_seconds, read_seconds, price_per_hour)
    device = f"{recipe.encoder.model} on {needs.device}"
    return replace(needs, machines=on_machines(fleet, speed, needs.unique - needs.stored, missing_tokens, device))


def _check_machines(machines: int | None, price_per_hour: float | None) -> None:
    if machines is None and price_per_hour is not None:
        raise InputError("A price is that of a machine. Say of how many, such as --machines 16.")
    if machines is not None and (machines < 1 or not 0 <= (price_per_hour or 0) < math.inf):
        raise InputError(
            f"{machines} machines at {price_per_hour} an hour cannot be. Expected 1 or more, at 0 or more."
        )


def _needs(work: Workspace, sample: Sequence[Document]) -> Estimate:
    """What can be said before anything is loaded."""
    encoder, survey, fusion = work.encoder, work.survey, work.recipe.fusion
    counts = sum((encoder.count([document.text]) for document in sample), TokenCounts())
    card, (quantize, _) = encoder.card, arithmetic_of_key(encoder.expected)
    if quantize not in card.memory:
        raise ModelError(f"{card.name!r} ({card.family}) cannot be quantized to {quantize}. Use encoder.quantize=none.")
    width = fusion.dimensions(encoder.states_size, card.layers * card.experts)
    return Estimate(
        documents=survey.documents,
        unique=survey.unique,
        stored=survey.unique - work.missing(),
        sampled=len(sample),
        tokens=round(counts.tokens / len(sample) * survey.unique),
        documents_cut=counts.documents_cut / len(sample),
        tokens_lost=counts.tokens_lost / max(1, counts.tokens_lost + counts.tokens),
        weights_bytes=card.memory[quantize],
        store_bytes=survey.unique * encoder.bytes_per_document,
        view_bytes={name: survey.unique * size for name, size in encoder.bytes_per_view.items()},
        fit_memory_bytes=_fit_memory_bytes(work, min(width, work.reduced_dimensions or width)),
        device=encoder.device,
        labels=label_costs(
            work.recipe.labels, encoder.settings, [one.text for one in sample[: work.recipe.labels.documents]]
        ),
    )


def _fit_memory_bytes(work: Workspace, dimensions: int) -> int:
    documents, large = work.survey.documents, work.recipe.large
    if large.samples(documents):
        return 2 * 4 * large.sample * dimensions + FIT_BYTES_OF_A_DOCUMENT * documents
    return 2 * 4 * documents * dimensions


def on_machines(fleet: Fleet, trial: Trial, documents: int, tokens: float, device: str) -> MachinesEstimate:
    """What a fleet takes for documents that are not stored, and on what that rests."""
    share = fleet.largest_share(documents)
    assumptions = (
        f"every machine is as this one: {device}, {fleet.tokens_per_second:,.0f} tokens per second, measured on "
        f"{trial.documents // 2} documents after {trial.documents // 2} to warm up",
        f"{documents:,} documents of {tokens / max(1, documents):,.0f} tokens are to be encoded, and those of a share "
        f"are as long as others; the largest share has about {share:,}",
        f"each machine loads the model in {fleet.load_seconds:.1f} s and reads the whole corpus in "
        f"{fleet.read_seconds:.1f} s, as this one did",
        "all begin at once, none waits for a disk, a network or a queue, and a machine costs until its share is done",
    )
    hours, cost = fleet.seconds(documents, tokens) / 3600, fleet.cost(tokens)
    return MachinesEstimate(fleet.machines, hours, fleet.machine_hours(tokens), cost, assumptions)


def sample_documents(documents: Iterable[Document], survey: Survey, most: int) -> list[Document]:
    """Documents evenly spaced over a corpus, all of a small one."""
    # Not the first ones: a corpus may be sorted by date, by length or by class.
    step = max(1, survey.documents // most)
    return list(islice(islice(documents, 0, None, step), most))


def time_trial(work: Workspace, sample: Sequence[Document], most: int = TRIAL_DOCUMENTS) -> Trial:
    """Loads the model and sends a few of the documents through it."""
    count = min(most, len(sample))
    texts = [sample[place * len(sample) // count].text for place in range(count)]  # as evenly spread as the sample
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
