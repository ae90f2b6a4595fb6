"""Two runs over the same documents, side by side: which topics they share, and what one finds and the other splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moee_topics.errors import InputError
from moee_topics.evaluate import Agreement, TopicFate, TopicMatching, clustering_agreement, match_topics
from moee_topics.report import reading
from moee_topics.report.page import render, template_text
from moee_topics.run_folder import RunFolder, title
from moee_topics.store import write_text
from moee_topics.topics import OUTLIERS, Topic


@dataclass(frozen=True)
class Comparison:
    """Two runs over the documents that both have.

    Attributes:
        first: one run.
        second: the other.
        documents: how many documents both have.
        agreement: how far the topics are the same grouping, outliers as one cluster.
        without_outliers: the same over documents that have a topic in both; None where there are none.
        matching: topics paired, and what became of each.
        settings: recipe settings that differ: (name, first, second).
        scores: (title, first, second) of the scores that either has.
    """

    first: RunFolder
    second: RunFolder
    documents: int
    agreement: Agreement
    without_outliers: Agreement | None
    matching: TopicMatching
    settings: Sequence[tuple[str, str, str]]
    scores: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Pairing:
    """Two topics that share documents, and their words."""

    first: Topic
    second: Topic
    shared: int
    jaccard: float
    both: Sequence[str]
    only_first: Sequence[str]
    only_second: Sequence[str]


def compare_runs(first: Path, second: Path) -> Comparison:
    """Compares two finished runs over the documents that both have, matched by id.

    Raises:
        InputError: a folder holds no finished run, or the two share no document.
    """
    return compare_folders(RunFolder.read(Path(first)), RunFolder.read(Path(second)))


def compare_folders(a: RunFolder, b: RunFolder) -> Comparison:
    """:func:`compare_runs` of two runs that have been read.

    Raises:
        InputError: they share no document.
    """
    topics_a, topics_b = _common_topics(a, b)
    inside = (topics_a != OUTLIERS) & (topics_b != OUTLIERS)
    return Comparison(
        first=a,
        second=b,
        documents=len(topics_a),
        agreement=clustering_agreement(topics_a, topics_b),
        without_outliers=clustering_agreement(topics_a[inside], topics_b[inside]) if inside.any() else None,
        matching=match_topics(topics_a, topics_b),
        settings=_differences(a.manifest.get("recipe"), b.manifest.get("recipe")),
        scores=_scores(a, b),
    )


def write_comparison(run_a: Path, run_b: Path, output: Path) -> Path:
    """Writes two runs side by side, as Markdown where `output` ends in ``.md`` and as one HTML file otherwise.

    Raises:
        InputError: a folder holds no finished run, or the two share no document.
    """
    return write_compared(compare_runs(run_a, run_b), Path(output))


def write_compared(comparison: Comparison, output: Path) -> Path:
    """:func:`write_comparison` of two runs that have been compared."""
    template = "comparison.md.j2" if output.suffix == ".md" else "comparison.html.j2"
    page = render(template, script=template_text("comparison.js"), **_values(comparison))
    write_text(output, page)
    return output


def _values(comparison: Comparison) -> dict[str, Any]:
    first, second = comparison.first, comparison.second
    return {
        "comparison": comparison,
        "pairs": pairings(comparison),
        "names": (_name(first, second, 1), _name(second, first, 2)),
        "lost": [
            (run_name, _told(run, other, fates))
            for run_name, run, other, fates in (
                (_name(first, second, 1), first, second, comparison.matching.first_fates),
                (_name(second, first, 2), second, first, comparison.matching.second_fates),
            )
        ],
        "reading": reading.read_score("stability", {"value": comparison.agreement.ami, "description": ""}),
        "fates": Counter(fate.fate for fate in comparison.matching.first_fates),
    }


def pairings(comparison: Comparison, words: int = 10) -> list[Pairing]:
    """The matched topics with their words, the largest overlap first."""
    found = []
    for pair in comparison.matching.pairs:
        a, b = comparison.first.result.topic(pair.first), comparison.second.result.topic(pair.second)
        first, second = ([word for word, _ in list(topic.words)[:words] if word] for topic in (a, b))
        both = [word for word in first if word in second]
        only = ([w for w in first if w not in both], [w for w in second if w not in both])
        found.append(Pairing(a, b, pair.shared, pair.jaccard, both, *only))
    return found


def _name(run: RunFolder, other: RunFolder, place: int) -> str:
    return run.name if run.name != other.name else f"{run.name} ({place})"


def _common_topics(a: RunFolder, b: RunFolder) -> tuple[np.ndarray, np.ndarray]:
    """The topics that two runs give the documents both have, matched by id, in the order of the first.

    Raises:
        InputError: they share no document.
    """
    rows = {key: row for row, key in enumerate(b.result.ids)}
    common = [(row, rows[key]) for row, key in enumerate(a.result.ids) if key in rows]
    if not common:
        raise InputError(f"{a.path} and {b.path} share no document id. Compare runs over the same corpus.")
    of_a, of_b = np.array(common).T
    return a.result.topics[of_a], b.result.topics[of_b]


def _told(run: RunFolder, other: RunFolder, fates: Sequence[TopicFate]) -> list[tuple[Topic, str, str, float]]:
    """Topics that have no match in the other run: the topic, its fate, where its documents went, outliers."""
    return [
        (
            run.result.topic(fate.topic),
            fate.fate,
            "; ".join(f"{title(other.result.topic(to))} {reading.percent(share)}" for to, share in fate.partners),
            fate.outliers,
        )
        for fate in sorted(fates, key=lambda fate: -fate.size)
        if fate.fate != "matched"
    ]


def _differences(first: Any, second: Any) -> list[tuple[str, str, str]]:
    a, b = _flat(first), _flat(second)
    return [(key, a.get(key, "–"), b.get(key, "–")) for key in sorted({*a, *b}) if a.get(key) != b.get(key)]


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {prefix: str(value)} if prefix else {}
    parts = [_flat(item, f"{prefix}.{key}" if prefix else str(key)) for key, item in value.items()]
    return {key: text for part in parts for key, text in part.items()}


def _scores(a: RunFolder, b: RunFolder) -> list[tuple[str, str, str]]:
    names = list(dict.fromkeys([*a.scores, *b.scores]))
    read = [[reading.read_score(name, run.scores.get(name, {})).value for run in (a, b)] for name in names]
    return [(name, first, second) for name, (first, second) in zip(names, read, strict=True)]
