"""The views of a pass side by side: which layer, pooling and scores of routers suit a corpus, at what cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.corpus import Document, content_hash
from moee_topics.defaults import VIEWS_SAMPLE
from moee_topics.embed import Embedder
from moee_topics.embeddings import Embeddings
from moee_topics.encode import EncoderSource, Reading, View
from moee_topics.errors import InputError
from moee_topics.evaluate import ViewScores, mean_of_draws, rank_correlations, score_view
from moee_topics.fuse import METHODS, Usage
from moee_topics.messages import counted
from moee_topics.mteb.view_candidates import EXPERTS_SHUFFLED, Candidate, Pass, passes_of
from moee_topics.progress import Progress, resumable
from moee_topics.recipe import Recipe
from moee_topics.run import Workspace, check_layers, sample_documents

SEEDS = 3
FEWEST = 20


@dataclass(frozen=True)
class ComparedView:
    """One candidate and what it came to.

    Attributes:
        name: see :class:`Candidate`.
        overrides: alike.
        control: alike.
        dimensions: numbers of a vector.
        bytes_per_document: that the store keeps for its views.
        layers: the share of the layers that must run for it.
        scores: of its clusters, their mean where the documents were drawn more than once.
    """

    name: str
    overrides: tuple[str, ...]
    control: str
    dimensions: int
    bytes_per_document: int
    layers: float
    scores: ViewScores


@dataclass(frozen=True)
class ViewComparison:
    """The views of a corpus.

    Attributes:
        encoder: what they were read by, as its settings.
        documents: of all draws.
        draws: how many parts they were compared in, each by itself.
        classes: known ones among them; None without labels.
        tokens: of the documents in all passes; what was stored was not read again.
        views: all candidates, controls among them.
        rank_correlations: of each measure without labels with the AMI over all views but controls.
        entropy: of each MoE layer's routing, as a share of that of equal weights.
        information: of each MoE layer: how far its documents lie apart, at mean 1.
    """

    encoder: Mapping[str, Any]
    documents: int
    draws: int
    classes: int | None
    tokens: int
    views: Sequence[ComparedView]
    rank_correlations: Mapping[str, float]
    entropy: Sequence[float]
    information: Sequence[float]

    @property
    def best(self) -> ComparedView | None:
        """The view with the highest AMI; None without labels.

        No measure without labels found it on the sets of docs/readouts.md, and a guess would be worse than the recipe
        as it is.
        """
        views = [view for view in self.views if not view.control and view.scores.ami is not None]
        return max(views, key=lambda view: view.scores.ami or 0.0, default=None)

    @property
    def as_good(self) -> list[ComparedView]:
        """The views within one deviation of the best, which another sample might put before it."""
        best = self.best
        if best is None or best.scores.ami is None:
            return []
        least = best.scores.ami - (best.scores.deviation or 0.0)
        others = [view for view in self.views if view is not best and not view.control]
        return [view for view in others if view.scores.ami is not None and view.scores.ami >= least]

    def to_json(self) -> dict[str, Any]:
        """Plain data, with what is recommended, null without labels, and what is as good."""
        best = self.best
        recommended = None if best is None else list(best.overrides)
        as_good = [view.name for view in self.as_good]
        told = {"recommended": recommended, "recommended_view": best and best.name, "as_good": as_good}
        return {**asdict(self), **told}


def compare_views(
    recipe: Recipe,
    store: Path,
    *,
    sample: int = VIEWS_SAMPLE,
    draws: int = 1,
    also: Sequence[Sequence[str]] = (),
    random_model: bool = False,
    progress: Progress | None = None,
) -> ViewComparison:
    """Reads a sample of a corpus in many views of one pass, clusters each, and measures the clusters.

    Args:
        recipe: its corpus and encoder; layers, poolings and routing that it names as lists are compared, else usual
            ones. Its fusion is compared too.
        store: root folder of the embeddings, which are kept.
        sample: how many documents, evenly spaced over the corpus.
        draws: how many such samples, no document in two of them, are compared each by itself.
        also: changes of the encoder, such as ``["encoder.prompt=cluster"]``, each of which is another pass.
        random_model: whether a model of the same shape and untrained is a control too; another pass.
        progress: is told how far the work is.

    Raises:
        RecipeError: a change of something else than the encoder.
        InputError: too few documents, a layer that the model does not have, or no words where they are weighed.
        ModelError: the model cannot be loaded, or the states between its layers cannot be read.
        Interrupted: stopped by the user; encoded texts are kept.
    """
    progress = progress or Progress()
    documents = sampled(Workspace(recipe, store, store, progress), sample, draws)
    passes, texts = passes_of(recipe, also, random_model=random_model), [document.text for document in documents]
    check_layers(recipe.fusion, passes[0].source)
    recipe.fusion.check_texts(texts)
    views: list[ComparedView] = []
    with resumable("Encoded texts are kept: run the same command again to go on."):
        for one in passes:
            read = Sample(documents, draws, one, store, recipe.seed)
            read.fill_store(progress)
            for candidate in one.candidates:
                progress.begin("view", candidate.name)
                views.append(read.compared(candidate))
            one.source.release()  # before the next pass loads its own weights
        usage = Sample(documents, draws, passes[0], store, recipe.seed).usage(EncoderSource(recipe.encoder).reading)
    classes = labels_of(documents)
    return ViewComparison(
        encoder=asdict(recipe.encoder),
        documents=len(texts),
        draws=draws,
        classes=None if classes is None else len(set(classes)),
        tokens=sum(one.source.count(texts).tokens for one in passes),
        views=views,
        rank_correlations=rank_correlations([view.scores for view in views if not view.control]),
        entropy=usage.mean_entropy().tolist() if usage.documents else [],
        information=usage.information().tolist() if usage.documents else [],
    )


class Sample:
    """The documents that are compared, as one pass reads them.

    Args:
        documents: of all draws.
        draws: in how many parts they are compared.
        read_by: the pass.
        store: root folder of the embeddings.
        seed: of k-means and of the control.
    """

    def __init__(self, documents: Sequence[Document], draws: int, read_by: Pass, store: Path, seed: int) -> None:
        self.source, self.seed = read_by.source, seed
        self.embedder = Embedder(read_by.source, store, key=read_by.source.stored_key(store))
        self.texts = [document.text for document in documents]
        self.draws = [self.texts[draw::draws] for draw in range(draws)]
        labels = labels_of(documents)
        self.labels = [None if labels is None else labels[draw::draws] for draw in range(draws)]

    def fill_store(self, progress: Progress) -> None:
        """Stores all views of all documents."""
        self.embedder.progress, views = progress, self.source.reading.views
        told = f"{self.source.settings.model}, {counted(len(self.texts), 'document')}, {counted(len(views), 'view')}"
        progress.begin("embed", told)
        self.embedder.ensure_texts(self.texts)

    def embeddings(self, reading: Reading, texts: Sequence[str]) -> Embeddings:
        """Documents as some of the views."""
        hashes = [content_hash(text) for text in texts]
        return Embeddings.concatenate(list(self.reader(reading).stored_blocks(hashes)))

    def reader(self, reading: Reading) -> Embedder:
        """Gives texts as some of the views."""
        key = {**self.embedder.key, "views": list(map(str, reading.views))}
        return Embedder(self.source, self.embedder.root, key=key)

    def compared(self, candidate: Candidate) -> ComparedView:
        """What one candidate is worth and costs."""
        reading, reads = candidate.reading, METHODS[candidate.fusion.method].reads
        views = [view for view in (reading.hidden_states, reading.routing) if view and _block_of(view) in reads]
        found = [self._vectors(candidate, texts) for texts in self.draws]
        seeds = range(self.seed, self.seed + SEEDS)
        scores = [score_view(rows, labels, seeds=seeds) for rows, labels in zip(found, self.labels, strict=True)]
        return ComparedView(
            name=candidate.name,
            overrides=candidate.overrides,
            control=candidate.control,
            dimensions=found[0].shape[1],
            bytes_per_document=sum(map(self.source.bytes_of, views)),
            layers=max(_last_layer(view, self.source.depth) / self.source.depth for view in views),
            scores=mean_of_draws(scores),
        )

    def _vectors(self, candidate: Candidate, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of one draw, which is a corpus of its own."""
        embeddings = self.embeddings(candidate.reading, texts)
        fusion = candidate.fusion.fit([embeddings], texts, self.reader(candidate.reading))
        if (
            candidate.control == EXPERTS_SHUFFLED
        ):  # after the fit: the same scales, and only whose the weights are is lost
            embeddings = shuffled_experts(embeddings, self.seed)
        return fusion.transform(embeddings, texts)

    def usage(self, reading: Reading) -> Usage:
        """How the documents use the experts, where routers are read."""
        usage = Usage()
        if reading.routing is not None and self.source.card.layers:
            usage.update(self.embeddings(reading, self.texts))
        return usage


def sampled(work: Workspace, sample: int, draws: int = 1) -> list[Document]:
    """Different documents of all draws, evenly spaced over a corpus; of one with labels those that have one.

    Raises:
        InputError: there are too few to compare anything.
    """
    unique = {document.text: document for document in sample_documents(work.passing(), work.survey, sample * draws)}
    documents = list(unique.values())
    if any(document.label is not None for document in documents):
        documents = [document for document in documents if document.label is not None]
    if len(documents) < FEWEST * draws:
        of_draws = "" if draws == 1 else f" for each of {draws} draws"
        raise InputError(
            f"Comparing views needs {FEWEST} different documents or more{of_draws}, got {len(documents)} in all."
        )
    return documents


def labels_of(documents: Sequence[Document]) -> list[str] | None:
    """The classes of documents that have several."""
    labels = [document.label for document in documents if document.label is not None]
    return labels if len(labels) == len(documents) and len(set(labels)) > 1 else None


def _block_of(view: View) -> str:
    return "routing_weights" if view.block == "router" else "hidden_states"


def _last_layer(view: View, depth: int) -> int:
    return depth if view.layer in ("all", "last") else int(view.layer.rpartition("-")[2])


def shuffled_experts(embeddings: Embeddings, seed: int) -> Embeddings:
    """The same documents with the experts of each layer mixed up, for each document and layer anew."""
    rng = np.random.default_rng(seed)
    weights = rng.permuted(embeddings.routing_weights, axis=-1)
    return replace(embeddings, mean_routing_weights=weights)
