"""The comparison of views as a page: runs it on the tasks of a recipe, and writes tables and figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from moee_topics.embed import Embedder
from moee_topics.errors import InputError
from moee_topics.evaluate import first_of_each
from moee_topics.fuse import Fusion
from moee_topics.mteb.board import Table, percent
from moee_topics.mteb.charts import box_plot, heatmap
from moee_topics.mteb.score_page import write_files
from moee_topics.mteb.score_recipe import ScoreRecipe
from moee_topics.mteb.tasks import TaskSource, clustering_rows, pair_rows
from moee_topics.mteb.views import ClusterComparison, PairComparison, compare_clusters, compare_pairs
from moee_topics.progress import Progress, resumable
from moee_topics.store import make_folder, write_text

EmbedderFor = Callable[[str], Embedder]
AGREEMENT_FIELDS = ("ami", "nmi", "jaccard", "exact_match")
ERROR_FIELDS = {
    "both_right": "both right",
    "only_first_right": "only first",
    "only_second_right": "only second",
    "both_wrong": "both wrong",
    "one_right_of_errors": "one right of errors",
    "one_right_if_independent": "by chance",
}


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` found and wrote.

    Attributes:
        data: the JSON.
        tables: for the terminal and the page.
        figures: SVG, by the name of their file.
    """

    data: dict[str, Any]
    tables: Sequence[Table]
    figures: Mapping[str, str]


def compare(
    recipe: ScoreRecipe,
    output: Path,
    embedder_for: EmbedderFor,
    *,
    progress: Progress | None = None,
) -> Comparison:
    """Compares the views on the clustering and STS tasks of a recipe, and writes a page, Markdown, JSON and figures.

    Args:
        recipe: its clustering and STS tasks, its prompts, the first alpha and the seed matter.
        output: folder for ``comparison.*`` and the figures.
        embedder_for: stored embeddings under a prompt.
        progress: hears how far it is.

    Raises:
        InputError: no clustering or STS task, or its data cannot be had.
        Interrupted: stopped by the user; encoded texts are kept.
    """
    progress = progress or Progress()
    make_folder(output)
    sources = [source for source in recipe.sources() if source.type in ("Clustering", "STS")]
    if not sources:
        raise InputError("Views are compared on Clustering and STS tasks, and the recipe has neither.")
    clusters: list[ClusterComparison] = []
    pairs: list[PairComparison] = []
    with resumable("Encoded texts are kept: run the same command again to go on."):
        for source in sources:
            if source.type == "Clustering":
                clusters.append(_compared_clusters(source, recipe, embedder_for, progress))
            else:
                pairs.append(_compared_pairs(source, recipe, embedder_for, progress))
    comparison = Comparison(_to_json(clusters, pairs), _tables(clusters, pairs), _figures(pairs))
    title = "Hidden states beside routing weights"
    write_files(output, "comparison", comparison.data, comparison.tables, title, list(comparison.figures.values()))
    for name, figure in comparison.figures.items():
        write_text(output / name, figure)
    return comparison


def _compared_clusters(
    source: TaskSource, recipe: ScoreRecipe, embedder_for: EmbedderFor, progress: Progress
) -> ClusterComparison:
    texts, labels = clustering_rows(source)
    rows = first_of_each(texts).tolist()
    texts, labels = [texts[row] for row in rows], [labels[row] for row in rows]
    progress.begin(source.name, f"{len(texts):,} different documents")
    embedder = embedder_for(_prompts(recipe)[0])
    embedder.progress = progress
    embeddings = embedder.embed(texts)
    return compare_clusters(source.name, embeddings, labels, alpha=_alpha(recipe), seed=recipe.seed)


def _compared_pairs(
    source: TaskSource, recipe: ScoreRecipe, embedder_for: EmbedderFor, progress: Progress
) -> PairComparison:
    first, second, gold = pair_rows(source)
    prompts = _prompts(recipe)
    progress.begin(source.name, f"{len(gold):,} pairs, {len(prompts)} prompts")
    sides = {}
    for prompt in prompts:
        embedder = embedder_for(prompt)
        embedder.progress = progress
        both = embedder.embed([*first, *second])
        sides[prompt] = (both[: len(first)], both[len(first) :])
    return compare_pairs(source.name, sides, gold, alpha=_alpha(recipe))


def _prompts(recipe: ScoreRecipe) -> Sequence[str]:
    return recipe.score.prompts or (recipe.encoder.prompt,)


def _alpha(recipe: ScoreRecipe) -> float:
    """The first alpha, or the default where alpha is to be chosen: only its own comparison chooses here."""
    alpha = recipe.score.alpha
    return Fusion.alpha if isinstance(alpha, str) else alpha[0]


def _to_json(clusters: Sequence[ClusterComparison], pairs: Sequence[PairComparison]) -> dict[str, Any]:
    found = {
        "clusterings": [asdict(comparison) for comparison in clusters],
        "pairs": [{**asdict(comparison), "correlations": comparison.correlations.tolist()} for comparison in pairs],
    }
    return {name: _finite(value) for name, value in found.items()}


def _finite(value: Any) -> Any:
    """The same with null for what is not a number, and lists for tuples."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _tables(clusters: Sequence[ClusterComparison], pairs: Sequence[PairComparison]) -> list[Table]:
    tables = []
    if clusters:
        tables += [_agreement_table(clusters), _label_table(clusters), _alpha_table(clusters)]
    if pairs:
        tables += [_mean_table(pairs), _gold_table(pairs), _error_table(pairs)]
    return tables


def _agreement_table(clusters: Sequence[ClusterComparison]) -> Table:
    rows = [
        [c.task, f"{a.first} and {a.second}", *(f"{getattr(a.agreement, name):.2f}" for name in AGREEMENT_FIELDS)]
        for c in clusters
        for a in c.agreements
    ]
    notes = [
        "'again' is the same view with another seed of k-means: about the most that two views could agree.",
        "The paper reports for HS and RW of DeepSeekMoE-16B AMI 0.29, NMI 0.29, Jaccard 0.06, exact match 0.4554; on "
        "which data, and with how many clusters, it does not say.",
    ]
    return Table("Agreement of clusters", ["task", "views", "AMI", "NMI", "Jaccard", "exact match"], rows, (), notes)


def _label_table(clusters: Sequence[ClusterComparison]) -> Table:
    views = list(clusters[0].with_labels)
    rows = [
        [c.task, score, *(percent(c.with_labels[view][score]) for view in views)]
        for c in clusters
        for score in ("ami", "ari", "v_measure")
    ]
    notes = ["z: standardized with the statistics of these documents. HS z is the control that the paper lacks."]
    return Table("Clusters and labels, in percent", ["task", "score", *views], rows, (), notes)


def _alpha_table(clusters: Sequence[ClusterComparison]) -> Table:
    rows = [[c.task, t.criterion, f"{t.alpha:g}", percent(t.ami)] for c in clusters for t in c.alphas]
    notes = ["Both blocks standardized. 'hindsight' is the best alpha of the grid with the labels known."]
    return Table("Choosing alpha", ["task", "criterion", "alpha", "AMI in percent"], rows, (), notes)


def _mean_table(pairs: Sequence[PairComparison]) -> Table:
    names = ("HS-HS", "RW-RW", "RW-HS")
    rows = [
        [
            p.task,
            f"{p.pairs:,} pairs, {len(p.names) // 2} prompts",
            *(f"{p.means[name]:.2f}" if math.isfinite(p.means[name]) else "–" for name in names),
        ]
        for p in pairs
    ]
    notes = ["The paper reports 0.52, 0.63 and 0.51 for DeepSeekMoE-16B on STS12 with nine prompts."]
    return Table("Mean Spearman of similarities across prompts", ["task", "what", *names], rows, (), notes)


def _gold_table(pairs: Sequence[PairComparison]) -> Table:
    views = list(pairs[0].spearman)
    rows = [
        [p.task, prompt, *(percent(p.spearman[view][prompt]) for view in views)]
        for p in pairs
        for prompt in p.spearman[views[0]]
    ]
    return Table("Spearman with the known scores, in percent", ["task", "prompt", *views], rows)


def _error_table(pairs: Sequence[PairComparison]) -> Table:
    rows = [
        [p.task, views, *("–" if (share := getattr(errors, name)) is None else percent(share) for name in ERROR_FIELDS)]
        for p in pairs
        for views, errors in p.errors.items()
    ]
    threshold = next(iter(pairs[0].errors.values())).threshold
    notes = [f"A pair is right if its rank is within {threshold:.0%} of all ranks of its score's rank."]
    headers = ["task", "views", *ERROR_FIELDS.values()]
    return Table("Errors of the two views, in percent of the pairs", headers, rows, (), notes)


def _figures(pairs: Sequence[PairComparison]) -> dict[str, str]:
    figures = {}
    for comparison in pairs:
        task, groups = comparison.task, {view: list(by.values()) for view, by in comparison.spearman.items()}
        title = f"{task}: Spearman of similarities, by view and prompt"
        figures[f"{task}-prompts.svg"] = heatmap(title, comparison.names, comparison.correlations)
        title = f"{task}: each prompt's score"
        figures[f"{task}-robustness.svg"] = box_plot(title, groups, "Spearman with the known scores")
    return figures
