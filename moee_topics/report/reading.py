"""What numbers mean, in plain words. The bounds are rules of thumb from published topic models, and say so."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

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
class Reading:
    """One score, read."""

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
DISSOLVED, STABLE = 0.5, 0.75
HEADLINE = ("npmi", "topic_diversity", "outlier_share", "ami", "ari", "stability")


def read_score(name: str, score: Mapping[str, Any]) -> Reading:
    """A score with what it means; one that has no rule keeps its description."""
    value = score.get("value")
    description = str(score.get("description") or "")
    rule = RULES.get(name)
    short_name = rule.title if rule else name.replace("_", " ").capitalize()
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return Reading(name, short_name, "–", "none", "Could not be computed.", description)
    if rule is None:
        return Reading(name, short_name, f"{value:.3f}", "none", "", description)
    sign = 1 if rule.good > rule.fair else -1  # -1 where less is better, as with outliers
    level: Level = "weak"
    if sign * value >= sign * rule.fair:
        level = "good" if sign * value >= sign * rule.good else "fair"
    text = {"good": rule.good_text, "fair": rule.fair_text, "weak": rule.weak_text}[level]
    return Reading(name, short_name, percent(value) if rule.percent else figure(value), level, text, description)


def read_found_again(jaccard: float | None) -> tuple[Level, str]:
    """How well other fits find a topic again, in a word; the bounds are Hennig's (see ``topic_stability``)."""
    if jaccard is None:
        return "none", ""
    if jaccard < DISSOLVED:
        return "weak", "dissolves"
    return ("good", "stable") if jaccard >= STABLE else ("fair", "in part")


def read_stability(agreement: float | None, found_again: Sequence[float]) -> str:
    """A sentence on the topics as a whole, and one on how many of them can be relied on."""
    text = read_score("stability", {"value": agreement}).text
    if not found_again:
        return text
    stable = sum(jaccard >= STABLE for jaccard in found_again)
    dissolved = sum(jaccard < DISSOLVED for jaccard in found_again)
    verbs = ("is" if stable == 1 else "are", "dissolves" if dissolved == 1 else "dissolve")
    return f"{text} Of {len(found_again)} topics {stable} {verbs[0]} stable and {dissolved} {verbs[1]}."


def percent(share: float) -> str:
    """A share as per cent, with one decimal where it would read as 0 or 100."""
    near_the_end = 0 < share < 0.01 or 0.99 < share < 1
    return f"{100 * share:.{1 if near_the_end else 0}f} %"


def number(value: Any) -> str:
    """A count with thousands separators; a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "–"
    return f"{value:,.0f}"


def plain(value: Any) -> str:
    """Any value of a manifest as text: long numbers with separators, floats to four digits, lists by comma."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 10_000 else number(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {plain(item)}" for key, item in value.items())
    return str(value)


def figure(value: Any) -> str:
    """A number to two decimals; a dash where there is none."""
    return f"{value:.2f}" if isinstance(value, (int, float)) else "–"


def bytes_read(value: Any) -> str:
    """A number of bytes in GB or MB."""
    if not isinstance(value, (int, float)):
        return "–"
    return f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"


def seconds_read(value: Any) -> str:
    """A number of seconds as a person would say it."""
    if not isinstance(value, (int, float)):
        return "–"
    if value < 60:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def markdown_text(text: Any) -> str:
    """Text that stays text in Markdown: no markup, no table cell, one line."""
    line = html.escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|#~!])", r"\\\1", line)
