"""The comparison of blocks as a page: runs it on the tasks of a recipe, and writes tables and figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from moee_topics.embed import Embedder
from moee_topics.errors import InputError
from moee_topics.evaluate import first_of_each
from moee_topics.fuse import RAW, Fusion
from moee_topics.mteb.block_comparison import ClusterComparison, PairComparison, compare_clusters, compare_pairs
from moee_topics.mteb.board import percent
from moee_topics.mteb.charts import box_plot, heatmap
from moee_topics.mteb.score_page import write_files
from moee_topics.mteb.score_recipe import ScoreRecipe
from moee_topics.mteb.tasks import TaskSource, clustering_rows, pair_rows
from moee_topics.progress import Progress, resumable
from moee_topics.report import TextTable
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
AGREEMENT_NOTES = (
    "'again' is the same block with another seed of k-means: about the most that two blocks could agree.",
    "The paper reports for HS and RW of DeepSeekMoE-16B AMI 0.29, NMI 0.29, Jaccard 0.06, exact match 0.4554; on which "
    "data, and with how many clusters, it does not say.",
)
LABEL_NOTES = ("z: standardized with the statistics of these documents. HS z is the control that the paper lacks.",)
ALPHA_NOTES = ("Both blocks standardized. 'hindsight' is the best alpha of the grid with the labels known.",)
MEAN_NOTES = ("The paper reports 0.52, 0.63 and 0.51 for DeepSeekMoE-16B on STS12 with nine prompts.",)


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` found and wrote.

    Attributes:
        data: the JSON.
        tables: for the terminal and the page.
        page: the file that shows them, with the figures.
    """

    data: dict[str, Any]
    tables: Sequence[TextTable]
    page: Path


def compare(
    recipe: ScoreRecipe,
    output: Path,
    embedder_for: EmbedderFor,
    *,
    progress: Progress | None = None,
) -> Comparison:
    """Compares the blocks on the clustering and STS tasks of a recipe, and writes a page, Markdown, JSON and figures.

    Args:
        recipe: its clustering and STS tasks, its prompts, the first alpha and the seed matter.
        output: folder for ``comparison.*`` and the figures.
        embedder_for: stored embeddings under a prompt.
        progress: is told how far the work is.

    Raises:
        InputError: no clustering or STS task, or its data cannot be had.
        Interrupted: stopped by the user; encoded texts are kept.
    """
    progress = progress or Progress()
    make_folder(output)
    sources = [source for source in recipe.sources() if source.type in ("Clustering", "STS")]
    if not sources:
        raise InputError("Blocks are compared on Clustering and STS tasks, and the recipe has neither.")
    prompts = recipe.score.prompts or recipe.encoder.prompts or (recipe.encoder.prompt,)
    alpha = recipe.score.alpha
    # Where alpha is to be chosen, the default stands in: only the table of choices chooses here.
    fusion = RAW if isinstance(alpha, str) else RAW.with_alpha(alpha[0])
    embedders = {prompt: embedder_for(prompt) for prompt in prompts}
    for embedder in embedders.values():
        embedder.progress = progress
    clusters: list[ClusterComparison] = []
    pairs: list[PairComparison] = []
    with resumable("Encoded texts are kept: run the same command again to go on."):
        for source in sources:
            if source.type == "Clustering":
                clusters.append(clustered(source, embedders[prompts[0]], fusion, recipe.seed))
            else:
                pairs.append(paired(source, embedders, fusion, progress))
    return write_comparison(clusters, pairs, output)


def clustered(source: TaskSource, embedder: Embedder, fusion: Fusion, seed: int) -> ClusterComparison:
    """The blocks of the different documents of a clustering task."""
    texts, labels = clustering_rows(source)
    rows = first_of_each(texts).tolist()
    embedder.progress.begin(source.name, f"{len(rows):,} different documents")
    embeddings = embedder.embed([texts[row] for row in rows])
    return compare_clusters(source.name, embeddings, [labels[row] for row in rows], fusion=fusion, seed=seed)


def paired(source: TaskSource, embedders: Mapping[str, Embedder], fusion: Fusion, progress: Progress) -> PairComparison:
    """The blocks of the pairs of an STS task, under each prompt."""
    first, second, gold = pair_rows(source)
    progress.begin(source.name, f"{len(gold):,} pairs, {len(embedders)} prompts")
    sides = {}
    for prompt, embedder in embedders.items():
        both = embedder.embed([*first, *second])
        sides[prompt] = (both[: len(first)], both[len(first) :])
    return compare_pairs(source.name, sides, gold, fusion=fusion)


def write_comparison(
    clusters: Sequence[ClusterComparison], pairs: Sequence[PairComparison], output: Path
) -> Comparison:
    """Writes what was compared as JSON, tables and figures; a kind of task that the recipe lacks has no table."""
    data = _finite(
        {
            "clusterings": [asdict(task) for task in clusters],
            "pairs": [{**asdict(task), "correlations": task.correlations.tolist()} for task in pairs],
        }
    )
    tables = [*(cluster_tables(clusters) if clusters else ()), *(pair_tables(pairs) if pairs else ())]
    figures = figures_of(pairs)
    title = "Hidden states beside routing weights"
    page = write_files(output, "comparison", data, tables, title, list(figures.values()))
    for name, figure in figures.items():
        write_text(output / name, figure)
    return Comparison(data, tables, page)


def _finite(value: Any) -> Any:
    """The same with null for NaN, and lists for tuples."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def cluster_tables(tasks: Sequence[ClusterComparison]) -> list[TextTable]:
    """Agreement of clusters, their AMI, ARI and V-measure with the labels, and choices of alpha."""
    agreements = [
        [task.task, f"{a.first} and {a.second}", *(f"{getattr(a.agreement, name):.2f}" for name in AGREEMENT_FIELDS)]
        for task in tasks
        for a in task.agreements
    ]
    blocks = list(tasks[0].with_labels)
    labels = [
        [task.task, score, *(percent(task.with_labels[block][score]) for block in blocks)]
        for task in tasks
        for score in ("ami", "ari", "v_measure")
    ]
    alphas = [[task.task, a.rule, f"{a.alpha:g}", percent(a.ami)] for task in tasks for a in task.alphas]
    headers = ["task", "blocks", "AMI", "NMI", "Jaccard", "exact match"]
    return [
        TextTable("Agreement of clusters", headers, agreements, notes=AGREEMENT_NOTES),
        TextTable("Clusters and labels, in percent", ["task", "score", *blocks], labels, notes=LABEL_NOTES),
        TextTable("Values of alpha", ["task", "rule", "alpha", "AMI in percent"], alphas, notes=ALPHA_NOTES),
    ]


def pair_tables(tasks: Sequence[PairComparison]) -> list[TextTable]:
    """Correlations of similarities across prompts, with the known scores, and the errors of two blocks."""
    kinds, blocks = ("HS-HS", "RW-RW", "RW-HS"), list(tasks[0].spearman)
    means = [
        [
            task.task,
            f"{task.pairs:,} pairs, {len(task.names) // 2} prompts",
            *(f"{task.means[kind]:.2f}" if math.isfinite(task.means[kind]) else "–" for kind in kinds),
        ]
        for task in tasks
    ]
    gold = [
        [task.task, prompt, *(percent(task.spearman[block][prompt]) for block in blocks)]
        for task in tasks
        for prompt in task.spearman[blocks[0]]
    ]
    errors = [
        [task.task, pair, *("–" if (share := getattr(e, name)) is None else percent(share) for name in ERROR_FIELDS)]
        for task in tasks
        for pair, e in task.errors.items()
    ]
    threshold = next(iter(tasks[0].errors.values())).threshold
    error_notes = [f"A pair is right if its rank is within {threshold:.0%} of all ranks of its score's rank."]
    error_headers = ["task", "blocks", *ERROR_FIELDS.values()]
    return [
        TextTable("Mean Spearman of similarities across prompts", ["task", "what", *kinds], means, notes=MEAN_NOTES),
        TextTable("Spearman with the known scores, in percent", ["task", "prompt", *blocks], gold),
        TextTable("Errors of the two blocks, in percent of the pairs", error_headers, errors, notes=error_notes),
    ]


def figures_of(pairs: Sequence[PairComparison]) -> dict[str, str]:
    """Two figures of each task, by the name of their file."""
    figures = {}
    for comparison in pairs:
        task, groups = comparison.task, {block: list(by.values()) for block, by in comparison.spearman.items()}
        title = f"{task}: Spearman of similarities, by block and prompt"
        figures[f"{task}-prompts.svg"] = heatmap(title, comparison.names, comparison.correlations)
        title = f"{task}: each prompt's score"
        figures[f"{task}-robustness.svg"] = box_plot(title, groups, "Spearman with the known scores")
    return figures
