"""New topics among the documents that fit no old one, and a place on the old map for every new document."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from moee_topics.defaults import FAR
from moee_topics.topics.clustering import build_hdbscan, build_umap
from moee_topics.topics.duplicate_rows import distinct_rows
from moee_topics.topics.result import OUTLIERS
from moee_topics.topics.settings import HDBSCAN_DEFAULTS, FitSettings
from moee_topics.topics.voters import Voters

Matrix = NDArray[np.floating]
Topics = NDArray[np.int64]

HOLDS, CROWDED = 0.5, 1 / 8


def places_on_map(voters: Voters, positions: NDArray[np.float32], X: Matrix) -> NDArray[np.float32]:
    """(n, 2) a place for each new document among its nearest documents of the fit, those weighing by their cosine.

    The UMAP of the map is not kept with a run, as it could be saved by pickle alone.

    Args:
        voters: of the fit.
        positions: (N, 2) the places of its documents.
        X: (n, d) vectors of the new ones.
    """
    return places_among(positions[voters.rows], *voters.nearest(X))


def places_among(
    positions: NDArray[np.float32], nearest: NDArray[np.int64], cosines: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(n, 2) the mean place of the nearest of each document, those weighing by their cosine.

    Args:
        positions: (R, 2) the places of the voters.
        nearest: (n, k) which of them are near.
        cosines: (n, k) how near.
    """
    weights = np.maximum(cosines, 1e-6)[:, :, None]
    mean = (positions[nearest] * weights).sum(axis=1) / weights.sum(axis=1)
    return np.asarray(mean, dtype=np.float32)


def crowded_documents(X: Matrix, is_new: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N,) which new documents have so many new ones among their nearest of all as chance gives to one in eight.

    Documents of a subject that nobody wrote about before need not be far from all others, but are near each other: of
    newsgroups that came late, 2 to 20 % of the posts were far and 25 to 50 % were crowded (benchmarks/updates.py).
    """
    voters = Voters.fit(X, is_new.astype(np.int64))
    places, _ = voters.nearest(voters.vectors, own=True)
    near = is_new[voters.rows][places].sum(axis=1)
    # Two at least: in a large corpus one new neighbour among five is rarer than that, and says nothing.
    least = next(many for many in range(2, 99) if binom.sf(many - 1, places.shape[1], is_new.mean()) <= CROWDED)
    crowded = np.zeros(len(X), dtype=bool)
    crowded[voters.rows] = near >= least
    return crowded & is_new


def grown_topics(
    X: Matrix,
    topics: Topics,
    candidates: NDArray[np.int64],
    is_new: NDArray[np.bool_],
    settings: FitSettings,
    next_topic: int,
) -> Topics:
    """(N,) topics after some documents were clustered by themselves; a cluster that holds is a new topic.

    Every document is asked which topic its nearest of all documents vote for. A cluster holds where it is confirmed
    by half of its documents, which alone move, and where its median document has one as near as all but a few
    documents of old topics have. New documents whose nearest are in such a topic then join it.

    Args:
        X: (N, d) vectors of all documents.
        topics: (N,) their topics.
        candidates: rows of the documents that may make new topics.
        is_new: (N,) the documents whose topic is not settled yet.
        settings: UMAP and HDBSCAN, as for a fit.
        next_topic: the id of the first new topic; the largest comes first.
    """
    smallest = int(settings.hdbscan.get("min_cluster_size", HDBSCAN_DEFAULTS["min_cluster_size"]))
    first_row, which = distinct_rows(X[candidates])
    # HDBSCAN takes a whole for no cluster, and UMAP needs a few more than its dimensions.
    if len(first_row) < max(2 * smallest, 8):
        return topics
    places = build_umap(settings, len(first_row)).fit_transform(X[candidates])
    labels = np.asarray(build_hdbscan(settings).fit(places).labels_, dtype=np.int64)
    numbers, sizes = np.unique(labels[labels != OUTLIERS], return_counts=True)
    grown, first = topics.copy(), int(topics.max(initial=-1)) + 1
    grown[candidates] = np.where(labels == OUTLIERS, topics[candidates], first + labels)
    voters, born = Voters.fit(X, grown, seed=settings.seed), topics.copy()
    agrees, close = np.ones(len(X), dtype=bool), np.full(len(X), np.nan)
    own, voted = voters.leave_one_out(most=len(voters.rows))
    agrees[voters.rows] = own == voted
    # UMAP and HDBSCAN find clusters in pure noise, which the votes confirm: its documents lie far apart all the same.
    close[voters.rows] = voters.nearest(voters.vectors, own=True)[1].max(axis=1)
    of_topics = close[(topics != OUTLIERS) & np.isfinite(close)]
    least = float(np.quantile(of_topics, FAR)) if len(of_topics) else -1.0
    agrees_here = agrees[candidates[first_row]][which]
    for number in numbers[np.argsort(-sizes, kind="stable")].tolist():
        inside = labels == number
        members = candidates[agrees_here & inside]
        if agrees_here[inside].mean() >= HOLDS and len(members) >= smallest and np.nanmedian(close[members]) >= least:
            born[members] = next_topic
            next_topic += 1
    voters = Voters.fit(X, born, seed=settings.seed)
    voted = born.copy()
    voted[voters.rows] = voters.leave_one_out(most=len(voters.rows))[1]
    return np.where(is_new & np.isin(voted, np.setdiff1d(born, topics)), voted, born)
