"""A comparison of views as tables and a figure, in JSON, Markdown and one page."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

import numpy as np

from moee_topics.encode import View
from moee_topics.errors import InputError
from moee_topics.evaluate import MEASURES
from moee_topics.mteb.board import percent
from moee_topics.mteb.charts import heatmap
from moee_topics.mteb.score_page import Written, write_files
from moee_topics.mteb.view_comparison import ComparedView, ViewComparison
from moee_topics.report import TextTable
from moee_topics.store import make_folder, write_text

VIEW_NOTES = (
    "z: standardized by the statistics of these documents. AMI and ARI of k-means at length one, a cluster for each "
    "class, mean of {times}; the deviation is that of the AMI. Bytes are those of a document in the store.",
    "layers: the share of the layers that must run; with encoder.routing=none the pass ends there.",
    "tokens alone: what goes into the first layer, where no token has seen another. experts shuffled: those of each "
    "layer mixed up for each document anew. random model: one of the same shape, untrained.",
)
WITHOUT_LABELS = (
    "Without labels nothing is recommended: none of these measures found the best view on sets with labels "
    "(docs/readouts.md). A few hundred documents with a column of labels are enough to choose by."
)
RANK_NOTES = (
    "Spearman correlation over all views but the controls: near 1 the measure would have found the best view without "
    "labels, near 0 it is no help.",
)


def write_views(comparison: ViewComparison, output: Path) -> Written:
    """Writes ``views.json``, ``.md``, ``.html`` and ``.svg``; the same comparison gives the same bytes."""
    make_folder(output)
    tables = [views_table(comparison), layers_table(comparison)]
    if comparison.rank_correlations:
        tables.insert(1, ranks_table(comparison))
    figure, data = depth_figure(comparison), comparison.to_json()
    title = f"Views of {comparison.encoder['model']}, {comparison.documents:,} documents"
    page = write_files(output, "views", data, tables, title, [figure])
    write_text(output / "views.svg", figure)
    return Written(data, tables, page)


def views_table(comparison: ViewComparison) -> TextTable:
    """Every view, the best first."""
    has_labels = comparison.classes is not None
    headers = ["view", "control", *(["AMI", "±", "ARI"] if has_labels else []), *MEASURES, "numbers", "bytes", "layers"]
    rows = [_row(view, has_labels=has_labels) for view in sorted(comparison.views, key=_worth, reverse=True)]
    told = WITHOUT_LABELS
    if comparison.best is not None:
        # A prompt has spaces, which a shell would cut it at.
        overrides = shlex.join(comparison.best.overrides) or "none, the recipe as it is"
        told = (
            f"The best by AMI with the labels is {comparison.best.name}. Other views within one deviation of it: "
            f"{len(comparison.as_good)}. Overrides: {overrides}"
        )
    times = "three seeds" if comparison.draws == 1 else f"three seeds on each of {comparison.draws} draws"
    notes = (told, *(note.format(times=times) for note in VIEW_NOTES))
    classes = f", {comparison.classes} classes" if has_labels else ""
    title = f"Views of one pass: {comparison.documents:,} documents{classes}, {comparison.tokens:,} tokens"
    return TextTable(title, headers, rows, notes=notes)


def _worth(view: ComparedView) -> float:
    return view.scores.measures["stability"] if view.scores.ami is None else view.scores.ami


def _row(view: ComparedView, *, has_labels: bool) -> list[str]:
    scores = view.scores
    label_scores = [percent(scores.ami), percent(scores.deviation), percent(scores.ari)] if has_labels else []  # type: ignore[arg-type]
    measures = [f"{scores.measures[name]:.3f}" for name in MEASURES]
    return [
        view.name,
        view.control,
        *label_scores,
        *measures,
        str(view.dimensions),
        f"{view.bytes_per_document:,}",
        f"{view.layers:.2f}",
    ]


def ranks_table(comparison: ViewComparison) -> TextTable:
    """How far each measure without labels ranks the views as the labels do."""
    rows = [[name, MEASURES[name], f"{value:.2f}"] for name, value in comparison.rank_correlations.items()]
    return TextTable("Measures without labels", ["measure", "what", "rank by AMI"], rows, notes=RANK_NOTES)


def layers_table(comparison: ViewComparison) -> TextTable:
    """The routing of each MoE layer."""
    pairs = enumerate(zip(comparison.entropy, comparison.information, strict=True), start=1)
    rows = [[str(layer), "", f"{entropy:.3f}", f"{information:.2f}"] for layer, (entropy, information) in pairs]
    notes = (
        "Entropy of a document's weights as a share of that of equal weights, mean of the documents; and how far the "
        "documents lie apart in the layer (the entropy of their mean less their mean entropy), at mean 1.",
    )
    return TextTable("Routing of each MoE layer", ["MoE layer", "", "entropy", "information"], rows, notes=notes)


def depth_figure(comparison: ViewComparison) -> str:
    """The worth of hidden states by layer and pooling, the better of raw and standardized."""
    worth: dict[tuple[str, str], float] = {}
    for view in comparison.views:
        try:
            parsed = View.named(view.name.removesuffix(" z"))
        except InputError:  # a fusion of two, or scores of routers
            continue
        if parsed.block == "hidden_states":
            place = (parsed.layer, parsed.pooling)
            worth[place] = max(worth.get(place, -math.inf), _worth(view))
    layers = sorted({layer for layer, _ in worth}, key=lambda layer: math.inf if layer == "last" else int(layer))
    poolings = list(dict.fromkeys(pooling for _, pooling in worth))
    values = np.array([[worth.get((layer, pooling), math.nan) for pooling in poolings] for layer in layers])
    what = "stability" if comparison.classes is None else "AMI"
    return heatmap(f"{what} of hidden states by layer and pooling", layers, values, poolings)
