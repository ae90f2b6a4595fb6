"""How far new documents are from those of a fit: by distance, by neighbours, by topics and by routing.

Each figure stands beside what it would be were the new documents drawn as the old ones were: without drift 5 % are
"unlike anything before", since 5 % of the old documents are as far from all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from moee_topics.defaults import FAR, OUTLIERS
from moee_topics.errors import InputError
from moee_topics.evaluate.wilson import Z_99, wilson_interval

Floats = NDArray[np.floating]
Topics = NDArray[np.int64]
Advice = Literal["none", "grow", "refit"]

SURE = 2.0
"""Standard errors from which on a topic's share is called another."""

QUANTILE, DRAWS = 0.95, 200
FEWEST = 30
"""New documents below which nothing is advised: a share of so few says little."""

GROW_NEIGHBOURS, REFIT_MOVED = 1.1, 0.3
"""The least effects that are worth an advice (docs/updates.md)."""

# Chance explains 95 draws in 100: each figure alone would advise something after every twentieth update without drift.
# Routing moved by up to 2.6 times that where half or fewer of the old subjects came, by 3 or more where all were new.
BEYOND_NEIGHBOURS, BEYOND_MOVED, BEYOND_ROUTING = 2.0, 1.5, 3.0
"""How many times as far away from what is expected as chance explains a figure must be for an advice."""


@dataclass(frozen=True)
class Against:
    """A figure, and what chance gives: of draws from old and new documents alike, 95 % are below ``chance``."""

    value: float
    chance: float

    def is_beyond(self, times: float = 1.0, *, expected: float = 0.0) -> bool:
        """Whether the value is more than so many times as far above what is expected as chance explains."""
        return self.value - expected > times * (self.chance - expected)


@dataclass(frozen=True)
class TopicShare:
    """A topic's share of the old and of the new documents, and how many standard errors lie between the two."""

    topic: int
    before: float
    now: float
    z: float


@dataclass(frozen=True)
class Drift:
    """How new documents differ from old ones.

    Attributes:
        documents: new ones.
        far: the share of them that is farther from all old ones than all but 5 % of these are from each other.
        far_low: the lower end of its 99 % interval (Wilson's).
        neighbours: how often their nearest documents are new ones, over how often chance alone would have it so.
        moved: half the sum of what the shares of topics differ by: 0 the same topics, 1 none in common.
        topics: shares of topics, the surest change first.
        routing: mean over layers of the same, of the experts' routing weights; None without routing.
        topic_routing: the same for each topic with enough new documents.
        advice: what to do.
        reasons: the sentences behind it.
    """

    documents: int
    far: float
    far_low: float
    neighbours: Against
    moved: Against
    topics: Sequence[TopicShare]
    routing: Against | None
    topic_routing: dict[int, Against]
    advice: Advice = "none"
    reasons: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data, numbers to four places."""
        plain = asdict(self)
        plain["topic_routing"] = {str(topic): asdict(one) for topic, one in self.topic_routing.items()}
        return dict(_rounded(plain))


def far_documents(own: Floats, new: Floats) -> NDArray[np.bool_]:
    """(n,) whether each new document is far: farther from the nearest old one than all but 5 % of the old ones are.

    Args:
        own: (R,) cosine of each old document and the nearest of the others: held out, one by one.
        new: (n,) cosine of each new document and its nearest old one.
    """
    return np.asarray(new < float(np.quantile(own, FAR)))


def far_share(own: Floats, new: Floats) -> tuple[float, float]:
    """The share of :func:`far_documents` among new ones, and the lower end of its 99 % interval."""
    share = float(np.mean(far_documents(own, new)))
    # The limit is of a sample too: the difference of two shares varies as one share of so many documents does.
    count = max(1, len(own) * len(new) // (len(own) + len(new)))
    return share, wilson_interval(share, count, Z_99)[0]


def neighbour_ratio(neighbours: NDArray[np.int64], is_new: NDArray[np.bool_], rng: np.random.Generator) -> Against:
    """How often the nearest documents of a new one are new, over how often they were had new ones been drawn at random.

    The two-sample test of Schilling (1986, doi:10.1080/01621459.1986.10478337), on the neighbours of new documents.

    Args:
        neighbours: (N, k) the nearest others of every document.
        is_new: (N,) which are new.
        rng: draws the permutations.

    Returns:
        0 where no new document is left: each has the very vector of an old one, as where a model reads only the
        beginnings of both.
    """
    if not neighbours[is_new].size:
        return Against(0.0, 0.0)

    def share(marked: NDArray[np.bool_]) -> float:
        return float(marked[neighbours[marked]].mean())

    expected = (is_new.sum() - 1) / max(1, len(is_new) - 1) or 1.0
    by_chance = [share(rng.permutation(is_new)) for _ in range(DRAWS)]
    return Against(share(is_new) / expected, float(np.quantile(by_chance, QUANTILE)) / expected)


def topic_shares(before: Topics, now: Topics, rng: np.random.Generator) -> tuple[Against, list[TopicShare]]:
    """How far the topics of new documents (n,) differ from those of old ones (N,), outliers as one topic."""
    numbers = np.union1d(before, now)
    old, new = (np.array([(topics == number).mean() for number in numbers]) for topics in (before, now))
    pooled = (old * len(before) + new * len(now)) / (len(before) + len(now))
    draws = (rng.multinomial(size, pooled, DRAWS) / size for size in (len(before), len(now)))
    by_chance = np.abs(np.subtract(*draws)).sum(axis=1) / 2
    error = np.sqrt(pooled * (1 - pooled) * (1 / len(before) + 1 / len(now)))
    z = (new - old) / np.maximum(error, 1e-12)
    shares = [
        TopicShare(int(topic), float(was), float(is_), float(sure))
        for topic, was, is_, sure in zip(numbers, old, new, z, strict=True)
    ]
    moved = Against(float(np.abs(new - old).sum() / 2), float(np.quantile(by_chance, QUANTILE)))
    return moved, sorted(shares, key=lambda share: -abs(share.z))


def routing_distance(weights: Floats, is_new: NDArray[np.bool_], rng: np.random.Generator) -> Against:
    """Half the sum of what mean routing weights of old and new documents differ by, the mean over layers.

    Args:
        weights: (N, L, E) of every document.
        is_new: (N,) which are new.
        rng: draws the permutations.
    """
    # Of a layer the weights of all experts are a share of 1; where some are left out it is what is there.
    flat = weights.reshape(len(weights), -1).astype(np.float32)

    def distance(marked: NDArray[np.bool_]) -> float:
        rows = marked.astype(np.float32)
        inside = rows @ flat / max(rows.sum(), 1)
        outside = (1 - rows) @ flat / max((1 - rows).sum(), 1)
        return float(np.abs(inside - outside).sum() / (2 * weights.shape[1]))

    by_chance = [distance(rng.permutation(is_new)) for _ in range(DRAWS // 4)]
    return Against(distance(is_new), float(np.quantile(by_chance, QUANTILE)))


def find_drift(
    own: Floats,
    nearest: Floats,
    neighbours: NDArray[np.int64],
    neighbours_new: NDArray[np.bool_],
    topics: Topics,
    is_new: NDArray[np.bool_],
    weights: Floats | None,
    *,
    seed: int,
) -> Drift:
    """How the new of some documents differ from the old ones, and what to do.

    Args:
        own: (R,) cosine of each old document and the nearest of the other old ones.
        nearest: (n,) cosine of each new document and its nearest old one.
        neighbours: (R, k) the nearest others of every different document, old or new, as places among them.
        neighbours_new: (R,) which of these are new.
        topics: (N,) topics of all.
        is_new: (N,) which are new.
        weights: (N, L, E) routing weights of all, where there are any.
        seed: of what chance is.

    Raises:
        InputError: there are no new documents, or no old ones.
    """
    if not is_new.any() or is_new.all():
        raise InputError("Drift is of new documents beside old ones; there must be some of both.")
    rng = np.random.default_rng(seed)
    far, low = far_share(own, nearest)
    moved, shares = topic_shares(topics[~is_new], topics[is_new], rng)
    routing, of_topics = None, dict[int, Against]()
    if weights is not None:
        routing = routing_distance(weights, is_new, rng)
        for topic in np.unique(topics[topics != OUTLIERS]).tolist():
            rows = topics == topic
            if min(is_new[rows].sum(), (~is_new[rows]).sum()) >= FEWEST:
                of_topics[topic] = routing_distance(weights[rows], is_new[rows], rng)
    drift = Drift(
        int(is_new.sum()), far, low, neighbour_ratio(neighbours, neighbours_new, rng), moved, shares, routing, of_topics
    )
    advice, reasons = advise(drift)
    return replace(drift, advice=advice, reasons=reasons)


def advise(drift: Drift) -> tuple[Advice, list[str]]:
    """What to do about drift, and why; nothing where chance may explain it or the new documents are few."""
    advice: Advice = "none"
    reasons = []
    is_unlike = drift.far_low > FAR
    if is_unlike:
        advice = "grow"  # however many: a new subject that comes by itself is far too, and old topics still hold
        reasons.append(f"{drift.far:.0%} of the new documents are unlike anything before, where {FAR:.0%} would be")
    lie_together = drift.neighbours.is_beyond(BEYOND_NEIGHBOURS, expected=1.0)
    if lie_together and drift.neighbours.value >= GROW_NEIGHBOURS:
        advice = "grow"
        reasons.append(
            f"the nearest of a new document are new {drift.neighbours.value:.1f} times as often as by chance"
        )
    # Shares alone move as much where some old subjects do not come, and old topics fit the others as well as before.
    if is_unlike and drift.moved.is_beyond(BEYOND_MOVED) and drift.moved.value >= REFIT_MOVED:
        advice = "refit"
        reasons.append(
            f"{drift.moved.value:.0%} of the documents would have to change topics for the shares to be as before, "
            f"where chance explains {drift.moved.chance:.0%}"
        )
    # Its multiple of chance grows with the number of documents, so that it too asks for nothing by itself.
    if is_unlike and drift.routing and drift.routing.is_beyond(BEYOND_ROUTING):
        advice = "refit"
        reasons.append(
            f"experts are used otherwise: {drift.routing.value:.1%} of the routing weight is elsewhere, where chance "
            f"explains {drift.routing.chance:.1%}"
        )
    return ("none", []) if drift.documents < FEWEST else (advice, reasons)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value
