"""The same corpus by several methods of fusion: one page with their topics, their scores and how far they agree."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from moee_topics.errors import InputError
from moee_topics.report.comparison_page import Comparison, compare_folders, write_compared
from moee_topics.report.numerals import as_count
from moee_topics.report.template import render, template_text
from moee_topics.report.verdicts import READINGS
from moee_topics.run_folder import RunFolder
from moee_topics.store import write_text

PAGE = "methods.html"


@dataclass(frozen=True)
class ScoreRow:
    """One measure of every method.

    Attributes:
        name: of the measure.
        description: what it is.
        values: of each method, None where it has none.
        higher_is_better: the direction; None for what is neither good nor bad.
        percent: whether the values are shares.
    """

    name: str
    description: str
    values: Sequence[float | None]
    higher_is_better: bool | None
    percent: bool = False

    @property
    def best(self) -> int | None:
        """Which method is best by three digits, None where several are or there is no better."""
        # Rounded as they are shown: of two that read the same none may look better.
        rounded = [None if value is None else round(value, 3) for value in self.values]
        ranked = sorted((value for value in rounded if value is not None), reverse=bool(self.higher_is_better))
        if self.higher_is_better is None or len(ranked) < 2 or ranked[0] == ranked[1]:
            return None
        return rounded.index(ranked[0])

    def shown(self) -> list[str]:
        """The values as text: counts, shares or three decimals."""
        if self.higher_is_better is None:
            return [as_count(value) for value in self.values]
        form, factor = ("{:.1f} %", 100) if self.percent else ("{:.3f}", 1)
        return ["–" if value is None else form.format(factor * value) for value in self.values]


@dataclass(frozen=True)
class MethodsComparison:
    """Several runs over the same documents.

    Attributes:
        runs: by method.
        documents: how many.
        ami: (M, M) adjusted mutual information of every two, outliers as one cluster.
        rows: topics, outliers and every score that a run has.
        pairs: every two methods, compared.
    """

    runs: Mapping[str, RunFolder]
    documents: int
    ami: NDArray[np.float64]
    rows: Sequence[ScoreRow]
    pairs: Mapping[tuple[str, str], Comparison]

    def to_json(self) -> dict[str, Any]:
        """Plain data: each method with its run, topics, outliers and scores, and the agreement of every two."""
        methods = {
            method: {
                "run": str(run.path),
                "topics": len(run.ranked_topics),
                "outlier_share": run.result.outlier_share,
                "scores": {name: score.get("value") for name, score in run.scores.items()},
            }
            for method, run in self.runs.items()
        }
        return {"documents": self.documents, "methods": methods, "ami": self.ami.round(4).tolist()}


def compare_methods(folders: Mapping[str, Path]) -> MethodsComparison:
    """Sets finished runs over the same documents side by side.

    Args:
        folders: the run folder of each method, two or more.

    Raises:
        InputError: fewer than two, a folder without a finished run, or runs that share no document.
    """
    if len(folders) < 2:
        raise InputError(f"Methods are compared two by two, so at least 2 runs are needed, got {len(folders)}.")
    runs = {method: RunFolder.read(Path(folder)) for method, folder in folders.items()}
    ami = np.eye(len(runs))
    pairs = {(a, b): compare_folders(runs[a], runs[b]) for a, b in combinations(runs, 2)}
    for (i, a), (j, b) in combinations(enumerate(runs), 2):
        ami[i, j] = ami[j, i] = pairs[a, b].agreement.ami
    counts = [float(len(run.ranked_topics)) for run in runs.values()]
    rows = [ScoreRow("topics", "How many, outliers aside.", counts, None)]
    names = dict.fromkeys(name for run in runs.values() for name in run.scores)
    if "outlier_share" not in names:  # a recipe need not ask for it, and topics are not comparable without
        shares = [run.result.outlier_share for run in runs.values()]
        rows.append(ScoreRow("outlier_share", "Share of documents without a topic.", shares, False, percent=True))
    for name in names:
        scores: list[Mapping[str, Any]] = [run.scores.get(name) or {} for run in runs.values()]
        values = [score.get("value") for score in scores]
        first = next(score for score in scores if score)
        rows.append(
            ScoreRow(
                name,
                first.get("description", ""),
                [value if value is not None and math.isfinite(value) else None for value in values],
                first.get("higher_is_better", True),
                percent=name in READINGS and READINGS[name].percent,
            )
        )
    documents = min(len(run.result) for run in runs.values())
    return MethodsComparison(runs, documents, ami, rows, pairs)


def write_methods(folders: Mapping[str, Path], output: Path, *, name: str) -> MethodsComparison:
    """Writes ``methods.html`` and, for every two methods, the page of the two runs side by side.

    Args:
        folders: the run folder of each method.
        output: the folder to write into; made where it is missing.
        name: what the methods read, as the title.

    Raises:
        InputError: see :func:`compare_methods`.
    """
    compared = compare_methods(folders)
    for (first, second), pair in compared.pairs.items():
        write_compared(pair, output / pair_page(first, second))
    methods = list(compared.runs)
    pages = {pair: pair_page(*pair) for pair in compared.pairs}
    links = [[quote(pages.get((a, b)) or pages.get((b, a), "")) for b in methods] for a in methods]
    pairs = [(compared.ami[i, j], methods[i], methods[j]) for i, j in combinations(range(len(methods)), 2)]
    # Relative, so that the folder of all runs can be moved or sent as it is.
    report = RunFolder.report
    reports = [
        quote(Path(os.path.relpath(report.path(run.root), output)).as_posix()) if report.exists(run.root) else ""
        for run in compared.runs.values()
    ]
    page = render(
        "methods.html.j2",
        script=template_text("theme.js"),
        name=name,
        comparison=compared,
        methods=methods,
        reports=reports,
        matrix=[list(zip(row, compared.ami[i].tolist(), strict=True)) for i, row in enumerate(links)],
        closest=max(pairs),
        furthest=min(pairs),
    )
    write_text(output / PAGE, page)
    return compared


def pair_page(first: str, second: str) -> str:
    """The file name of the page of two methods."""
    return f"{first}-{second}.html"
