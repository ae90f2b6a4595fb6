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
from moee_topics.report.numerals import as_percent
from moee_topics.report.template import render, template_text
from moee_topics.report.verdicts import score_verdict
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
    # By id and not by place: a run may have left out what the other kept.
    rows = {key: row for row, key in enumerate(b.result.ids)}
    common = [(row, rows[key]) for row, key in enumerate(a.result.ids) if key in rows]
    if not common:
        raise InputError(f"{a.path} and {b.path} share no document id. Compare runs over the same corpus.")
    of_a, of_b = np.array(common).T
    topics_a, topics_b = a.result.topics[of_a], b.result.topics[of_b]
    inside = (topics_a != OUTLIERS) & (topics_b != OUTLIERS)
    recipe_a, recipe_b = _flat(a.manifest.get("recipe")), _flat(b.manifest.get("recipe"))
    keys = sorted(key for key in {*recipe_a, *recipe_b} if recipe_a.get(key) != recipe_b.get(key))
    scores = []
    for name in dict.fromkeys([*a.scores, *b.scores]):
        first, second = (score_verdict(name, run.scores.get(name) or {}) for run in (a, b))
        scores.append((name, first.value, second.value))
    return Comparison(
        first=a,
        second=b,
        documents=len(topics_a),
        agreement=clustering_agreement(topics_a, topics_b),
        without_outliers=clustering_agreement(topics_a[inside], topics_b[inside]) if inside.any() else None,
        matching=match_topics(topics_a, topics_b),
        settings=[(key, recipe_a.get(key, "–"), recipe_b.get(key, "–")) for key in keys],
        scores=scores,
    )


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    """A recipe as text by dotted key."""
    if not isinstance(value, Mapping):
        return {prefix: str(value)} if prefix else {}
    parts = [_flat(item, f"{prefix}.{key}" if prefix else str(key)) for key, item in value.items()]
    return {key: text for part in parts for key, text in part.items()}


def write_comparison(run_a: Path, run_b: Path, output: Path) -> Path:
    """Writes two runs side by side, as Markdown where `output` ends in ``.md`` and as one HTML file otherwise.

    Raises:
        InputError: a folder holds no finished run, or the two share no document.
    """
    return write_compared(compare_runs(run_a, run_b), Path(output))


def write_compared(comparison: Comparison, output: Path) -> Path:
    """:func:`write_comparison` of two runs that have been compared."""
    first, second = comparison.first, comparison.second
    names = (first.name, second.name)
    # Two runs of one recipe in two folders bear one name, and a page must tell them apart.
    if first.name == second.name:
        names = (f"{first.name} (1)", f"{second.name} (2)")
    page = render(
        "comparison.md.j2" if output.suffix == ".md" else "comparison.html.j2",
        script=template_text("comparison.js"),
        comparison=comparison,
        pairs=pairings(comparison),
        names=names,
        lost=[
            (names[0], _unmatched(first, second, comparison.matching.first_fates)),
            (names[1], _unmatched(second, first, comparison.matching.second_fates)),
        ],
        verdict=score_verdict("stability_seeds", {"value": comparison.agreement.ami}),
        fates=Counter(fate.fate for fate in comparison.matching.first_fates),
    )
    write_text(output, page)
    return output


def pairings(comparison: Comparison, top_n_words: int = 10) -> list[Pairing]:
    """The matched topics with their words, the largest overlap first."""
    pairs = []
    for pair in comparison.matching.pairs:
        a, b = comparison.first.result.topic(pair.first), comparison.second.result.topic(pair.second)
        first, second = ([word for word, _ in list(topic.words)[:top_n_words] if word] for topic in (a, b))
        both = [word for word in first if word in second]
        only = ([w for w in first if w not in both], [w for w in second if w not in both])
        pairs.append(Pairing(a, b, pair.shared, pair.jaccard, both, *only))
    return pairs


def _unmatched(run: RunFolder, other: RunFolder, fates: Sequence[TopicFate]) -> list[tuple[Topic, str, str, float]]:
    """Topics that have no match in the other run: the topic, its fate, where its documents went, outliers."""
    return [
        (
            run.result.topic(fate.topic),
            fate.fate,
            "; ".join(f"{title(other.result.topic(to))} {as_percent(share)}" for to, share in fate.partners),
            fate.outliers,
        )
        for fate in sorted(fates, key=lambda fate: -fate.size)
        if fate.fate != "matched"
    ]
