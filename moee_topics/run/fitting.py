"""The stages below the wall: stored embeddings to topics, their words, scores and experts. No model but for words."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.corpus import Corpus, Document, Surveyor
from moee_topics.embed import Embedder
from moee_topics.encode import EncoderSource, get_prompt
from moee_topics.errors import InputError, RecipeError
from moee_topics.evaluate import find_experts, gather_routing_weights
from moee_topics.fuse import Fusion, fuse_all
from moee_topics.progress import Progress, resumable
from moee_topics.recipe import Recipe
from moee_topics.run.encoding import Encoded, corpus_of, encoder_of
from moee_topics.run.scores import score_topics
from moee_topics.store import atomic_folder, write_json
from moee_topics.topics import (
    OUTLIERS,
    FitSettings,
    TopicModel,
    UpstreamSections,
    check_upstream,
    fit_topics,
    hierarchical_topics,
    topics_over_time,
    topics_per_class,
)

MODEL = "model"
WORDS = "words"
FUSION_FILE = "fusion.safetensors"
ENCODER_FILE = "encoder.json"


@dataclass
class Steps:
    """Runs the steps of a stage, telling and timing each."""

    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, what: str) -> Iterator[None]:
        """Tells that a step begins, and how long it took."""
        self.progress.begin(name, what)
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
        self.progress.end(name, self.seconds[name], "")


@dataclass(frozen=True)
class Fitted:
    """A fitted and saved topic model, and how long each step of it took."""

    model: TopicModel
    dimensions: int
    seconds: Mapping[str, float]


def topic_settings(recipe: Recipe) -> FitSettings:
    """What the recipe says of topics, as the settings of a fit."""
    sections = {name: getattr(recipe, name) for name in (*UpstreamSections.model_fields, "seed")}
    return FitSettings(**vars(recipe.topics), **sections)


def check(recipe: Recipe) -> None:
    """Checks what the schema cannot: the prompt, and the arguments of upstream classes against their signatures.

    Raises:
        RecipeError: something upstream would refuse.
    """
    check_settings(recipe)
    try:
        check_upstream(topic_settings(recipe))
    except InputError as error:
        raise RecipeError(str(error)) from error


def check_settings(recipe: Recipe) -> None:
    """The part of :func:`check` that loads nothing heavy.

    Raises:
        RecipeError: a prompt that does not exist.
    """
    try:
        get_prompt(recipe.encoder.prompt)
    except InputError as error:
        raise RecipeError(f"encoder.prompt: {error}") from error


def fit(
    recipe: Recipe,
    encoded: Encoded,
    folder: Path,
    *,
    corpus: Corpus | None = None,
    encoder: EncoderSource | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Fits the topics of an encoded corpus and writes them into a run folder.

    Args:
        recipe: everything from the section fusion on matters.
        encoded: the corpus in the store.
        folder: of the run; made where it is missing.
        corpus: where it is open already.
        encoder: where it is loaded already; its weights are needed only to embed words that are not stored.
        progress: hears how far it is.

    Raises:
        InputError: the corpus changed since it was encoded, or no topics can be found.
        RecipeError: an argument that upstream does not take.
        Interrupted: stopped by the user; run it again.
    """
    steps = Steps(progress or Progress())
    corpus = corpus or corpus_of(recipe)
    with resumable("The embeddings are kept: run the same command again to fit the topics."):
        documents = _documents(corpus, encoded)
        with steps.step("fuse", f"{recipe.fusion.method}, alpha {recipe.fusion.alpha:g}"):
            fusion, X = fused(encoded, recipe.fusion)
        backend = word_backend(encoded, fusion, encoder or encoder_of(recipe))
        with steps.step("topics", f"UMAP, HDBSCAN and words of {len(documents):,} documents"):
            texts = [document.text for document in documents]
            model = fit_topics(texts, X, topic_settings(recipe), backend=backend, **_columns(documents))
        _save(model, folder, recipe, encoded, fusion)
        _derive(model, folder, recipe, encoded, steps)
    return Fitted(model, X.shape[1], steps.seconds)


def _documents(corpus: Corpus, encoded: Encoded) -> list[Document]:
    surveyor = Surveyor()
    documents = list(surveyor.passing(corpus))
    if not documents or surveyor.result(corpus).digest != encoded.survey.digest:
        raise InputError(f"{corpus.source} changed while it was worked on. Run the same command again.")
    return documents


def _columns(documents: list[Document]) -> dict[str, Any]:
    labels = [document.label or "" for document in documents]
    timestamps = [document.timestamp or "" for document in documents]
    return {
        "ids": [document.id for document in documents],
        "labels": labels if any(labels) else None,
        "timestamps": timestamps if any(timestamps) else None,
    }


def fused(encoded: Encoded, fusion: Fusion) -> tuple[Fusion, NDArray[np.float32]]:
    """The fusion fitted on a corpus, and the vectors (N, d) of its documents, read from the store block by block."""
    hashes = encoded.survey.hash_list()
    embedder = encoded.embedder()
    fitted = fusion.fit(embedder.stored_blocks(hashes))
    return fitted, fuse_all(embedder.stored_blocks(hashes), fitted, encoded.survey.documents)


def word_backend(encoded: Encoded, fusion: Fusion, encoder: EncoderSource) -> Any:
    """What embeds words; it keeps their embeddings too, so that fitting again needs no model."""
    from moee_topics.topics import MoEEBackend

    # A shard holds all words of one call, up to 2,048: as stores of version 0.1.0 have them.
    words = Embedder(encoder, encoded.store / WORDS, key=encoded.key, documents_per_shard=2048)
    return MoEEBackend(words, fusion)


def _save(model: TopicModel, folder: Path, recipe: Recipe, encoded: Encoded, fusion: Fusion) -> None:
    model.result.save(folder)
    with atomic_folder(folder / MODEL) as target:
        model.save(target, with_result=False)
        fusion.save(target / FUSION_FILE)
        write_json(
            target / ENCODER_FILE,
            {"options": asdict(recipe.encoder), "key": dict(sorted(encoded.key.items()))},
        )


def _derive(model: TopicModel, folder: Path, recipe: Recipe, encoded: Encoded, steps: Steps) -> None:
    """What follows from the topics: scores, experts, hierarchy, trends and classes."""
    for name in ("experts.json", "hierarchy.json", "over_time.json", "per_class.json"):
        (folder / name).unlink(missing_ok=True)
    with steps.step("scores", ", ".join(recipe.scores)):
        scores = score_topics(model, recipe.scores)
        write_json(folder / "scores.json", {name: asdict(score) for name, score in scores.items()})
    if recipe.topics.experts and encoded.key["layers"] and _has_topics(model):
        with steps.step("experts", "which experts fire for which topic"):
            _write_experts(model, folder, recipe, encoded)
    with steps.step("relations", "hierarchy, trends and classes"):
        _write_frames(model, folder, recipe)


def _has_topics(model: TopicModel) -> bool:
    return bool((model.result.topics != OUTLIERS).any())


def _write_experts(model: TopicModel, folder: Path, recipe: Recipe, encoded: Encoded) -> None:
    blocks = encoded.embedder().stored_blocks(encoded.survey.hash_list())
    weights = gather_routing_weights(blocks, encoded.survey.documents)
    rng = np.random.default_rng(recipe.seed)
    find_experts(weights, model.result.topics, rng=rng).save(folder / "experts.json")


def _write_frames(model: TopicModel, folder: Path, recipe: Recipe) -> None:
    topics, result = recipe.topics, model.result
    if topics.hierarchy and _has_topics(model):
        _write_frame(folder / "hierarchy.json", hierarchical_topics(model))
    if topics.over_time and result.timestamps is not None:
        _write_frame(folder / "over_time.json", topics_over_time(model, bins=topics.time_bins))
    if topics.per_class and result.labels is not None:
        _write_frame(folder / "per_class.json", topics_per_class(model))


def _write_frame(path: Path, frame: Any) -> None:
    if len(frame):
        write_json(path, json.loads(frame.to_json(orient="records", date_format="iso")))
