"""The views of one pass side by side: which layer, pooling and scores of routers suit a corpus, at what cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from moee_topics.corpus import Document, content_hash
from moee_topics.defaults import VIEWS_SAMPLE
from moee_topics.embed import Embedder
from moee_topics.embeddings import Embeddings
from moee_topics.encode import EncoderSettings, EncoderSource, Reading, View
from moee_topics.errors import InputError
from moee_topics.evaluate import ViewScores, rank_correlations, score_view
from moee_topics.fuse import METHODS, Fusion, RoutingBlock, Usage, check_words
from moee_topics.progress import Progress, resumable
from moee_topics.recipe import Recipe
from moee_topics.run import Workspace, check_layers, sample_documents

SEEDS = 3
LAYERS = (0, 0.25, 0.5, 0.75, 0.9, "last")
"""Of a recipe that names none: what goes into the first layer, which is tokens without any context, and five depths."""
COMPARED_POOLINGS = ("last_token", "mean", "weighted_mean")
"""Of a recipe that names one: by hand, since each more is another clustering of every layer; a list adds others."""
WITHOUT_PROMPT = "mean_without_prompt"
SHUFFLED = "experts shuffled"
FEWEST = 20


@dataclass(frozen=True)
class Candidate:
    """A vector of a document that views of one pass allow.

    Attributes:
        name: of its view, and of what is made of it.
        reading: the views it is made of.
        fusion: what makes it of them.
        overrides: that make a recipe use it.
        control: why it is only there to be compared with: "tokens alone", without any context, or "experts shuffled",
            those of each layer mixed up for each document anew; empty for all others.
    """

    name: str
    reading: Reading
    fusion: Fusion
    overrides: tuple[str, ...] = ()
    control: str = ""


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
        scores: of its clusters.
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
        documents: of the sample.
        classes: known ones among them; None without labels.
        tokens: of the sample, each of which went through the model once at most.
        views: all candidates, controls among them.
        rank_correlations: of each measure without labels with the AMI over all views but controls.
        entropy: of each MoE layer's routing, as a share of that of equal weights.
        information: of each MoE layer: how far its documents lie apart, at mean 1.
    """

    encoder: Mapping[str, Any]
    documents: int
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

    def to_json(self) -> dict[str, Any]:
        """Plain data, with what is recommended, null without labels."""
        best = self.best
        recommended = None if best is None else list(best.overrides)
        return {**asdict(self), "recommended": recommended, "recommended_view": best and best.name}


def compare_views(
    recipe: Recipe, store: Path, *, sample: int = VIEWS_SAMPLE, progress: Progress | None = None
) -> ViewComparison:
    """Reads a sample of a corpus in many views of one pass, clusters each, and measures the clusters.

    Args:
        recipe: its corpus and encoder; layers, poolings and routing that it names as lists are compared, else usual
            ones. Its fusion is compared too.
        store: root folder of the embeddings, which are kept.
        sample: how many documents, evenly spaced over the corpus.
        progress: is told how far the work is.

    Raises:
        InputError: too few documents, a layer that the model does not have, or no words where they are weighed.
        ModelError: the model cannot be loaded, or the states between its layers cannot be read.
        Interrupted: stopped by the user; encoded texts are kept.
    """
    progress = progress or Progress()
    documents = sampled(Workspace(recipe, store, store, progress), sample)
    source = EncoderSource(many_views(recipe.encoder), require_routers=recipe.fusion.needs_routers)
    texts = [document.text for document in documents]
    check_layers(recipe.fusion, source)
    if recipe.fusion.lexical:
        check_words(texts)
    with resumable("Encoded texts are kept: run the same command again to go on."):
        embedder = Embedder(source, store, key=source.stored_key(store), progress=progress)
        progress.begin("embed", f"{source.settings.model}, {len(texts):,} documents, {len(source.reading.views)} views")
        embedder.ensure_texts(texts)
        read = Sample(texts, labels_of(documents), source, embedder, recipe.seed)
        views = []
        for candidate in candidates(recipe, source):
            progress.begin("view", candidate.name)
            views.append(read.compared(candidate))
        usage = read.usage(EncoderSource(recipe.encoder).reading)
    return ViewComparison(
        encoder=asdict(recipe.encoder),
        documents=len(texts),
        classes=None if read.labels is None else len(set(read.labels)),
        tokens=source.count(texts).tokens,
        views=views,
        rank_correlations=rank_correlations([view.scores for view in views if not view.control]),
        entropy=usage.mean_entropy().tolist() if usage.documents else [],
        information=usage.information().tolist() if usage.documents else [],
    )


@dataclass(frozen=True)
class Sample:
    """The documents that are compared, encoded in all views.

    Attributes:
        texts: of the documents.
        labels: their classes, None where they have none.
        source: of the encoder.
        embedder: with all views stored.
        seed: of k-means and of the control.
    """

    texts: Sequence[str]
    labels: Sequence[str] | None
    source: EncoderSource
    embedder: Embedder
    seed: int

    def embeddings(self, reading: Reading) -> Embeddings:
        """The documents, as some of the views."""
        hashes = [content_hash(text) for text in self.texts]
        return Embeddings.concatenate(list(self.reader(reading).stored_blocks(hashes)))

    def reader(self, reading: Reading) -> Embedder:
        """Gives texts as some of the views."""
        key = {**self.embedder.key, "views": list(map(str, reading.views))}
        return Embedder(self.source, self.embedder.root, key=key)

    def compared(self, candidate: Candidate) -> ComparedView:
        """What one candidate is worth and costs."""
        embeddings = self.embeddings(candidate.reading)
        fusion = candidate.fusion.fit([embeddings], self.texts, self.reader(candidate.reading))
        if candidate.control == SHUFFLED:  # after the fit: the same scales, and only whose the weights are is lost
            embeddings = shuffled_experts(embeddings, self.seed)
        vectors = fusion.transform(embeddings, self.texts)
        reading, reads = candidate.reading, METHODS[fusion.method].reads
        views = [view for view in (reading.hidden_states, reading.routing) if view and _block_of(view) in reads]
        return ComparedView(
            name=candidate.name,
            overrides=candidate.overrides,
            control=candidate.control,
            dimensions=vectors.shape[1],
            bytes_per_document=sum(self.source.bytes_per_view[str(view)] for view in views),
            layers=max(_last_layer(view, self.source.depth) / self.source.depth for view in views),
            scores=score_view(vectors, self.labels, seeds=range(self.seed, self.seed + SEEDS)),
        )

    def usage(self, reading: Reading) -> Usage:
        """How the documents use the experts, where routers are read."""
        usage = Usage()
        if reading.routing is not None and self.source.card.layers:
            usage.update(self.embeddings(reading))
        return usage


def sampled(work: Workspace, sample: int) -> list[Document]:
    """Different documents evenly spaced over a corpus; of one with labels those that have one.

    Raises:
        InputError: there are too few to compare anything.
    """
    unique = {document.text: document for document in sample_documents(work.passing(), work.survey, sample)}
    documents = list(unique.values())
    if any(document.label is not None for document in documents):
        documents = [document for document in documents if document.label is not None]
    if len(documents) < FEWEST:
        raise InputError(f"Comparing views needs {FEWEST} different documents or more, got {len(documents)}.")
    return documents


def labels_of(documents: Sequence[Document]) -> list[str] | None:
    """The classes of documents that have several."""
    labels = [document.label for document in documents if document.label is not None]
    return labels if len(labels) == len(documents) and len(set(labels)) > 1 else None


def many_views(settings: EncoderSettings) -> EncoderSettings:
    """The same encoder with the usual views beside its own, where it names no list of them."""
    layers, pooling, routing = settings.layers, settings.pooling, settings.routing
    if not isinstance(layers, tuple):
        layers = (layers, *(layer for layer in LAYERS if layer != 0 or settings.states == "hidden_states"))
    if not isinstance(pooling, tuple):
        # Without a prompt the mean without it is the mean again, but for a token that begins every text.
        others = (*COMPARED_POOLINGS, WITHOUT_PROMPT) if settings.template != "{text}" else COMPARED_POOLINGS
        pooling = tuple(dict.fromkeys((pooling, *others)))
    if routing is None:
        routing = (*pooling, "frequency")
    return replace(settings, layers=layers, pooling=pooling, routing=routing)


def candidates(recipe: Recipe, source: EncoderSource) -> Iterator[Candidate]:
    """What is compared: the recipe's own vectors, every view of hidden states, and the routers' in every form."""
    views = source.reading.views
    yield Candidate(f"the recipe ({recipe.fusion.label})", EncoderSource(recipe.encoder).reading, recipe.fusion)
    for view in (view for view in views if view.block != "router"):
        yield from (of_hidden_states(view, standardize, alone(recipe)) for standardize in ("none", "hidden_states"))
    routers = [view for view in views if view.block == "router"] if source.card.layers else []
    for number, view in enumerate(routers):
        for block in routing_blocks(source) if number == 0 else (RoutingBlock(),):
            yield of_routers(view, block, source.reading.hidden_states, alone(recipe))
    for view in routers[:1]:
        plain = of_routers(view, RoutingBlock(), source.reading.hidden_states)
        yield replace(plain, name=f"{plain.name}, {SHUFFLED}", control=SHUFFLED)


def alone(recipe: Recipe) -> tuple[str, ...]:
    """The overrides that take out of a recipe's fusion what is not compared, so that what is told is what one gets."""
    words = ("fusion.lexical=0",) if recipe.fusion.lexical else ()
    return words + (("fusion.filters=[]",) if recipe.fusion.filters else ())


def of_hidden_states(view: View, standardize: Any, more: tuple[str, ...] = ()) -> Candidate:
    """Hidden states, or values, alone, as they are or standardized."""
    asked = (f"encoder.layers={view.layer}", f"encoder.pooling={view.pooling}", "fusion.method=hidden_states")
    return Candidate(
        f"{view}{' z' if standardize != 'none' else ''}",
        Reading((view,)),
        Fusion("hidden_states", standardize=standardize),
        (*asked, f"fusion.standardize={standardize}", *more),
        "tokens alone" if view.layer == "0" else "",
    )


def routing_blocks(source: EncoderSource) -> list[RoutingBlock]:
    """The forms of the routers' scores, with the model's own number of experts of a token."""
    k = source.card.experts_per_token or RoutingBlock.top_k
    scores = [RoutingBlock("softmax"), RoutingBlock("logits"), RoutingBlock("top_k", k), RoutingBlock("multi_hot", k)]
    return [*scores, RoutingBlock(experts="idf"), RoutingBlock(layers="information")]


def of_routers(view: View, block: RoutingBlock, hidden: View, more: tuple[str, ...] = ()) -> Candidate:
    """The standardized scores of routers in one form."""
    asked = [f"encoder.routing={view.pooling}", "fusion.method=routing_weights", "fusion.standardize=both"]
    # All keys, those at their default too: the recipe that they are copied to may have others.
    asked += [f"fusion.routing.{name}={value}" for name, value in block.settings().items()]
    # A document has hidden states too: those of the same entry, or any of the same pass.
    beside = hidden if view.entry.block == "router" else view.entry
    return Candidate(
        f"{view}{block.label} z",
        Reading((beside, view)),
        Fusion("routing_weights", standardize="both", routing=block),
        (*asked, *more),
    )


def _block_of(view: View) -> str:
    return "routing_weights" if view.block == "router" else "hidden_states"


def _last_layer(view: View, depth: int) -> int:
    return depth if view.layer in ("all", "last") else int(view.layer.rpartition("-")[2])


def shuffled_experts(embeddings: Embeddings, seed: int) -> Embeddings:
    """The same documents with the experts of each layer mixed up, for each document and layer anew."""
    rng = np.random.default_rng(seed)
    weights = rng.permuted(embeddings.routing_weights, axis=-1)
    return replace(embeddings, mean_routing_weights=weights)
