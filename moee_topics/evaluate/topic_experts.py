"""Which experts fire for which topic, with what chance alone would show kept out.

A mixture-of-experts router never spreads a corpus evenly: load balancing is imperfect, so some experts get more weight
on every text. A topic's expert is one that gets more weight on the topic's documents than on the corpus as a whole, by
more than a random set of as many documents would show. In a run folder the answer is ``experts.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from moee_topics.embeddings import Embeddings, FloatArray
from moee_topics.errors import InputError
from moee_topics.store import write_text

Floats = NDArray[np.floating]
Rows = NDArray[np.integer]

OUTLIERS = -1
Z_STEP = 0.02
Z_MAX = 100.0
ROWS_PER_BLOCK = 16_384


@dataclass(frozen=True)
class ExpertLift:
    """One expert of one topic.

    Attributes:
        layer: the MoE layer, from 0.
        expert: the expert of that layer, from 0.
        weight: mean routing weight on the topic's documents.
        lift: that weight over the mean of the whole corpus.
        low: lower end of the 95 % bootstrap interval of the lift.
        high: upper end of it.
        z: standard errors above the mean of a random set of as many documents.
        effect: how far the topic's mean is above the corpus, in standard deviations of a document.
    """

    layer: int
    expert: int
    weight: float
    lift: float
    low: float
    high: float
    z: float
    effect: float


@dataclass(frozen=True)
class TopicExperts:
    """The experts of one topic.

    Attributes:
        topic: its id.
        count: number of documents.
        significant: how many (layer, expert) pairs pass the false discovery control.
        experts: those of them with the required effect, the strongest by a cautious estimate of the lift first.
        lift: (L, E) lift of every pair, significant or not.
    """

    topic: int
    count: int
    significant: int
    experts: Sequence[ExpertLift]
    lift: Floats


@dataclass(frozen=True)
class LayerInformation:
    """How much of the topics one layer's routing carries, each number beside its value for shuffled topics.

    Attributes:
        layer: the MoE layer, from 0.
        information: mutual information of the most weighted expert and the topic, over the entropy of the topics.
        information_shuffled: the same with the topics shuffled, the mean of several shuffles.
        recovered: share of held-out documents whose topic has the nearest mean routing in this layer.
        recovered_shuffled: the same with the topics shuffled.
        balance: entropy of the layer's mean routing weights over its maximum; 1 is an even load.
    """

    layer: int
    information: float
    information_shuffled: float
    recovered: float
    recovered_shuffled: float
    balance: float


@dataclass(frozen=True)
class ExpertDocuments:
    """The documents that put the most weight on one expert.

    Attributes:
        layer: the MoE layer, from 0.
        expert: the expert of that layer, from 0.
        rows: row numbers of documents, the heaviest user first.
        weights: their routing weights on it.
    """

    layer: int
    expert: int
    rows: Sequence[int]
    weights: Sequence[float]


@dataclass(frozen=True)
class ExpertReport:
    """What routing says about the topics of a corpus; ``experts.json`` of a run folder.

    Attributes:
        layers: L.
        experts: E.
        documents: N.
        shuffles: how many shuffles of the topics the control rests on.
        fdr: the share of listed pairs that may be chance.
        threshold: the z above which a pair counts; None where no pair passes.
        corpus: (L, E) mean routing weight over all documents, outliers included.
        topics: the experts of every topic, by topic id, outliers left out.
        information: what every layer's routing carries.
        similarity: (K, K) cosine of the topics' centred routing profiles, in the order of `topics`.
        expert_documents: the heaviest users of the experts that are listed for a topic.
    """

    layers: int
    experts: int
    documents: int
    shuffles: int
    fdr: float
    threshold: float | None
    corpus: Floats
    topics: Sequence[TopicExperts]
    information: Sequence[LayerInformation]
    similarity: Floats
    expert_documents: Sequence[ExpertDocuments]

    def to_json(self) -> dict[str, Any]:
        """Plain data with numbers rounded to what they are worth."""
        plain = {name: getattr(self, name) for name in ("layers", "experts", "documents", "shuffles", "fdr")}
        return plain | {
            "threshold": self.threshold,
            "corpus": _rounded(self.corpus, 6),
            "topics": [_topic_to_json(topic) for topic in self.topics],
            "information": [asdict(layer) for layer in self.information],
            "similarity": _rounded(self.similarity, 3),
            "expert_documents": [asdict(documents) for documents in self.expert_documents],
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> ExpertReport:
        """Reads what :meth:`to_json` wrote.

        Raises:
            InputError: it is something else.
        """
        try:
            return _from_json(plain)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"This is no expert report ({error!r}). Fit the run again to write experts.json."
            ) from error

    def save(self, path: Path) -> None:
        """Writes the report as compact JSON."""
        write_text(path, json.dumps(self.to_json(), separators=(",", ":")))

    @classmethod
    def load(cls, path: Path) -> ExpertReport:
        """Reads what :meth:`save` wrote.

        Raises:
            InputError: the file is missing or is something else.
        """
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, json.JSONDecodeError) as error:
            raise InputError(f"{path} cannot be read as an expert report: {error}") from error


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
    shuffles: int = 40,
    resamples: int = 200,
    fdr: float = 0.05,
    least_effect: float = 0.2,
    experts_per_topic: int = 12,
    documents_per_expert: int = 5,
) -> ExpertReport:
    """Finds the experts of every topic, and how much of the topics each layer's routing carries.

    A pair (layer, expert) is listed for a topic when its mean routing weight is above the corpus by more standard
    errors than the control allows. The control shuffles the topics over the documents, which keeps topic sizes and the
    experts' uneven load, and counts how many pairs pass then. The threshold is the lowest at which the expected share
    of chance among the listed pairs is at most `fdr` (Tusher, Tibshirani and Chu 2001; here with one chance hit more
    than was seen, so that a corpus of pure noise lists anything in about a share `fdr` of cases only).

    Works layer by layer, so that memory beyond the input is about 12·N·E bytes, 8·K·L·E and 16·N per shuffle.

    Args:
        routing_weights: (N, L, E), each (document, layer) row sums to one. float16 will do; see
            :func:`gather_routing_weights`.
        topics: (N,) topic of every document. Outliers (-1) count as corpus and are no topic.
        rng: the source of shuffles and resamples.
        shuffles: how many shuffles of the topics the control rests on, at least 1/fdr.
        resamples: bootstrap resamples of a topic's documents for the interval of the lift.
        fdr: the share of listed pairs that may be chance.
        least_effect: standard deviations of a document above the corpus from which a pair is listed; a large corpus
            makes sure of differences too small to matter, and 0.2 is what Cohen (1988) calls small.
        experts_per_topic: how many pairs to keep for a topic.
        documents_per_expert: how many documents to keep for a listed expert.

    Raises:
        InputError: shapes do not fit, the model has no routers, no document has a topic, or too few shuffles.
    """
    topics = np.asarray(topics)
    _check(routing_weights, topics, shuffles, fdr)
    labels, of_topic = _topic_numbers(topics)
    profile = _profile(routing_weights, of_topic, len(labels), rng, shuffles)
    threshold = _threshold(profile.z, profile.null, shuffles, fdr)
    found = []
    for number, pairs in enumerate(_listed_pairs(profile, threshold, least_effect, experts_per_topic)):
        rows = np.flatnonzero(of_topic == number)
        interval = _bootstrap_interval(_columns(routing_weights, rows, pairs), resamples, rng)
        lifts = _expert_lifts(profile, number, pairs, interval)
        found.append(_topic_experts(profile, number, int(labels[number]), lifts, threshold))
    return ExpertReport(
        layers=routing_weights.shape[1],
        experts=routing_weights.shape[2],
        documents=len(topics),
        shuffles=shuffles,
        fdr=fdr,
        threshold=threshold,
        corpus=profile.corpus,
        topics=found,
        information=profile.information,
        similarity=_similarity(profile),
        expert_documents=_heaviest_users(routing_weights, found, documents_per_expert),
    )


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


def _check(routing_weights: FloatArray, topics: Rows, shuffles: int, fdr: float) -> None:
    if routing_weights.ndim != 3 or topics.shape != routing_weights.shape[:1]:
        raise InputError(
            "Experts need routing weights (N, L, E) and one topic for each of the N documents, got "
            f"{routing_weights.shape} and {topics.shape}."
        )
    if routing_weights.size == 0:
        raise InputError(f"Experts need a model with routers, got routing weights of shape {routing_weights.shape}.")
    if not (topics != OUTLIERS).any():
        raise InputError("Every document is an outlier, so there is no topic to find experts for.")
    if not 0 < fdr < 1 or shuffles * fdr < 1:
        raise InputError(f"A share of chance of {fdr} takes at least 1/fdr shuffles, got {shuffles}.")


def _topic_numbers(topics: Rows) -> tuple[Rows, Rows]:
    """The topic ids in order, and every document's place among them; outliers keep -1."""
    labels = np.unique(topics[topics != OUTLIERS])
    numbers = np.searchsorted(labels, topics)
    numbers[topics == OUTLIERS] = OUTLIERS
    return labels, numbers


def _one_hot(numbers: Rows, topics: int) -> sparse.csr_matrix:
    """(K, N) membership; documents numbered -1 belong nowhere."""
    rows = np.flatnonzero(numbers >= 0)
    ones = np.ones(len(rows), dtype=np.float32)
    return sparse.csr_matrix((ones, (numbers[rows].astype(np.int32), rows.astype(np.int32))), (topics, len(numbers)))


def _profile(
    routing_weights: FloatArray, numbers: Rows, topics: int, rng: np.random.Generator, shuffles: int
) -> _Profile:
    _, layers, experts = routing_weights.shape
    counts = np.bincount(numbers[numbers >= 0], minlength=topics)
    member = _one_hot(numbers, topics)
    shuffled = [rng.permutation(numbers) for _ in range(shuffles)]
    by_chance = [_one_hot(control, topics) for control in shuffled]
    corpus = np.empty((layers, experts))
    means, z = np.empty((topics, layers, experts), np.float32), np.empty((topics, layers, experts), np.float32)
    null = np.zeros(round(Z_MAX / Z_STEP) + 1, dtype=np.int64)
    information = []
    for layer in range(layers):
        weights = np.asarray(routing_weights[:, layer], dtype=np.float32)
        corpus[layer] = weights.mean(axis=0, dtype=np.float64)
        centred = weights - corpus[layer].astype(np.float32)
        errors = _standard_errors(centred, counts)
        difference = (member @ centred) / counts[:, None]
        means[:, layer], z[:, layer] = difference + corpus[layer], difference / errors
        scale = 1 / (counts[:, None] * errors)
        for chance in by_chance:
            null += _histogram((chance @ centred) * scale)
        information.append(_layer_information(layer, weights, corpus[layer], numbers, shuffled[:5]))
    return _Profile(corpus, means, z, counts, len(numbers), null, information)


def _standard_errors(centred: Floats, counts: Rows) -> Floats:
    """(K, E) standard error of the mean of as many documents drawn without replacement from the corpus."""
    documents = len(centred)
    variance = np.einsum("ne,ne->e", centred, centred, dtype=np.float64) / max(documents - 1, 1)
    left = np.maximum(1 - counts / documents, 0.5 / documents)
    return np.asarray(np.sqrt(np.maximum(variance, 1e-20)[None] / counts[:, None] * left[:, None]), dtype=np.float32)


def _bins(z: Floats) -> Rows:
    return (np.clip(z, 0, Z_MAX) / Z_STEP).astype(np.int64).ravel()


def _histogram(z: Floats) -> Rows:
    return np.bincount(_bins(z), minlength=round(Z_MAX / Z_STEP) + 1)


def _threshold(z: Floats, null: Rows, shuffles: int, fdr: float) -> float | None:
    """The lowest z at which expected chance hits, one more than seen, are at most `fdr` of the hits."""
    hits = np.cumsum(_histogram(z)[::-1])[::-1]
    chance = (np.cumsum(null[::-1])[::-1] + 1) / shuffles
    good = (hits > 0) & (chance <= fdr * hits)
    good[0] = False
    if not good.any():
        return None
    return float(np.flatnonzero(good)[0] * Z_STEP)


def _effects(profile: _Profile) -> Floats:
    """(K, L·E) distance of a topic's mean from the corpus in standard deviations of a document."""
    left = np.maximum(1 - profile.counts / profile.documents, 0.5 / profile.documents)
    scale = np.sqrt(left / profile.counts)
    return np.asarray((profile.z * scale[:, None, None]).reshape(len(scale), -1))


def _listed_pairs(profile: _Profile, threshold: float | None, least_effect: float, limit: int) -> list[Rows]:
    """Flat (layer, expert) numbers of every topic's strongest pairs above the threshold, by lift."""
    if threshold is None:
        return [np.empty(0, dtype=np.int64) for _ in profile.counts]
    topics = len(profile.counts)
    lift, z = (profile.means / profile.corpus).reshape(topics, -1), profile.z.reshape(topics, -1)
    cautious = 1 + (lift - 1) * np.maximum(1 - 2 / np.maximum(z, 1e-6), 0)
    cautious[(_bins(z).reshape(z.shape) < round(threshold / Z_STEP)) | (_effects(profile) < least_effect)] = -np.inf
    best = np.argsort(-cautious, axis=1, kind="stable")[:, :limit]
    return [row[np.isfinite(cautious[topic, row])] for topic, row in enumerate(best)]


def _columns(routing_weights: FloatArray, rows: Rows, pairs: Rows) -> Floats:
    """(n, P) weights of some documents on some flat (layer, expert) pairs."""
    layer, expert = np.divmod(pairs, routing_weights.shape[2])
    return np.asarray(routing_weights[rows[:, None], layer, expert], dtype=np.float32)


def _expert_lifts(profile: _Profile, number: int, pairs: Rows, interval: Floats) -> list[ExpertLift]:
    corpus, means, z = (values.ravel()[pairs] for values in (profile.corpus, profile.means[number], profile.z[number]))
    low, high = interval / corpus
    layer, expert = np.divmod(pairs, profile.corpus.shape[1])
    effect = _effects(profile)[number, pairs]
    columns = (means.round(5), (means / corpus).round(3), low.round(3), high.round(3), z.round(2), effect.round(2))
    rows = zip(*(column.astype(float).tolist() for column in columns), strict=True)
    return [ExpertLift(int(at), int(which), *row) for at, which, row in zip(layer, expert, rows, strict=True)]


def _topic_experts(
    profile: _Profile, number: int, topic: int, experts: Sequence[ExpertLift], threshold: float | None
) -> TopicExperts:
    passed = 0 if threshold is None else int((_bins(profile.z[number]) >= round(threshold / Z_STEP)).sum())
    return TopicExperts(topic, int(profile.counts[number]), passed, experts, profile.means[number] / profile.corpus)


def _bootstrap_interval(values: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """(2, P) ends of the 95 % percentile interval of the mean of each column of (n, P)."""
    documents = len(values)
    step = max(1, 4_000_000 // documents)
    parts = [
        rng.multinomial(documents, np.full(documents, 1 / documents), size=min(step, resamples - start)) @ values
        for start in range(0, resamples, step)
    ]
    return np.asarray(np.quantile(np.concatenate(parts) / documents, [0.025, 0.975], axis=0))


def _layer_information(
    layer: int, weights: Floats, corpus: Floats, numbers: Rows, shuffled: Sequence[Rows]
) -> LayerInformation:
    top = weights.argmax(axis=1)
    return LayerInformation(
        layer=layer,
        information=round(_information(top, numbers), 4),
        information_shuffled=round(float(np.mean([_information(top, control) for control in shuffled])), 4),
        recovered=round(_recovered(weights, numbers), 4),
        recovered_shuffled=round(float(np.mean([_recovered(weights, control) for control in shuffled])), 4),
        balance=round(_entropy(corpus) / np.log(max(len(corpus), 2)), 4),
    )


def _entropy(weights: Floats) -> float:
    shares = weights[weights > 0] / weights.sum()
    return float(-(shares * np.log(shares)).sum())


def _information(top: Rows, numbers: Rows) -> float:
    """Mutual information of expert and topic over the topics' entropy, documents with a topic only; 0 for one topic."""
    inside = numbers >= 0
    table = np.zeros((int(top.max()) + 1, int(numbers.max()) + 1))
    np.add.at(table, (top[inside], numbers[inside]), 1)
    of_topic = _entropy(table.sum(axis=0))
    shared = _entropy(table.sum(axis=1)) + of_topic - _entropy(table.ravel())
    return max(shared, 0.0) / of_topic if of_topic > 0 else 0.0


def _recovered(weights: Floats, numbers: Rows) -> float:
    """Share of every other document whose topic's mean routing, over the rest, is nearest (square roots: Hellinger)."""
    inside = np.flatnonzero(numbers >= 0)
    fit, held = inside[::2], inside[1::2]
    if len(held) == 0:
        return 0.0
    roots = np.sqrt(np.maximum(weights, 0))
    topics = int(numbers.max()) + 1
    counts = np.bincount(numbers[fit], minlength=topics)
    centres = (_one_hot(numbers[fit], topics) @ roots[fit]) / np.maximum(counts, 1)[:, None]
    penalty = np.where(counts > 0, (centres**2).sum(axis=1), np.inf)
    hits = 0
    for start in range(0, len(held), ROWS_PER_BLOCK):
        rows = held[start : start + ROWS_PER_BLOCK]
        hits += int(((penalty - 2 * roots[rows] @ centres.T).argmin(axis=1) == numbers[rows]).sum())
    return hits / len(held)


def _similarity(profile: _Profile) -> Floats:
    """(K, K) cosines of the topics' routing above the corpus.

    A pair counts by how far it stands out in units of its spread over the corpus, not by its load.
    """
    centred = _effects(profile).astype(np.float64)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    return np.asarray(centred @ centred.T)


def _heaviest_users(
    routing_weights: FloatArray, topics: Sequence[TopicExperts], documents: int
) -> list[ExpertDocuments]:
    pairs = sorted({(pair.layer, pair.expert) for topic in topics for pair in topic.experts})
    return [_heaviest_users_of(routing_weights, layer, expert, documents) for layer, expert in pairs]


def _heaviest_users_of(routing_weights: FloatArray, layer: int, expert: int, documents: int) -> ExpertDocuments:
    weights = np.asarray(routing_weights[:, layer, expert], dtype=np.float32)
    rows = np.argsort(-weights, kind="stable")[:documents]
    return ExpertDocuments(layer, expert, [int(row) for row in rows], [round(float(weights[row]), 4) for row in rows])


def _rounded(values: Floats, digits: int) -> Any:
    return np.round(np.asarray(values, dtype=np.float64), digits).tolist()


def _topic_to_json(topic: TopicExperts) -> dict[str, Any]:
    return {
        "topic": topic.topic,
        "count": topic.count,
        "significant": topic.significant,
        "experts": [asdict(expert) for expert in topic.experts],
        "lift": _rounded(topic.lift, 2),
    }


def _from_json(plain: Mapping[str, Any]) -> ExpertReport:
    topics = [
        TopicExperts(
            topic=topic["topic"],
            count=topic["count"],
            significant=topic["significant"],
            experts=[ExpertLift(**expert) for expert in topic["experts"]],
            lift=np.asarray(topic["lift"]),
        )
        for topic in plain["topics"]
    ]
    numbers = {name: plain[name] for name in ("layers", "experts", "documents", "shuffles", "fdr", "threshold")}
    return ExpertReport(
        **numbers,
        corpus=np.asarray(plain["corpus"]),
        topics=topics,
        information=[LayerInformation(**layer) for layer in plain["information"]],
        similarity=np.asarray(plain["similarity"]),
        expert_documents=[ExpertDocuments(**documents) for documents in plain["expert_documents"]],
    )
