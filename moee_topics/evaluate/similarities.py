"""Several similarities of the same pairs of texts: how far they correlate, and whether they are wrong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from moee_topics.errors import InputError

Values = Sequence[float] | NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ErrorComplementarity:
    """On pairs with a known similarity: how often two similarities are wrong together.

    Attributes:
        pairs: how many pairs.
        threshold: the rank error, as a share of all ranks, from which a similarity counts as wrong.
        both_right: share of pairs.
        only_first_right: share of pairs.
        only_second_right: share of pairs.
        both_wrong: share of pairs.
        one_right_of_errors: of the pairs where at least one is wrong, the share where exactly one is right.
        one_right_if_independent: what ``one_right_of_errors`` would be if the errors had nothing to do with each
            other. It is above one half whenever errors are rare, so the share alone says little.
    """

    pairs: int
    threshold: float
    both_right: float
    only_first_right: float
    only_second_right: float
    both_wrong: float
    one_right_of_errors: float | None
    one_right_if_independent: float | None


def similarity_correlations(similarities: Mapping[str, Values]) -> tuple[list[str], NDArray[np.float64]]:
    """Spearman correlation of the similarities that several embeddings give the same pairs.

    Args:
        similarities: name to (P,) similarities of the same P pairs.

    Returns:
        The names and the (names, names) correlations; NaN for similarities that are all equal.

    Raises:
        InputError: the similarities are not of the same pairs, or of fewer than two.
    """
    lengths = {len(values) for values in similarities.values()}
    if len(lengths) != 1 or min(lengths) < 2:
        raise InputError(
            f"Correlations need similarities of the same two or more pairs, got lengths {sorted(lengths)}."
        )
    ranks = np.stack([rankdata(values) for values in similarities.values()])
    deviations = ranks - ranks.mean(axis=1, keepdims=True)
    norms = np.sqrt((deviations**2).sum(axis=1))
    # Similarities that are all equal have no ranks to correlate: 0 / 0, which stays "not a number".
    with np.errstate(invalid="ignore"):
        return list(similarities), np.asarray((deviations @ deviations.T) / np.outer(norms, norms))


def error_complementarity(
    gold: Values, first: Values, second: Values, *, threshold: float = 0.2
) -> ErrorComplementarity:
    """How often exactly one of two similarities places a pair right.

    A similarity is right on a pair if its rank among all pairs is within ``threshold`` of the rank of the known score,
    both as a share of the number of pairs (ties share their mean rank). The paper's own threshold is not published.

    Raises:
        InputError: not the same pairs, none at all, or a threshold outside 0 to 1.
    """
    if not len(gold) == len(first) == len(second) or len(gold) == 0:
        raise InputError(f"Give the same pairs three times, got {len(gold)}, {len(first)} and {len(second)}.")
    if not 0 < threshold < 1:
        raise InputError(f"The threshold is a share of all ranks between 0 and 1, got {threshold}.")
    target = rankdata(gold) / len(gold)
    a, b = (np.abs(rankdata(values) / len(gold) - target) <= threshold for values in (first, second))
    one, errors = float((a ^ b).mean()), float((~(a & b)).mean())
    chance = a.mean() * (1 - b.mean()) + b.mean() * (1 - a.mean())
    return ErrorComplementarity(
        pairs=len(gold),
        threshold=threshold,
        both_right=float((a & b).mean()),
        only_first_right=float((a & ~b).mean()),
        only_second_right=float((b & ~a).mean()),
        both_wrong=float((~a & ~b).mean()),
        one_right_of_errors=one / errors if errors else None,
        one_right_if_independent=float(chance / (1 - a.mean() * b.mean())) if errors else None,
    )
