"""A score of a topic model, and how to read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class Score:
    """One number of a topic model and how to read it.

    Attributes:
        value: None where it is not defined, such as coherence without topics.
        description: one sentence in plain words.
        higher_is_better: the direction.
    """

    value: float | None
    description: str
    higher_is_better: bool


@dataclass(frozen=True)
class Reading:
    """How the value of a score is read: a short name, two bounds, and a sentence for each side of them.

    The bounds are rules of thumb from published topic models. ``good`` below ``fair`` says that less is better.

    Attributes:
        percent: whether the value is shown as a share.
    """

    title: str
    fair: float
    good: float
    weak_text: str
    fair_text: str
    good_text: str
    percent: bool = False


def mean_or_none(values: NDArray[Any]) -> float | None:
    """The mean; None of nothing, where a score is not defined."""
    return float(values.mean()) if len(values) else None
