"""Which experts fire for which topic, with what chance alone would show kept out.

A mixture-of-experts router never spreads a corpus evenly: load balancing is imperfect, so some experts get more weight
on every text. A topic's expert is one that gets more weight on the topic's documents than on the corpus as a whole, by
more than a random set of as many documents would show.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moee_topics.defaults import OUTLIERS
from moee_topics.embeddings import Embeddings, FloatArray
from moee_topics.errors import InputError
from moee_topics.evaluate.expert_report import (
    ExpertDocuments,
    ExpertLift,
    ExpertReport,
    Floats,
    LayerInformation,
    TopicExperts,
)
from moee_topics.evaluate.layer_information import Rows, layer_information, membership

# The control is a histogram: 40 shuffles of K * L * E values, 41 million for 1,000 topics of OLMoE, are not kept.
Z_STEP = 0.02
Z_MAX = 100.0
SHUFFLES_OF_LAYERS = 5  # each is a whole pass over a layer, and their mean is all that is shown


@dataclass(frozen=True)
class ExpertSettings:
    """How sure the experts of a topic must be, and how many are kept.

    Attributes:
        shuffles: how many shuffles of the topics the control rests on, at least 1/fdr.
        resamples: bootstrap resamples of a topic's documents for the interval of the lift.
        fdr: the share of listed pairs that may be chance.
        least_effect: standard deviations of a document above the corpus from which a pair is listed.
        experts_per_topic: how many pairs to keep for a topic.
        documents_per_expert: how many documents to keep for a listed expert.
    """

    shuffles: int = 40
    resamples: int = 200
    fdr: float = 0.05
    # A large corpus makes sure of differences too small to matter; 0.2 is what Cohen (1988) calls small.
    least_effect: float = 0.2
    experts_per_topic: int = 12
    documents_per_expert: int = 5


def gather_routing_weights(blocks: Iterable[Embeddings], documents: int) -> NDArray[np.float16]:
    """Routing weights of a streamed corpus as one (N, L, E) float16 array, 2·N·L·E bytes.

    Args:
        blocks: the embeddings of the documents, in order, for example ``store.read_blocks(hashes, rows)``.
        documents: N.

    Raises:
        InputError: the blocks do not hold N documents.
    """
    weights: NDArray[np.float16] | None = None
    start = 0
    for block in blocks:
        if weights is None:
            weights = np.empty((documents, *block.router_logits.shape[1:]), dtype=np.float16)
        if start + len(block) > documents:
            raise InputError(f"Expected the embeddings of {documents} documents, got more than that.")
        weights[start : start + len(block)] = block.routing_weights
        start += len(block)
    if weights is None or start != documents:
        raise InputError(f"Expected the embeddings of {documents} documents, got {start}.")
    return weights


def find_experts(
    routing_weights: FloatArray,
    topics: Rows,
    *,
    rng: np.random.Generator,
    rows: Sequence[int] | Rows | None = None,
    settings: ExpertSettings | None = None,
) -> ExpertReport:
    """Finds the experts of every topic, and how much of the topics each layer's routing carries.

    A pair (layer, expert) is listed for a topic when its mean routing weight is above the corpus by more standard
    errors than the control allows. The control shuffles the topics over the documents, which keeps topic sizes and the
    experts' uneven load, and counts how many pairs pass then. The threshold is the lowest at which the expected share
    of chance among the listed pairs is at most ``settings.fdr`` (Tusher, Tibshirani and Chu 2001; here with one chance
    hit more than was seen, so that a corpus of pure noise lists anything in about a share ``fdr`` of cases only).

    Works layer by layer, so that memory beyond the input is about 12·N·E bytes, 8·K·L·E and 16·N per shuffle.

    Args:
        routing_weights: (N, L, E), each (document, layer) row sums to one, of different documents: a copy would count
            as evidence of its own. float16 will do; see :func:`gather_routing_weights`.
        topics: (N,) topic of every document. Outliers (-1) count as corpus and are no topic.
        rng: the source of shuffles and resamples.
        rows: (N,) the number of each document in the corpus, where these are not all of it.
        settings: how sure and how many; the defaults if None.

    Raises:
        InputError: shapes do not fit, the model has no routers, no document has a topic, or too few shuffles.
    """
    topics, settings = np.asarray(topics), settings or ExpertSettings()
    _check(routing_weights, topics, settings)
    labels = np.unique(topics[topics != OUTLIERS])
    numbers = np.where(topics == OUTLIERS, OUTLIERS, np.searchsorted(labels, topics))
    profile = _profile(routing_weights, numbers, len(labels), rng, settings.shuffles)
    threshold = _threshold(profile, settings)
    topic_experts = []
    for number, pairs in enumerate(_listed_pairs(profile, threshold, settings)):
        of_topic = np.flatnonzero(numbers == number)
        layer, expert = np.divmod(pairs, routing_weights.shape[2])
        values = np.asarray(routing_weights[of_topic[:, None], layer, expert], dtype=np.float32)
        lifts = _expert_lifts(profile, number, pairs, _bootstrap_interval(values, settings.resamples, rng))
        passed = 0 if threshold is None else int((_bins(profile.z[number]) >= round(threshold / Z_STEP)).sum())
        lift = _lift(profile.means[number], profile.corpus)
        topic_experts.append(TopicExperts(int(labels[number]), int(profile.counts[number]), passed, lifts, lift))
    # Cosines of the topics' routing above the corpus: a pair counts by how far it stands out, and not by its load.
    effects = _effects(profile).astype(np.float64)
    effects /= np.maximum(np.linalg.norm(effects, axis=1, keepdims=True), 1e-12)
    return ExpertReport(
        layers=routing_weights.shape[1],
        experts=routing_weights.shape[2],
        documents=len(topics),
        shuffles=settings.shuffles,
        fdr=settings.fdr,
        threshold=threshold,
        corpus=profile.corpus,
        topics=topic_experts,
        information=profile.information,
        similarity=effects @ effects.T,
        expert_documents=_heaviest_users(routing_weights, topic_experts, settings.documents_per_expert, rows),
    )


def _check(routing_weights: FloatArray, topics: Rows, settings: ExpertSettings) -> None:
    if routing_weights.ndim != 3 or topics.shape != routing_weights.shape[:1]:
        raise InputError(
            "Experts need routing weights (N, L, E) and one topic for each of the N documents, got "
            f"{routing_weights.shape} and {topics.shape}."
        )
    if routing_weights.size == 0:
        raise InputError(f"Experts need a model with routers, got routing weights of shape {routing_weights.shape}.")
    if not (topics != OUTLIERS).any():
        raise InputError("Every document is an outlier, so there is no topic to find experts for.")
    if not 0 < settings.fdr < 1 or settings.shuffles * settings.fdr < 1:
        raise InputError(f"A share of chance of {settings.fdr} takes at least 1/fdr shuffles, got {settings.shuffles}.")


@dataclass(frozen=True)
class _Profile:
    """What one pass over the layers leaves: (L, E) of the corpus, (K, L, E) of the topics, a histogram of chance."""

    corpus: Floats
    means: Floats
    z: Floats
    counts: Rows
    documents: int
    null: Rows
    information: Sequence[LayerInformation]


def _profile(
    routing_weights: FloatArray, numbers: Rows, topics: int, rng: np.random.Generator, shuffles: int
) -> _Profile:
    documents, layers, experts = routing_weights.shape
    counts = np.bincount(numbers[numbers >= 0], minlength=topics)
    member = membership(numbers, topics)
    shuffled = [rng.permutation(numbers) for _ in range(shuffles)]
    by_chance = [membership(control, topics) for control in shuffled]
    corpus = np.empty((layers, experts))
    means, z = np.empty((topics, layers, experts), np.float32), np.empty((topics, layers, experts), np.float32)
    null = np.zeros(round(Z_MAX / Z_STEP) + 1, dtype=np.int64)
    # The share of its variance that a mean keeps when it is drawn without replacement from so few documents.
    left = np.maximum(1 - counts / documents, 0.5 / documents)
    information = []
    for layer in range(layers):
        weights = np.asarray(routing_weights[:, layer], dtype=np.float32)
        corpus[layer] = weights.mean(axis=0, dtype=np.float64)
        centred = weights - corpus[layer].astype(np.float32)
        # A sum over a whole corpus: in float32 the last addends would no longer count.
        variance = np.einsum("ne,ne->e", centred, centred, dtype=np.float64) / max(documents - 1, 1)
        errors = np.sqrt(np.maximum(variance, 1e-20)[None] / counts[:, None] * left[:, None]).astype(np.float32)
        difference = (member @ centred) / counts[:, None]
        means[:, layer], z[:, layer] = difference + corpus[layer], difference / errors
        scale = 1 / (counts[:, None] * errors)
        for chance in by_chance:
            null += _histogram((chance @ centred) * scale)
        information.append(layer_information(layer, weights, numbers, shuffled[:SHUFFLES_OF_LAYERS]))
    return _Profile(corpus, means, z, counts, documents, null, information)


def _bins(z: Floats) -> Rows:
    return (np.clip(z, 0, Z_MAX) / Z_STEP).astype(np.int64).ravel()


def _histogram(z: Floats) -> Rows:
    return np.bincount(_bins(z), minlength=round(Z_MAX / Z_STEP) + 1)


def _threshold(profile: _Profile, settings: ExpertSettings) -> float | None:
    """The lowest z at which expected chance hits, one more than seen, are at most the share ``fdr`` of the hits."""
    hits = np.cumsum(_histogram(profile.z)[::-1])[::-1]
    # Without the one more, no chance hit in 40 shuffles would be taken for none ever.
    chance = (np.cumsum(profile.null[::-1])[::-1] + 1) / settings.shuffles
    good = (hits > 0) & (chance <= settings.fdr * hits)
    good[0] = False  # the first bin holds all that is at the mean or below
    return float(np.flatnonzero(good)[0] * Z_STEP) if good.any() else None


def _lift(means: Floats, corpus: Floats) -> Floats:
    """How many times the corpus' mean weight a topic gives; 1 for an expert that nothing in the corpus calls."""
    return np.asarray(np.divide(means, corpus, out=np.ones_like(means), where=corpus > 0))


def _effects(profile: _Profile) -> Floats:
    """(K, L·E) distance of a topic's mean from the corpus in standard deviations of a document."""
    left = np.maximum(1 - profile.counts / profile.documents, 0.5 / profile.documents)
    scale = np.sqrt(left / profile.counts)
    return np.asarray((profile.z * scale[:, None, None]).reshape(len(scale), -1))


def _listed_pairs(profile: _Profile, threshold: float | None, settings: ExpertSettings) -> list[Rows]:
    """Flat (layer, expert) numbers of every topic's strongest pairs above the threshold, by a cautious lift."""
    if threshold is None:
        return [np.empty(0, dtype=np.int64) for _ in profile.counts]
    topics = len(profile.counts)
    lift, z = _lift(profile.means, profile.corpus).reshape(topics, -1), profile.z.reshape(topics, -1)
    # Two standard errors less than seen: otherwise the lists begin with rare experts whose lift is large and unsure.
    cautious = 1 + (lift - 1) * np.maximum(1 - 2 / np.maximum(z, 1e-6), 0)
    cautious[
        (_bins(z).reshape(z.shape) < round(threshold / Z_STEP)) | (_effects(profile) < settings.least_effect)
    ] = -np.inf
    best = np.argsort(-cautious, axis=1, kind="stable")[:, : settings.experts_per_topic]
    return [row[np.isfinite(cautious[topic, row])] for topic, row in enumerate(best)]


def _bootstrap_interval(values: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """(2, P) ends of the 95 % percentile interval of the mean of each column of (n, P)."""
    documents = len(values)
    step = max(1, 4_000_000 // documents)  # 32 MB of counts at a time
    parts = [
        rng.multinomial(documents, np.full(documents, 1 / documents), size=min(step, resamples - start)) @ values
        for start in range(0, resamples, step)
    ]
    return np.asarray(np.quantile(np.concatenate(parts) / documents, [0.025, 0.975], axis=0))


def _expert_lifts(profile: _Profile, number: int, pairs: Rows, interval: Floats) -> list[ExpertLift]:
    corpus, means, z = (values.ravel()[pairs] for values in (profile.corpus, profile.means[number], profile.z[number]))
    low, high = interval / corpus
    layer, expert = np.divmod(pairs, profile.corpus.shape[1])
    effect = _effects(profile)[number, pairs]
    columns = (means.round(5), (means / corpus).round(3), low.round(3), high.round(3), z.round(2), effect.round(2))
    rows = zip(*(column.astype(float).tolist() for column in columns), strict=True)
    return [ExpertLift(int(at), int(which), *row) for at, which, row in zip(layer, expert, rows, strict=True)]


def _heaviest_users(
    routing_weights: FloatArray,
    topics: Sequence[TopicExperts],
    documents: int,
    rows: Sequence[int] | Rows | None,
) -> list[ExpertDocuments]:
    """The documents with the most weight on each expert that is listed for a topic."""
    users = []
    numbers = np.arange(len(routing_weights)) if rows is None else np.asarray(rows)
    for layer, expert in sorted({(pair.layer, pair.expert) for topic in topics for pair in topic.experts}):
        weights = np.asarray(routing_weights[:, layer, expert], dtype=np.float32)
        heaviest = np.argsort(-weights, kind="stable")[:documents]
        shares = [round(float(weight), 4) for weight in weights[heaviest]]
        users.append(ExpertDocuments(layer, expert, numbers[heaviest].tolist(), shares))
    return users
