"""What a score means, in plain words: which side of its bounds it is on, and the sentence for that side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from moee_topics.evaluate import SCORES, STABILITY_READINGS, Kind, Reading
from moee_topics.report.numerals import as_decimal, as_percent

Level = Literal["good", "fair", "weak", "none"]


@dataclass(frozen=True)
class Verdict:
    """One score with what it means."""

    name: str
    title: str
    value: str
    level: Level
    text: str
    description: str


READINGS: Mapping[str, Reading] = {
    **{score.key: score.reading for score in SCORES.values() if score.reading},
    **STABILITY_READINGS,
}
DISSOLVED, STABLE = 0.5, 0.75  # of Hennig 2007, where below a half a cluster counts as dissolved


def score_verdict(name: str, score: Mapping[str, Any]) -> Verdict:
    """A score with what it means; one that has no bounds keeps its description."""
    value = score.get("value")
    description = str(score.get("description") or "")
    reading = READINGS.get(name)
    short_name = reading.title if reading else name.replace("_", " ").capitalize()
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return Verdict(name, short_name, "–", "none", "Could not be computed.", description)
    if reading is None:
        return Verdict(name, short_name, f"{value:.3f}", "none", "", description)
    sign = 1 if reading.good > reading.fair else -1  # -1 where less is better, as with outliers
    level: Level = "weak"
    if sign * value >= sign * reading.fair:
        level = "good" if sign * value >= sign * reading.good else "fair"
    text = {"good": reading.good_text, "fair": reading.fair_text, "weak": reading.weak_text}[level]
    return Verdict(
        name, short_name, as_percent(value) if reading.percent else as_decimal(value), level, text, description
    )


def topic_verdict(jaccard: float | None) -> tuple[Level, str]:
    """How well other fits find a topic again: a level for its colour, and a word."""
    if jaccard is None:
        return "none", ""
    if jaccard < DISSOLVED:
        return "weak", "dissolves"
    return ("good", "stable") if jaccard >= STABLE else ("fair", "in part")


def stability_verdict(kind: Kind, agreement: float | None, jaccards: Sequence[float]) -> str:
    """A sentence on the topics as a whole, and one on how many of them can be relied on."""
    text = score_verdict(f"stability_{kind}", {"value": agreement}).text
    if not jaccards:
        return text
    stable = sum(jaccard >= STABLE for jaccard in jaccards)
    dissolved = sum(jaccard < DISSOLVED for jaccard in jaccards)
    verbs = ("is" if stable == 1 else "are", "dissolves" if dissolved == 1 else "dissolve")
    return f"{text} Of {len(jaccards)} topics {stable} {verbs[0]} stable and {dissolved} {verbs[1]}."
