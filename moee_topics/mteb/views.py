"""Hidden states beside routing weights: do they see the same, and what does standardizing alone explain.

The analyses are the paper's (section 4.3: agreement of clusterings, similarities across prompts, errors on STS12) with
the controls it lacks: hidden states standardized like routing weights, and the agreement of one view with itself under
another seed of k-means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, v_measure_score

from moee_topics.embed import Embedder
from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError
from moee_topics.evaluate import (
    Agreement,
    ErrorComplementarity,
    clustering_agreement,
    error_complementarity,
    similarity_correlations,
)
from moee_topics.fuse import Criterion, Fusion, choose_alpha, grid_search_alpha
from moee_topics.mteb.board import Table, percent
from moee_topics.mteb.charts import box_plot, heatmap
from moee_topics.mteb.score_page import write_files
from moee_topics.mteb.score_recipe import ScoreRecipe
from moee_topics.mteb.tasks import TaskSource, clustering_rows, pair_rows
from moee_topics.progress import Progress, resumable
from moee_topics.store import make_folder, write_text

Vectors = Mapping[str, NDArray[np.float32]]
VIEWS = ("HS", "RW", "HS z", "RW z")
AGREED = (("HS", "RW"), ("HS z", "RW z"), ("HS", "HS z"), ("RW", "RW z"))
ALPHA_SAMPLE = 1000
CRITERIA: tuple[Criterion, ...] = ("neighbours", "spearman", "stability")


@dataclass(frozen=True)
class ViewAgreement:
    """The agreement of the clusters of two views; ``HS again`` is HS with another seed of k-means."""

    first: str
    second: str
    agreement: Agreement


@dataclass(frozen=True)
class AlphaTrial:
    """An alpha, how it was chosen, and the AMI with the labels that k-means reaches with it."""

    criterion: str
    alpha: float
    ami: float


@dataclass(frozen=True)
class ClusterComparison:
    """The views on one clustering task.

    Attributes:
        task: the task.
        documents: how many documents.
        clusters: number of labels, and of clusters of k-means.
        agreements: of pairs of views.
        with_labels: of each view AMI, ARI and V-measure with the labels.
        alphas: choices of alpha without labels, and the best in hindsight.
    """

    task: str
    documents: int
    clusters: int
    agreements: Sequence[ViewAgreement]
    with_labels: Mapping[str, Mapping[str, float]]
    alphas: Sequence[AlphaTrial]


@dataclass(frozen=True)
class PairComparison:
    """The views on one STS task, under one or more prompts.

    Attributes:
        task: the task.
        pairs: how many pairs.
        names: prompt and view of each row of ``correlations``.
        correlations: Spearman correlations of the similarities of the pairs.
        means: mean correlation of HS with HS and RW with RW across prompts (the diagonal left out), and RW with HS.
        spearman: of each view, by prompt, Spearman's correlation with the known scores.
        errors: HS and RW, and both standardized, under the first prompt.
    """

    task: str
    pairs: int
    names: Sequence[str]
    correlations: NDArray[np.float64]
    means: Mapping[str, float]
    spearman: Mapping[str, Mapping[str, float]]
    errors: Mapping[str, ErrorComplementarity]


def views_of(embeddings: Embeddings, alpha: float) -> dict[str, NDArray[np.float32]]:
    """Hidden states, routing weights and their sum (N, d), as they are and standardized (z) on these documents."""
    raw, scaled = Fusion("weighted_sum", alpha, "none"), Fusion("weighted_sum", alpha, "both").fit([embeddings])
    blocks, z_blocks = raw.blocks(embeddings), scaled.blocks(embeddings)
    sums = {"sum": raw.combine(blocks), "sum z": scaled.combine(z_blocks)}
    return {"HS": blocks[0], "RW": blocks[1], "HS z": z_blocks[0], "RW z": z_blocks[1], **sums}


def compare_clusters(
    task: str, embeddings: Embeddings, labels: Sequence[int], *, alpha: float, seed: int
) -> ClusterComparison:
    """Clusters each view with k-means, one cluster per label, and compares the clusters with each other and the labels.

    Raises:
        InputError: fewer than two labels, or not one for each document.
    """
    count = len(set(labels))
    if count < 2 or len(labels) != len(embeddings):
        raise InputError(
            f"{task} needs a label for each of {len(embeddings)} documents and two or more different ones."
        )
    vectors = views_of(embeddings, alpha)
    found = {name: k_means(matrix, count, seed) for name, matrix in vectors.items()}
    found["HS again"], found["RW again"] = (k_means(vectors[view], count, seed + 1) for view in ("HS", "RW"))
    pairs = [*AGREED, ("HS", "HS again"), ("RW", "RW again")]
    agreements = [ViewAgreement(a, b, clustering_agreement(found[a], found[b])) for a, b in pairs]
    with_labels = {name: _with_labels(labels, found[name]) for name in vectors}
    alphas = try_alphas(embeddings, labels, seed) if len(embeddings) >= 20 else []
    return ClusterComparison(task, len(embeddings), count, agreements, with_labels, alphas)


def k_means(vectors: NDArray[np.float32], clusters: int, seed: int) -> NDArray[np.int64]:
    """The cluster (N,) of each vector."""
    return np.asarray(KMeans(clusters, n_init=5, random_state=seed).fit_predict(vectors), dtype=np.int64)


def _with_labels(labels: Sequence[int], clusters: NDArray[np.int64]) -> dict[str, float]:
    return {
        "ami": float(adjusted_mutual_info_score(labels, clusters)),
        "ari": float(adjusted_rand_score(labels, clusters)),
        "v_measure": float(v_measure_score(labels, clusters)),
    }


def try_alphas(embeddings: Embeddings, labels: Sequence[int], seed: int) -> list[AlphaTrial]:
    """What alphas chosen without labels reach, beside the best of the same grid in hindsight."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(embeddings))[:ALPHA_SAMPLE])
    sample, known = embeddings[rows], [labels[row] for row in rows]
    fusion = Fusion(standardize="both").fit([sample])
    oracle = grid_search_alpha(sample, known, metric="ami", fusion=fusion, seed=seed)
    trials = []
    for criterion in CRITERIA:
        choice = choose_alpha(sample, criterion=criterion, fusion=fusion, seed=seed)
        trials.append(AlphaTrial(criterion, choice.alpha, oracle.scores[choice.alpha]))
    fixed = [AlphaTrial("fixed", alpha, oracle.scores[alpha]) for alpha in (0.0, 0.5, 1.0) if alpha in oracle.scores]
    return [*trials, *fixed, AlphaTrial("hindsight", oracle.alpha, oracle.scores[oracle.alpha])]


def compare_pairs(
    task: str, sides: Mapping[str, tuple[Embeddings, Embeddings]], gold: Sequence[float], *, alpha: float
) -> PairComparison:
    """Compares the similarities that views under several prompts give the same pairs.

    Args:
        task: name of the task.
        sides: of each prompt, the embeddings of the first and of the second texts.
        gold: the known score of each pair.
        alpha: of the sum.
    """
    similarities = {prompt: _similarities(first, second, alpha) for prompt, (first, second) in sides.items()}
    named = {f"{view} {prompt}": similarities[prompt][view] for view in ("HS", "RW") for prompt in sides}
    names, correlations = similarity_correlations(named)
    first = next(iter(similarities.values()))
    spearman = {
        view: {prompt: float(spearmanr(gold, found[view]).statistic) for prompt, found in similarities.items()}
        for view in first
    }
    errors = {f"{a}, {b}": error_complementarity(gold, first[a], first[b]) for a, b in (("HS", "RW"), ("HS z", "RW z"))}
    return PairComparison(
        task, len(gold), names, correlations, _block_means(correlations, len(sides)), spearman, errors
    )


def _similarities(first: Embeddings, second: Embeddings, alpha: float) -> dict[str, NDArray[np.float64]]:
    vectors = views_of(Embeddings.concatenate([first, second]), alpha)
    return {name: _cosines(matrix[: len(first)], matrix[len(first) :]) for name, matrix in vectors.items()}


def _cosines(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    dots = np.einsum("ij,ij->i", first, second, dtype=np.float64)
    norms = np.linalg.norm(first, axis=1).astype(np.float64) * np.linalg.norm(second, axis=1)
    return np.asarray(np.divide(dots, norms, out=np.zeros_like(dots), where=norms > 0))


def _block_means(correlations: NDArray[np.float64], prompts: int) -> dict[str, float]:
    upper = np.triu_indices(prompts, k=1)
    hidden, routing = correlations[:prompts, :prompts], correlations[prompts:, prompts:]
    across = {"HS-HS": hidden[upper], "RW-RW": routing[upper], "RW-HS": correlations[prompts:, :prompts].ravel()}
    return {name: float(values.mean()) if len(values) else math.nan for name, values in across.items()}


# --- the command ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` found and wrote.

    Attributes:
        data: the JSON.
        tables: for the terminal and the page.
        figures: SVG.
    """

    data: dict[str, Any]
    tables: Sequence[Table]
    figures: Sequence[str]


def compare(
    recipe: ScoreRecipe,
    output: Path,
    embedder_for: Callable[[str], Embedder],
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
    with resumable("Encoded texts are kept: run the same command again to go on."):
        work = _Work(recipe, embedder_for, progress)
        clusters = [work.clusters(source) for source in sources if source.type == "Clustering"]
        pairs = [work.pairs(source) for source in sources if source.type == "STS"]
    found = Comparison(_to_json(clusters, pairs), _tables(clusters, pairs), _figures(pairs))
    write_files(output, "comparison", found.data, found.tables, "Hidden states beside routing weights", found.figures)
    for name, figure in zip(_figure_names(pairs), found.figures, strict=True):
        write_text(output / name, figure)
    return found


class _Work:
    """The comparisons of one recipe."""

    def __init__(self, recipe: ScoreRecipe, embedder_for: Callable[[str], Embedder], progress: Progress) -> None:
        self.prompts = recipe.score.prompts or (recipe.encoder.prompt,)
        alpha = recipe.score.alpha
        self.alpha, self.seed = (Fusion.alpha if isinstance(alpha, str) else alpha[0]), recipe.seed
        self.embedder_for, self.progress = embedder_for, progress

    def clusters(self, source: TaskSource) -> ClusterComparison:
        texts, labels = clustering_rows(source)
        self.progress.begin(source.name, f"{len(texts):,} documents")
        embeddings = self._embed(self.prompts[0], texts)
        return compare_clusters(source.name, embeddings, labels, alpha=self.alpha, seed=self.seed)

    def pairs(self, source: TaskSource) -> PairComparison:
        first, second, gold = pair_rows(source)
        self.progress.begin(source.name, f"{len(gold):,} pairs, {len(self.prompts)} prompts")
        sides = {}
        for prompt in self.prompts:
            both = self._embed(prompt, [*first, *second])
            sides[prompt] = (both[: len(first)], both[len(first) :])
        return compare_pairs(source.name, sides, gold, alpha=self.alpha)

    def _embed(self, prompt: str, texts: Sequence[str]) -> Embeddings:
        embedder = self.embedder_for(prompt)
        embedder.progress = self.progress
        return embedder.embed(texts)


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
        [c.task, f"{a.first} and {a.second}", *(f"{v:.2f}" for v in _agreement(a.agreement))]
        for c in clusters
        for a in c.agreements
    ]
    notes = [
        "'again' is the same view with another seed of k-means: about the most that two views could agree.",
        "The paper reports for HS and RW of DeepSeekMoE-16B AMI 0.29, NMI 0.29, Jaccard 0.06, exact match 0.4554; on "
        "which data, and with how many clusters, it does not say.",
    ]
    return Table("Agreement of clusters", ["task", "views", "AMI", "NMI", "Jaccard", "exact match"], rows, (), notes)


def _agreement(found: Agreement) -> tuple[float, float, float, float]:
    return found.ami, found.nmi, found.jaccard, found.exact_match


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
        [p.task, f"{p.pairs:,} pairs, {len(p.names) // 2} prompts", *(_two(p.means[name]) for name in names)]
        for p in pairs
    ]
    notes = ["The paper reports 0.52, 0.63 and 0.51 for DeepSeekMoE-16B on STS12 with nine prompts."]
    return Table("Mean Spearman of similarities across prompts", ["task", "what", *names], rows, (), notes)


def _two(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "–"


def _gold_table(pairs: Sequence[PairComparison]) -> Table:
    views = list(pairs[0].spearman)
    rows = [
        [p.task, prompt, *(percent(p.spearman[view][prompt]) for view in views)]
        for p in pairs
        for prompt in p.spearman[views[0]]
    ]
    return Table("Spearman with the known scores, in percent", ["task", "prompt", *views], rows)


def _error_table(pairs: Sequence[PairComparison]) -> Table:
    rows = [[p.task, views, *_shares(errors)] for p in pairs for views, errors in p.errors.items()]
    headers = [
        "task",
        "views",
        "both right",
        "only first",
        "only second",
        "both wrong",
        "one right of errors",
        "by chance",
    ]
    threshold = next(iter(pairs[0].errors.values())).threshold
    notes = [f"A pair is right if its rank is within {threshold:.0%} of all ranks of its score's rank."]
    return Table("Errors of the two views, in percent of the pairs", headers, rows, (), notes)


def _shares(errors: ErrorComplementarity) -> list[str]:
    shares = (errors.both_right, errors.only_first_right, errors.only_second_right, errors.both_wrong)
    rest = (errors.one_right_of_errors, errors.one_right_if_independent)
    return [*(percent(share) for share in shares), *("–" if share is None else percent(share) for share in rest)]


def _figures(pairs: Sequence[PairComparison]) -> list[str]:
    figures = []
    for comparison in pairs:
        title = f"{comparison.task}: Spearman of similarities, by view and prompt"
        groups = {view: list(by_prompt.values()) for view, by_prompt in comparison.spearman.items()}
        figures.append(heatmap(title, comparison.names, comparison.correlations))
        figures.append(box_plot(f"{comparison.task}: each prompt's score", groups, "Spearman with the known scores"))
    return figures


def _figure_names(pairs: Sequence[PairComparison]) -> list[str]:
    return [f"{comparison.task}-{kind}.svg" for comparison in pairs for kind in ("prompts", "robustness")]
