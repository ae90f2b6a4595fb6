"""What a score means, in plain words. The bounds are rules of thumb from published topic models, and say so."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from moee_topics.report.numerals import as_decimal, as_percent

Level = Literal["good", "fair", "weak", "none"]


@dataclass(frozen=True)
class Rule:
    """How one score is read: its short name, two bounds, and a sentence for each side of them."""

    title: str
    fair: float
    good: float
    weak_text: str
    fair_text: str
    good_text: str
    percent: bool = False


@dataclass(frozen=True)
class Verdict:
    """One score with what it means."""

    name: str
    title: str
    value: str
    level: Level
    text: str
    description: str


RULES = {
    "npmi": Rule(
        "Coherence",
        0.03,
        0.12,
        "The words of many topics seldom meet in one document: read the topics with care.",
        "The words of a topic meet more often than by chance, in some topics loosely.",
        "The words of a topic clearly belong together.",
    ),
    "topic_diversity": Rule(
        "Diversity",
        0.55,
        0.75,
        "Topics share many of their words: there may be too many of them.",
        "Some topics share words.",
        "Topics hardly share words: each is about something of its own.",
        percent=True,
    ),
    "outlier_share": Rule(
        "Outliers",
        0.4,
        0.2,
        "Many documents fit no topic. Reduce the outliers, or ask for smaller clusters.",
        "A usual share for this way of clustering.",
        "Nearly every document has a topic.",
        percent=True,
    ),
    "ami": Rule(
        "Agreement with labels",
        0.25,
        0.5,
        "The topics are mostly another division than the labels.",
        "The topics follow the labels in part.",
        "The topics follow the labels closely.",
    ),
    "ari": Rule(
        "Pairs as in the labels",
        0.1,
        0.4,
        "Documents of one label are rarely kept together, or topics are finer than labels.",
        "Pairs of documents agree with the labels in part.",
        "Pairs of documents are mostly together where the labels are.",
    ),
    "stability": Rule(
        "Stability",
        0.5,
        0.75,
        "Fitted again, the corpus gives rather different topics.",
        "Fitted again, the corpus gives the same topics in part.",
        "Fitted again, the corpus gives nearly the same topics.",
    ),
    "stability_bootstrap": Rule(
        "Stability on samples",
        0.5,
        0.75,
        "Samples of the corpus give rather different topics.",
        "Samples of the corpus give the same topics in part.",
        "Samples of the corpus give nearly the same topics.",
    ),
}
DISSOLVED, STABLE = 0.5, 0.75  # of Hennig 2007, where below a half a cluster counts as dissolved
HEADLINE = ("npmi", "topic_diversity", "outlier_share", "ami", "ari", "stability")


def score_verdict(name: str, score: Mapping[str, Any]) -> Verdict:
    """A score with what it means; one that has no rule keeps its description."""
    value = score.get("value")
    description = str(score.get("description") or "")
    rule = RULES.get(name)
    short_name = rule.title if rule else name.replace("_", " ").capitalize()
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return Verdict(name, short_name, "–", "none", "Could not be computed.", description)
    if rule is None:
        return Verdict(name, short_name, f"{value:.3f}", "none", "", description)
    sign = 1 if rule.good > rule.fair else -1  # -1 where less is better, as with outliers
    level: Level = "weak"
    if sign * value >= sign * rule.fair:
        level = "good" if sign * value >= sign * rule.good else "fair"
    text = {"good": rule.good_text, "fair": rule.fair_text, "weak": rule.weak_text}[level]
    return Verdict(name, short_name, as_percent(value) if rule.percent else as_decimal(value), level, text, description)


def topic_verdict(jaccard: float | None) -> tuple[Level, str]:
    """How well other fits find a topic again: a level for its colour, and a word."""
    if jaccard is None:
        return "none", ""
    if jaccard < DISSOLVED:
        return "weak", "dissolves"
    return ("good", "stable") if jaccard >= STABLE else ("fair", "in part")


def stability_verdict(agreement: float | None, jaccards: Sequence[float]) -> str:
    """A sentence on the topics as a whole, and one on how many of them can be relied on."""
    text = score_verdict("stability", {"value": agreement}).text
    if not jaccards:
        return text
    stable = sum(jaccard >= STABLE for jaccard in jaccards)
    dissolved = sum(jaccard < DISSOLVED for jaccard in jaccards)
    verbs = ("is" if stable == 1 else "are", "dissolves" if dissolved == 1 else "dissolve")
    return f"{text} Of {len(jaccards)} topics {stable} {verbs[0]} stable and {dissolved} {verbs[1]}."
