"""More fits of a run's corpus, with other seeds and on samples; each is kept, so that none is made twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.defaults import SEEDS
from moee_topics.errors import InputError, NoTopicsError
from moee_topics.evaluate import Kind, TopicRun
from moee_topics.fuse import Fusion
from moee_topics.run.fit_stage import FitStage, fused
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import RunFolder
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

WORDS = 10


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
        return replace(plain, seed=(settings.seed + self.number) % SEEDS)


def refits_of(section: StabilitySettings) -> list[Refit]:
    """The refits that a recipe asks for, in the order they are done."""
    seeds = [Refit("seeds", number) for number in range(1, section.seeds + 1)]
    return seeds + [Refit("bootstrap", number) for number in range(1, section.bootstraps + 1)]


class Refitter:
    """Fits the corpus of a run again and keeps every result in the run folder.

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
        file = RunFolder.refit(refit.kind, refit.number)
        try:
            content = file.read(self.work.run)
        except InputError:  # damaged: fitted once more
            content = {}
        if content.get("fit") != self.fit:
            content = {"fit": self.fit, **self._fit(refit, rows)}
            file.write(self.work.run, content)
        return TopicRun(content["topics"], {int(topic): words for topic, words in content["words"].items()}, rows)

    def _fit(self, refit: Refit, rows: Rows | None) -> dict[str, Any]:
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
        return fused(self.work, self.texts)


def ctfidf_words(model: TopicModel, top: int = WORDS) -> dict[int, list[str]]:
    """The words of every topic but the outliers by c-TF-IDF alone, the heaviest first, equal ones by the alphabet."""
    vocabulary = model.model.vectorizer_model.vocabulary_
    names = np.array(sorted(vocabulary, key=vocabulary.__getitem__), dtype=object)
    weights = model.model.c_tf_idf_.tocsr()
    words: dict[int, list[str]] = {}
    for row, topic in enumerate(np.unique(model.result.topics).tolist()):  # BERTopic's rows stand in this order
        if topic != OUTLIERS:
            terms = zip(weights[row].data.tolist(), names[weights[row].indices].tolist(), strict=True)
            heaviest = sorted(terms, key=lambda term: (-term[0], term[1]))[:top]
            words[topic] = [word for weight, word in heaviest if weight > 0]
    return words
