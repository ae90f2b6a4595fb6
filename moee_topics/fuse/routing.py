"""What is taken of the routers: their scores in several forms, and how much each expert and each layer counts.

All of it follows from what a store holds, so that no document is encoded again. How often the tokens of a document go
to each expert does not follow from it, and is a view of its own: ``encoder.routing=frequency``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from moee_topics.embeddings import Embeddings, FloatArray
from moee_topics.errors import InputError
from moee_topics.fuse.blocks import Matrix, OfCorpus

ScoreName = Literal["softmax", "logits", "top_k", "multi_hot"]
ExpertWeights = Literal["equal", "idf"]
LayerWeights = Literal["equal", "information"]
_TINY = 1e-12


def softmax_scores(embeddings: Embeddings, k: int) -> FloatArray:
    """The softmax over all experts of a layer, as the paper has it; for a mean of tokens the mean of theirs."""
    return embeddings.routing_weights


def logits(embeddings: Embeddings, k: int) -> FloatArray:
    """The scores before the softmax, as the code published with the paper takes them for OLMoE and Qwen."""
    return embeddings.router_logits


def top_k(embeddings: Embeddings, k: int) -> FloatArray:
    """The weights of the k heaviest experts of a layer, which sum to one; all others 0."""
    weights = embeddings.routing_weights.astype(np.float32) * multi_hot(embeddings, k)
    return np.asarray(weights / np.maximum(weights.sum(axis=-1, keepdims=True), _TINY), dtype=np.float32)


def multi_hot(embeddings: Embeddings, k: int) -> FloatArray:
    """1 for the k heaviest experts of a layer, 0 for the others: all that serving engines give away."""
    weights = embeddings.routing_weights
    hot = np.zeros(weights.shape, dtype=np.float32)
    if weights.size:
        # Stable, so that experts that tie are taken by their number on every machine.
        chosen = np.argsort(-weights.astype(np.float32), axis=-1, kind="stable")[..., :k]
        np.put_along_axis(hot, chosen, 1.0, axis=-1)
    return hot


ROUTER_SCORES: Mapping[str, Callable[[Embeddings, int], FloatArray]] = {
    "softmax": softmax_scores,
    "logits": logits,
    "top_k": top_k,
    "multi_hot": multi_hot,
}


def _layer_weights(given: Any) -> tuple[float, ...]:
    """A weight of 0 or more for each layer.

    Raises:
        InputError: it is something else.
    """
    try:
        weights = () if isinstance(given, str) else tuple(map(float, given))
    except (TypeError, ValueError):
        weights = ()
    if not weights or not all(np.isfinite(weight) and weight >= 0 for weight in weights):
        raise InputError(
            f"fusion.routing.layers is {given!r}; it is {' or '.join(map(repr, get_args(LayerWeights)))}, or a weight "
            "of 0 or more for each layer."
        )
    return weights


@dataclass(frozen=True)
class RoutingBlock:
    """What the block of routing weights is made of.

    Attributes:
        scores: a name in ``ROUTER_SCORES``: "softmax" over all experts, "logits" before it, "top_k" for the weights of
            the heaviest alone, "multi_hot" for which these are.
        top_k: how many are the heaviest, for the last two; a model's own number is on its card (``models inspect``).
        experts: "idf" counts an expert the less, the more documents give it more than its fair share, as words are
            weighed in TF-IDF; some experts take part in everything (arXiv 2601.03425).
        layers: "information" counts a layer by how far its documents' weights lie apart (the entropy of the mean less
            the mean entropy, their Jensen-Shannon divergence), or a weight for each layer (arXiv 2502.10928).
        weights: (L, E) what both make of each expert, once :meth:`fit` has learnt it.

    Raises:
        InputError: a name that there is not, or a weight below 0.
    """

    scores: ScoreName = "softmax"
    top_k: Annotated[int, Field(ge=1)] = 8
    experts: ExpertWeights = "equal"
    layers: LayerWeights | tuple[float, ...] = "equal"
    weights: OfCorpus[NDArray[np.float32]] = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.scores not in ROUTER_SCORES:
            raise InputError(f"fusion.routing.scores is {self.scores!r}; it is one of {', '.join(ROUTER_SCORES)}.")
        if self.experts not in get_args(ExpertWeights):
            raise InputError(f"fusion.routing.experts is {self.experts!r}; it is 'equal' or 'idf'.")
        if not isinstance(self.top_k, int) or self.top_k < 1:
            raise InputError(f"fusion.routing.top_k is {self.top_k!r}; it is a whole number of 1 or more.")
        if not isinstance(self.layers, str) or self.layers not in get_args(LayerWeights):
            object.__setattr__(self, "layers", _layer_weights(self.layers))

    @property
    def learns(self) -> bool:
        """Whether experts or layers are weighed by a corpus, or in numbers that a corpus must fit."""
        return self.experts != "equal" or self.layers != "equal"

    @property
    def label(self) -> str:
        """What differs from the default, for tables: `` multi_hot 8 idf``."""
        k = f" {self.top_k}" if self.scores in ("top_k", "multi_hot") else ""
        scores = "" if self.scores == "softmax" else f" {self.scores}{k}"
        layers = self.layers if isinstance(self.layers, str) else "by layer"
        return scores + "".join(f" {name}" for name in (self.experts, layers) if name != "equal")

    def check_layers(self, layers: int) -> None:
        """Refuses weights of other layers than the model's ``layers`` MoE layers.

        Raises:
            InputError: not one weight for each layer.
        """
        if not isinstance(self.layers, str) and len(self.layers) != layers:
            raise InputError(
                f"fusion.routing.layers has {len(self.layers)} weights, and the model has {layers} MoE layers. Give "
                "one for each, or fusion.routing.layers=information"
            )

    def read(self, embeddings: Embeddings) -> Embeddings:
        """The same documents with these scores in the place of their routing weights."""
        if self.scores == "softmax":
            return embeddings
        return replace(embeddings, mean_routing_weights=ROUTER_SCORES[self.scores](embeddings, self.top_k))

    def watching(self, blocks: Iterable[Embeddings], usage: Usage) -> Iterator[Embeddings]:
        """A stream of documents with these scores, counted on the way."""
        for embeddings in blocks:
            if self.learns:
                usage.update(embeddings)
            yield self.read(embeddings)

    def fitted(self, usage: Usage) -> RoutingBlock:
        """The same with the weights of a corpus.

        Raises:
            InputError: not one weight for each layer.
        """
        block = replace(self)
        if self.learns and usage.documents:
            object.__setattr__(block, "weights", self._weights(usage))
        return block

    def weighed(self, routing: Matrix) -> Matrix:
        """A block (N, L * E) whose columns count as they should; after standardizing, which would undo it."""
        return routing if self.weights is None else routing * self.weights.reshape(1, -1)

    def _weights(self, usage: Usage) -> NDArray[np.float32]:
        layers, experts = usage.shares.shape
        self.check_layers(layers)
        weights = usage.idf() if self.experts == "idf" else np.ones((layers, experts))
        by_layer = usage.information() if self.layers == "information" else np.ones(layers)
        if not isinstance(self.layers, str):
            by_layer = np.array(self.layers)
        return np.asarray(weights * by_layer[:, None], dtype=np.float32)

    def settings(self) -> dict[str, Any]:
        """What was asked for, as plain data."""
        return {name: value for name, value in asdict(self).items() if name != "weights"}

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """What was learnt as named arrays, for a safetensors file."""
        return {} if self.weights is None else {"routing.weights": self.weights}

    @classmethod
    def of(cls, settings: Any, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """What :meth:`settings` and :meth:`tensors` gave.

        Raises:
            ValueError: the weights are not of the form of any.
        """
        block = cls(**settings)
        if block.learns and (weights := tensors.get("routing.weights")) is not None:
            if weights.ndim != 2:
                raise ValueError(f"weights of experts have the shape {weights.shape}, {json.dumps(settings)}")
            object.__setattr__(block, "weights", weights.astype(np.float32))
        return block


PLAIN = RoutingBlock()
"""The softmax as it is, of every expert alike."""


class Usage:
    """How a corpus uses the experts, counted document by document."""

    def __init__(self) -> None:
        self.documents = 0
        self.shares = np.zeros((0, 0))
        self._users = np.zeros((0, 0))
        self._entropy = np.zeros(0)

    def update(self, embeddings: Embeddings) -> None:
        """Counts some documents in."""
        weights = np.asarray(embeddings.routing_weights, dtype=np.float64)
        if not self.documents:
            self.shares, self._users = np.zeros(weights.shape[1:]), np.zeros(weights.shape[1:])
            self._entropy = np.zeros(weights.shape[1])
        total = np.maximum(weights.sum(axis=-1, keepdims=True), _TINY)  # a frequency sums to k, a weight to 1
        self.documents += len(weights)
        self.shares += (weights / total).sum(axis=0)
        self._users += (weights / total > 1 / max(1, weights.shape[-1])).sum(axis=0)
        self._entropy += entropy(weights / total).sum(axis=0)

    def idf(self) -> NDArray[np.float64]:
        """(L, E): log((1 + N) / (1 + n)), where n of N documents give an expert more than its fair share, at mean 1."""
        idf = np.log((1 + self.documents) / (1 + self._users))
        return np.asarray(idf / max(float(idf.mean()), _TINY))

    def mean_entropy(self) -> NDArray[np.float64]:
        """(L,): the mean entropy of a document's weights in each layer, as a share of that of equal weights."""
        return np.asarray(self._entropy / self.documents / max(np.log(self.shares.shape[1]), _TINY))

    def information(self) -> NDArray[np.float64]:
        """(L,): how far the documents of a layer lie apart, the entropy of their mean less their mean, at mean 1."""
        apart = np.maximum(entropy(self.shares / self.documents) - self._entropy / self.documents, 0.0)
        return np.asarray(apart / max(float(apart.mean()), _TINY))


def entropy(weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """The entropy over the last axis, in nats."""
    return np.asarray(-(weights * np.log(np.maximum(weights, _TINY))).sum(axis=-1), dtype=np.float64)
