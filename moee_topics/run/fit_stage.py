"""The stage below the wall: stored embeddings to topics, their words, scores, experts and relations."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics import __version__
from moee_topics.corpus import Document
from moee_topics.encode import EncoderSource
from moee_topics.errors import InputError
from moee_topics.evaluate import Score, find_experts, first_of_each, gather_routing_weights
from moee_topics.fuse import Fusion, fuse_all
from moee_topics.messages import counted
from moee_topics.progress import Progress
from moee_topics.run.ledger import fingerprint
from moee_topics.run.reduce_stage import ReduceStage
from moee_topics.run.scores import evidence_of, score_topics
from moee_topics.run.stage import Outcome, Stage
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import EncoderRecord, RunFile, RunFolder
from moee_topics.topics import (
    OUTLIERS,
    MoEEBackend,
    TopicModel,
    fit_topics,
    hierarchical_topics,
    texts_of,
    too_few_texts,
    topics_over_time,
    topics_per_class,
    why_no_words,
)

BELOW_THE_WALL = (
    "fusion",
    "reduce",
    "large",
    "umap",
    "cluster",
    "hdbscan",
    "vectorizer",
    "ctfidf",
    "bertopic",
    "topics",
    "scores",
    "seed",
)
"""The sections of a recipe that change topics and not embeddings."""

CHAPTER_FAILURES = (
    # scipy at a distance that is below zero by a rounding, numpy and scikit-learn at an empty array, and pandas at
    # times that lie further apart than it counts: 1700 and 2260 with nanoseconds among them.
    ValueError,
    RuntimeError,  # a RecursionError: a tree of topics deeper than Python's stack
    # Not met, but written so in hierarchical_topics of BERTopic 0.17.4: words_per_topic[0] of a merged topic without
    # documents, and a loop over what get_topic gives for a topic without words, which is False.
    LookupError,
    TypeError,
    InputError,  # our own refusals
)
"""What a chapter may fail by after a fit of hours, which is worth more: nothing that says the machine has a fault, such
as a full disk or memory that is out."""


class FitStage(Stage):
    """Finds the topics and everything that follows from them."""

    name = "fit"
    outputs = (RunFolder.result, RunFolder.model, RunFolder.scores)
    optional_outputs = (RunFolder.experts, RunFolder.hierarchy, RunFolder.over_time, RunFolder.per_class)

    def inputs(self, work: Workspace) -> str | None:
        """The corpus, what its vectors depend on, and every section below the wall."""
        if work.key_of_blocks is None:
            return None
        below = {name: value for name, value in work.recipe.to_json().items() if name in BELOW_THE_WALL}
        # Another version may fit otherwise: topics of two versions in one folder nobody could tell apart.
        return fingerprint(work.survey.digest, work.key_of_blocks, below, __version__)

    def run(self, work: Workspace) -> Outcome:
        """Fits, saves, and works out what follows from the topics.

        Raises:
            InputError: the corpus changed since it was encoded, or no topics can be found.
        """
        steps = Steps(work.progress)
        for file in (*self.optional_outputs, RunFolder.refits, RunFolder.label_check):
            file.remove(work.run)  # of another fit, which this one may not write again
        model, fusion = self.topics_of(work, steps)
        RunFolder.result.write(work.run, model.result)
        work.run.write_model(model, fusion, self.encoder_of(work))
        write_chapters(work, model, steps)
        outliers, dimensions = int((model.result.topics == OUTLIERS).sum()), model.voters.vectors.shape[1]
        line = f"{counted(model.result.topic_count, 'topic')}, {counted(outliers, 'document')} in none"
        if model.result.assigned is not None:
            line += f"; {model.result.sampled:,} were clustered, the others assigned"
        return Outcome(line, {"steps": steps.seconds, "dimensions": dimensions, "left_out": steps.left_out})

    def topics_of(self, work: Workspace, steps: Steps) -> tuple[TopicModel, Fusion]:
        """The topic model of the documents, and the fusion that made their vectors."""
        documents = work.documents()
        with steps.step("fuse", work.recipe.fusion.label), told_by_cause(work):
            fusion, vectors = fused(work, texts_of(documents))
        with steps.step("topics", f"clusters and words of {counted(len(documents), 'document')}"):
            return fit_documents(work, documents, fusion, vectors), fusion

    def encoder_of(self, work: Workspace) -> EncoderRecord:
        """The encoder that new documents need."""
        # The settings as they were asked for, and the key: a model of the same name may be another one tomorrow.
        return {"options": asdict(work.recipe.encoder), "key": dict(sorted(work.embedder.key.items()))}


def check_fusion(work: Workspace) -> None:
    """Looks before hours of encoding whether the fusion will find the layers and words that it reads.

    Raises:
        InputError: it has not one weight for each layer, or weighs or aligns words and there are none.
    """
    fusion = work.recipe.fusion
    check_layers(fusion, work.encoder)
    with told_by_cause(work) if fusion.lexical else nullcontext():
        fusion.check_texts(document.text for document in work.passing())


def check_layers(fusion: Fusion, encoder: EncoderSource) -> None:
    """Refuses a fusion with weights of layers where the model has more or fewer; it is not loaded for that.

    Raises:
        InputError: it has not one weight for each layer.
    """
    # A model without routers has an error of its own, and hidden states alone are not weighed.
    if fusion.needs_routers and not isinstance(fusion.routing.layers, str) and (layers := encoder.card.layers):
        fusion.routing.check_layers(layers)


@contextmanager
def told_by_cause(work: Workspace) -> Iterator[None]:
    """Tells why a fusion cannot be fitted: where no two documents share a word, copies and emoji say more than that."""
    try:
        yield
    except InputError as error:
        texts = texts_of(work.documents())
        if cause := too_few_texts(texts):
            raise InputError(cause) from error
        if cause := why_no_words(texts, work.fit_settings()):
            raise InputError(f"{cause} fusion.lexical=0") from error
        raise


def fused(work: Workspace, texts: Sequence[str]) -> tuple[Fusion, NDArray[np.float32]]:
    """The recipe's fusion fitted on the corpus, and the vectors (N, d) of its documents, whose texts these are."""
    if ReduceStage().is_wanted(work):
        return RunFolder.reduction.read(work.run), RunFolder.vectors.read(work.run)
    # The store is read twice, block by block: what standardizes must have seen all before it changes the first, and
    # hidden states and scores of a million documents do not fit in memory beside their vectors.
    hashes = work.survey.hash_list()
    fusion = work.recipe.fusion.fit(work.embedder.stored_blocks(hashes), texts, work.word_embedder())
    return fusion, fuse_all(work.embedder.stored_blocks(hashes), fusion, len(hashes), texts)


def fit_documents(
    work: Workspace, documents: Sequence[Document], fusion: Fusion, vectors: NDArray[np.float32]
) -> TopicModel:
    """Topics of documents by their vectors (N, d), as the recipe asks."""
    return fit_topics(documents, vectors, work.fit_settings(), backend=MoEEBackend(work.word_embedder(), fusion))


class Steps:
    """Tells and times the steps of the fit."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = {}
        self.left_out: dict[str, str] = {}

    @contextmanager
    def step(self, name: str, what: str) -> Iterator[None]:
        """One step, from begin to end."""
        self.progress.begin(name, what)
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
        self.progress.end(name, self.seconds[name], "")

    def chapter(self, name: str, write: Callable[[], None]) -> None:
        """Writes one chapter; one that fails is left out and named: a finished fit is worth more than any."""
        try:
            write()
        except CHAPTER_FAILURES as error:
            self.left_out[name] = f"{type(error).__name__}: {error}"
            self.progress.note(f"The chapter {name!r} is left out: {self.left_out[name]}")


def write_chapters(work: Workspace, model: TopicModel, steps: Steps) -> None:
    """Writes all that follows from the topics; a chapter without cause is not made."""
    settings, result, run = work.recipe.topics, model.result, work.run
    has_topics = bool((result.topics != OUTLIERS).any())
    with steps.step("scores", ", ".join(work.recipe.scores)):
        scores, evidence = dict[str, Score](), evidence_of(model)
        for name in work.recipe.scores:  # one by one: a score that fails takes no other with it
            steps.chapter(f"score {name}", partial(lambda name: scores.update(score_topics(evidence, [name])), name))
        RunFolder.scores.write(run, {name: asdict(score) for name, score in scores.items()})  # type: ignore[misc]

    def write_experts() -> None:
        hashes = work.survey.hash_list()
        rows, rng = first_of_each(hashes), np.random.default_rng(work.recipe.seed)
        if work.recipe.large.holds(len(rows)):
            # 2 kB of OLMoE's weights for each document are gigabytes, and say no more of a topic than a sample does.
            rows = np.sort(rng.choice(rows, work.recipe.large.sample, replace=False)).tolist()
        weights = gather_routing_weights(work.embedder.stored_blocks([hashes[row] for row in rows]), len(rows))
        RunFolder.experts.write(run, find_experts(weights, result.topics[rows], rows=rows, rng=rng))

    def write(file: RunFile[Any, Any], frame: Any) -> None:
        if len(frame):  # pandas' own writer, which knows its times and missing values
            file.write(run, json.loads(frame.to_json(orient="records", date_format="iso")))

    if settings.experts and work.embedder.key["layers"] and work.recipe.encoder.routing != "none" and has_topics:
        with steps.step("experts", "which experts fire for which topic"):
            steps.chapter("experts", write_experts)
    with steps.step("relations", "hierarchy, trends and classes"):
        if settings.hierarchy and has_topics:
            steps.chapter("hierarchy", lambda: write(RunFolder.hierarchy, hierarchical_topics(model)))
        if settings.over_time and result.timestamps is not None:
            bins = settings.time_bins
            steps.chapter("over_time", lambda: write(RunFolder.over_time, topics_over_time(model, bins=bins)))
        if settings.per_class and result.labels is not None:
            steps.chapter("per_class", lambda: write(RunFolder.per_class, topics_per_class(model)))
