"""What is remembered of new documents while they go by, to say how they differ from those of a fit."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from moee_topics.evaluate import Drift, find_drift
from moee_topics.topics import Voters

SAMPLE = 5_000
"""Old documents, and new ones, that are compared; distances grow with the square of them."""


class NewDocuments:
    """The topics of all that went by, and the vectors of a random part, so that memory does not grow with them."""

    def __init__(self, voters: Voters, own: NDArray[np.floating], fitted: NDArray[np.int64], seed: int) -> None:
        """Takes the fit that they are compared with.

        Args:
            voters: its documents, with vectors as those that will come.
            own: (R,) cosine of documents of the fit and the nearest of the others.
            fitted: (N,) the topics of all its documents.
            seed: of what is drawn.
        """
        self._voters, self._own, self._fitted, self._seed = voters, own, fitted, seed
        self._rng = np.random.default_rng(seed)
        self._topics: Counter[int] = Counter()
        self._kept: list[tuple[NDArray[np.float32], float]] = []

    def add(
        self, vectors: NDArray[np.float32], nearest: NDArray[np.floating], topics: list[int], is_new: NDArray[np.bool_]
    ) -> None:
        """Remembers documents; those whose text was in the fit are passed over.

        Args:
            vectors: (n, d) their vectors.
            nearest: (n,) cosine of each and its nearest document of the fit.
            topics: n topics.
            is_new: (n,) whether the fit lacks its text.
        """
        for row in np.flatnonzero(is_new).tolist():
            self._topics[topics[row]] += 1
            # A copy: a view of one row would keep all the rows of its step in memory.
            seen, one = self._topics.total(), (vectors[row].copy(), float(nearest[row]))
            if len(self._kept) < SAMPLE:
                self._kept.append(one)
            elif (place := int(self._rng.integers(seen))) < SAMPLE:  # all that were seen are as likely to be kept
                self._kept[place] = one

    def drift(self) -> Drift | None:
        """How they differ from the documents of the fit; None where none was new.

        Figures are those of an update but for the routing, which would need the store of the run.
        """
        if not self._kept:
            return None
        voters, fitted = self._voters, self._fitted
        old = np.random.default_rng(self._seed).permutation(len(voters.rows))[:SAMPLE]
        vectors = np.concatenate([voters.vectors[old].astype(np.float32), np.stack([one for one, _ in self._kept])])
        is_new = np.arange(len(vectors)) >= len(old)
        of_both = Voters.fit(vectors, is_new.astype(np.int64), most=len(vectors))
        neighbours, _ = of_both.nearest(of_both.vectors, own=True)
        topics = np.repeat([*self._topics], [*self._topics.values()])
        return find_drift(
            self._own,
            np.array([nearest for _, nearest in self._kept]),
            neighbours,
            is_new[of_both.rows],
            np.concatenate([fitted, topics]),
            np.arange(len(fitted) + len(topics)) >= len(fitted),
            None,
            seed=self._seed,
        )
