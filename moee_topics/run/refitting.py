"""The stage that says how far topics are the data's: the corpus fitted again with other seeds and on samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.errors import InputError, NoTopicsError
from moee_topics.evaluate import Kind, TopicRun, stability_scores, stability_summary
from moee_topics.fuse import Fusion
from moee_topics.run.fitting import FitStage, fused
from moee_topics.run.ledger import fingerprint
from moee_topics.run.stage import Outcome, Stage
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import RunFile
from moee_topics.topics import (
    HDBSCAN_DEFAULTS,
    OUTLIERS,
    FitSettings,
    MoEEBackend,
    StabilitySettings,
    TopicModel,
    fit_topics,
)

Rows = NDArray[np.int64]

SCORES = ("stability", "stability_bootstrap")
WORDS = 10
SEEDS = 2**32


class StabilityStage(Stage):
    """Fits the corpus again as often as the recipe asks, and says what the fits have in common."""

    name = "stability"

    def is_wanted(self, work: Workspace) -> bool:
        """Whether the recipe asks for any more fits."""
        return work.recipe.stability.fits > 0

    def inputs(self, work: Workspace) -> str | None:
        """The fit, and how often it is to be repeated."""
        fitted = FitStage().inputs(work)
        return None if fitted is None else fingerprint(fitted, asdict(work.recipe.stability))

    def outputs(self, work: Workspace) -> Sequence[RunFile[Any]]:
        """What the fits have in common; the fits themselves are kept beside it."""
        return (work.files.stability,)

    def plan(self, work: Workspace) -> str:
        """How many fits."""
        if self.is_done(work):
            return "nothing it depends on has changed"
        asked = work.recipe.stability
        return f"{asked.seeds} more fits with other seeds and {asked.bootstraps} on bootstrap samples are asked for"

    def run(self, work: Workspace) -> Outcome:
        """Fits again, keeping each fit as soon as it is done.

        Raises:
            InputError: a sample of a tiny corpus has too few documents to fit.
        """
        own = work.files.model.topics.read()
        refitter = Refitter(work, own.result.texts)
        refits = refits_of(work.recipe.stability)
        work.progress.begin(self.name, f"{len(refits)} more fits of {len(own.result.texts):,} documents")
        runs: dict[Kind, list[TopicRun]] = {}
        for done, refit in enumerate(refits, start=1):
            runs.setdefault(refit.kind, []).append(refitter.result(refit))
            work.progress.advance(done, len(refits), "fits")
        summary = stability_summary(TopicRun(own.result.topics, ctfidf_words(own)), runs)
        work.files.stability.write(summary)
        _write_scores(work, {name: asdict(score) for name, score in stability_scores(summary).items()})
        values = [f"AMI {summary[kind]['ami']:.2f} {kind}" for kind in ("seeds", "bootstrap") if kind in summary]
        return Outcome(", ".join(values))

    def drop(self, work: Workspace) -> None:
        """Removes the result and its scores; the fits stay, for when they are asked for again."""
        if work.files.stability.exists:
            try:
                _write_scores(work, {})  # first the scores: a result that is left says they may be there
            except InputError:  # damaged: the fit, which lacks them then, makes them again
                work.files.scores.remove()
            work.files.stability.remove()


@dataclass(frozen=True)
class Refit:
    """One more fit of a run's corpus.

    Attributes:
        kind: ``seeds`` is all documents with another seed, ``bootstrap`` a sample of them with the run's own seed.
        number: from 1.
    """

    kind: Kind
    number: int

    def rows(self, documents: int, seed: int) -> Rows | None:
        """The rows of the documents it sees, in order; None for all.

        A bootstrap draws as many documents as there are, with replacement, and keeps each once, as ``clusterboot`` of
        the R package fpc does: doubled points would be clusters of their own. About 63 % of a corpus is left.
        """
        if self.kind == "seeds":
            return None
        return np.unique(np.random.default_rng([seed, self.number]).integers(0, documents, documents))

    def settings(self, settings: FitSettings, share: float = 1.0) -> FitSettings:
        """Those of the run with the words of c-TF-IDF alone, and another seed where that is what changes.

        A sample's ``min_cluster_size`` is that of the run times its share of the documents: it is a number of
        documents, and a topic that just reaches it in the corpus could not be found in any sample otherwise.
        """
        plain = replace(settings, representation="ctfidf")
        if self.kind == "bootstrap":
            size = settings.hdbscan.get("min_cluster_size", HDBSCAN_DEFAULTS["min_cluster_size"])
            return replace(plain, hdbscan={**settings.hdbscan, "min_cluster_size": max(2, round(share * size))})
        umap = dict(settings.umap)
        if umap.get("random_state") is not None:  # it goes before the seed
            umap["random_state"] = (umap["random_state"] + self.number) % SEEDS
        return replace(plain, seed=(settings.seed + self.number) % SEEDS, umap=umap)


def refits_of(section: StabilitySettings) -> list[Refit]:
    """The refits that a recipe asks for, in the order they are done."""
    seeds = [Refit("seeds", number) for number in range(1, section.seeds + 1)]
    return seeds + [Refit("bootstrap", number) for number in range(1, section.bootstraps + 1)]


class Refitter:
    """Fits the corpus of a run again and keeps every result in the run folder, so that none is made twice.

    Args:
        work: the run.
        texts: its N documents.
    """

    def __init__(self, work: Workspace, texts: Sequence[str]) -> None:
        self.work, self.texts = work, texts
        self.fit = FitStage().inputs(work)

    def result(self, refit: Refit) -> TopicRun:
        """The topics and words of a refit, from disk where they are there; all outliers where it finds no topic."""
        rows = refit.rows(len(self.texts), self.work.recipe.seed)
        file = self.work.files.refit(refit.kind, refit.number)
        kept = _kept(file)
        if kept.get("fit") != self.fit:
            kept = {"fit": self.fit, **self._fitted(refit, rows)}
            file.write(kept)
        return TopicRun(kept["topics"], {int(topic): words for topic, words in kept["words"].items()}, rows)

    def _fitted(self, refit: Refit, rows: Rows | None) -> dict[str, Any]:
        texts = self.texts if rows is None else [self.texts[row] for row in rows.tolist()]
        settings = refit.settings(self.work.fit_settings(), len(texts) / len(self.texts))
        fusion, vectors = self._fused
        backend = MoEEBackend(self.work.word_embedder(), fusion) if settings.needs_words else None
        # Nobody looks at the map of a refit, and making one costs another UMAP.
        nowhere = np.zeros((len(texts), 2), dtype=np.float32)
        try:
            model = fit_topics(
                texts, vectors if rows is None else vectors[rows], settings, backend=backend, positions=nowhere
            )
        except NoTopicsError:
            return {"topics": [OUTLIERS] * len(texts), "words": {}}
        return {"topics": model.result.topics.tolist(), "words": ctfidf_words(model)}

    @cached_property
    def _fused(self) -> tuple[Fusion, NDArray[np.float32]]:
        return fused(self.work)


def ctfidf_words(model: TopicModel, top: int = WORDS) -> dict[int, list[str]]:
    """The words of every topic but the outliers by c-TF-IDF alone, the heaviest first, equal ones by the alphabet."""
    vocabulary = model.model.vectorizer_model.vocabulary_
    names = np.array(sorted(vocabulary, key=vocabulary.__getitem__), dtype=object)
    weights = model.model.c_tf_idf_.tocsr()
    topics = np.unique(model.result.topics).tolist()
    found = {topic: _heaviest(weights[at], names, top) for at, topic in enumerate(topics)}
    return {topic: words for topic, words in found.items() if topic != OUTLIERS}


def _heaviest(row: Any, names: NDArray[Any], top: int) -> list[str]:
    words = names[row.indices].tolist()
    pairs = sorted(zip(row.data.tolist(), words, strict=True), key=lambda pair: (-pair[0], pair[1]))
    return [word for weight, word in pairs[:top] if weight > 0]


def _kept(file: RunFile[dict[str, Any]]) -> dict[str, Any]:
    try:
        return file.read_if_there() or {}
    except InputError:  # damaged: fitted once more
        return {}


def _write_scores(work: Workspace, scores: dict[str, Any]) -> None:
    """Puts these in the place of all scores of stability."""
    others = {name: score for name, score in work.files.scores.read().items() if name not in SCORES}
    work.files.scores.write({**others, **scores})
