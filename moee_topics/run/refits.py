"""How far the topics of a run are the data's: its corpus fitted again with other seeds and on bootstrap samples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.encode import EncoderSource
from moee_topics.errors import NoTopicsError
from moee_topics.evaluate import Kind, TopicRun, stability_scores, stability_summary
from moee_topics.fuse import Fusion
from moee_topics.progress import Progress
from moee_topics.recipe import Recipe
from moee_topics.run.encoding import Encoded, encoder_of
from moee_topics.run.fitting import MODEL, fused, topic_settings, word_backend
from moee_topics.run.manifest import MEND
from moee_topics.store import read_json, write_json
from moee_topics.topics import HDBSCAN_DEFAULTS, OUTLIERS, FitSettings, StabilitySettings, TopicModel, fit_topics

Rows = NDArray[np.int64]

STABILITY_FILE = "stability.json"
REFITS = "stability"
SCORES_FILE = "scores.json"
SCORES = ("stability", "stability_bootstrap")
WORDS = 10
SEEDS = 2**32


@dataclass(frozen=True)
class Refit:
    """One more fit of a run's corpus.

    Attributes:
        kind: ``seeds`` is all documents with another seed, ``bootstrap`` a sample of them with the run's own seed.
        number: from 1.
    """

    kind: Kind
    number: int

    @property
    def file(self) -> str:
        """Where its result is kept, in the folder of refits."""
        return f"{self.kind}-{self.number}.json"

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


@dataclass
class Refitter:
    """Fits the corpus of a run again and keeps every result in the run folder, so that none is made twice.

    Attributes:
        recipe: of the run.
        encoded: its corpus in the store.
        folder: of the run.
        fit: fingerprint of the fit; results kept under another are made again.
        texts: N documents.
        encoder: embeds what guided and zero-shot topics name, where the store lacks it.
    """

    recipe: Recipe
    encoded: Encoded
    folder: Path
    fit: str
    texts: Sequence[str]
    encoder: EncoderSource

    def result(self, refit: Refit) -> TopicRun:
        """The topics and words of a refit, from disk where they are there; all outliers where it finds no topic."""
        rows = refit.rows(len(self.texts), self.recipe.seed)
        path = self.folder / REFITS / refit.file
        kept = _kept(path, self.fit)
        if kept is None:
            kept = {"fit": self.fit, **self._fitted(refit, rows)}
            write_json(path, kept)
        return TopicRun(kept["topics"], {int(topic): words for topic, words in kept["words"].items()}, rows)

    def _fitted(self, refit: Refit, rows: Rows | None) -> dict[str, Any]:
        texts = self.texts if rows is None else [self.texts[row] for row in rows.tolist()]
        settings = refit.settings(topic_settings(self.recipe), len(texts) / len(self.texts))
        fusion, vectors = self._fused
        X = vectors if rows is None else vectors[rows]
        backend = word_backend(self.encoded, fusion, self.encoder) if settings.needs_words else None
        nowhere = np.zeros((len(texts), 2), dtype=np.float32)
        try:
            model = fit_topics(texts, X, settings, backend=backend, positions=nowhere)
        except NoTopicsError:
            return {"topics": [OUTLIERS] * len(texts), "words": {}}
        return {"topics": model.result.topics.tolist(), "words": ctfidf_words(model)}

    @cached_property
    def _fused(self) -> tuple[Fusion, NDArray[np.float32]]:
        return fused(self.encoded, self.recipe.fusion)


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


def _kept(path: Path, fit: str) -> dict[str, Any] | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return kept if isinstance(kept, dict) and kept.get("fit") == fit else None


def measure_stability(
    recipe: Recipe,
    encoded: Encoded,
    folder: Path,
    fit: str,
    *,
    encoder: EncoderSource | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fits a fitted corpus again as often as its recipe asks, and writes ``stability.json`` and its scores.

    Args:
        recipe: of the run; its section ``stability`` says how often.
        encoded: the corpus in the store.
        folder: of the run; every refit is kept there as soon as it is done.
        fit: fingerprint of the run's own fit.
        encoder: where it is loaded already.
        progress: hears of every refit.

    Returns:
        What ``stability.json`` holds: see :func:`moee_topics.evaluate.stability_summary`.

    Raises:
        InputError: the folder holds no fitted model, or a sample of a tiny corpus has too few documents to fit.
    """
    own = TopicModel.load(folder / MODEL)
    refitter = Refitter(recipe, encoded, folder, fit, own.result.texts, encoder or encoder_of(recipe))
    runs: dict[Kind, list[TopicRun]] = {}
    for refit, run in _each(refitter, refits_of(recipe.stability), progress or Progress()):
        runs.setdefault(refit.kind, []).append(run)
    found = stability_summary(TopicRun(own.result.topics, ctfidf_words(own)), runs)
    write_json(folder / STABILITY_FILE, found)
    _write_scores(folder, {name: asdict(score) for name, score in stability_scores(found).items()})
    return found


def _each(refitter: Refitter, refits: Sequence[Refit], progress: Progress) -> Iterator[tuple[Refit, TopicRun]]:
    progress.begin("stability", f"{len(refits)} more fits of {len(refitter.texts):,} documents")
    for done, refit in enumerate(refits, start=1):
        run = refitter.result(refit)
        progress.advance(done, len(refits), "fits")
        yield refit, run


def drop_stability(folder: Path) -> None:
    """Removes the result and its scores from a run folder; the refits stay, for when they are asked for again.

    Raises:
        InputError: the scores of the run cannot be read.
    """
    if (folder / STABILITY_FILE).is_file():
        _write_scores(folder, {})  # first the scores: a result that is left says they may be there
        (folder / STABILITY_FILE).unlink()


def drop_refits(folder: Path) -> None:
    """Removes the refits and what was made of them, before another fit that writes all scores anew."""
    (folder / STABILITY_FILE).unlink(missing_ok=True)
    shutil.rmtree(folder / REFITS, ignore_errors=True)


def _write_scores(folder: Path, scores: Mapping[str, Any]) -> None:
    """Puts these in the place of all scores of stability."""
    path = folder / SCORES_FILE
    others = {
        name: score for name, score in read_json(path, kind=dict, default={}, mend=MEND).items() if name not in SCORES
    }
    write_json(path, {**others, **scores})
