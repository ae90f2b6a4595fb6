"""Arguments of upstream that are right one by one and wrong, or without effect, beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from moee_topics.topics.upstream import (
    HDBSCAN_ARGUMENTS_OF,
    BertopicArguments,
    ClusterMethod,
    CtfidfArguments,
    HdbscanArguments,
    Reducer,
    UmapArguments,
    VectorizerArguments,
)


class HasUpstream(Protocol):
    """The sections whose arguments depend on each other, whoever has them."""

    umap: UmapArguments
    hdbscan: HdbscanArguments
    vectorizer: VectorizerArguments
    ctfidf: CtfidfArguments
    bertopic: BertopicArguments


def faults_together(
    sections: HasUpstream, outlier_strategy: str | None = None, tokenizer: str | None = None
) -> list[str]:
    """What is right one by one and wrong together: upstream would refuse it, or one of them would have no effect.

    Args:
        sections: the arguments.
        outlier_strategy: of the reduction of outliers, where there is one.
        tokenizer: that cuts words, where there is one.
    """
    umap, hdbscan, vectorizer = sections.umap, sections.hdbscan, sections.vectorizer
    metric, algorithm = hdbscan.get("metric", "euclidean"), hdbscan.get("algorithm", "best")
    low, high = vectorizer.get("min_df", 1), vectorizer.get("max_df", 1.0)
    checks = {
        "umap.min_dist is above umap.spread (1.0 unless given)": umap.get("min_dist", 0.0) > umap.get("spread", 1.0),
        "umap.metric_kwds is for umap.metric=minkowski": "metric_kwds" in umap and umap.get("metric") != "minkowski",
        f"hdbscan.algorithm={algorithm} cannot search by {metric}; best and ball trees can": (
            metric in ("canberra", "braycurtis") and algorithm.endswith("kdtree")
        ),
        "topics.outliers.strategy=probabilities needs bertopic.calculate_probabilities=true": (
            outlier_strategy == "probabilities" and not sections.bertopic.get("calculate_probabilities", False)
        ),
        # A count and a share can be compared only where the documents are counted.
        "vectorizer.min_df is above vectorizer.max_df": type(low) is type(high) and low > high,
        **_without_effect(sections, tokenizer),
    }
    return [fault for fault, holds in checks.items() if holds]


def faults_of_cluster(
    sections: HasUpstream, method: ClusterMethod, reducer: Reducer, clusters: int | None
) -> list[str]:
    """Arguments that a way to cluster needs and has not, or would not look at."""
    unread = [] if reducer == "umap" else ["min_dist", *(["n_components"] if reducer == "none" else [])]
    unknown = [f"hdbscan.{name}" for name in sections.hdbscan if name not in HDBSCAN_ARGUMENTS_OF[method]]
    checks = {
        "cluster.clusters is missing: cluster.method=kmeans must know how many": method == "kmeans" and not clusters,
        "cluster.clusters is for cluster.method=kmeans": method != "kmeans" and clusters is not None,
        f"bertopic.calculate_probabilities is for cluster.method=hdbscan, and not for {method}": (
            method != "hdbscan" and sections.bertopic.get("calculate_probabilities", False)
        ),
        f"cluster.method={method} ignores {', '.join(unknown)}; hdbscan={{}} leaves all of it out": bool(unknown),
        **{f"umap.{name} does nothing with cluster.reducer={reducer}": name in sections.umap for name in unread},
    }
    return [fault for fault, holds in checks.items() if holds]


def _without_effect(sections: HasUpstream, tokenizer: str | None) -> dict[str, bool]:
    """Arguments that upstream takes and does not look at beside others, each with whether it stands so here."""
    umap, hdbscan, vectorizer, ctfidf = sections.umap, sections.hdbscan, sections.vectorizer, sections.ctfidf
    algorithm = hdbscan.get("algorithm", "best")
    by_prims, by_leaves = algorithm.startswith("prims"), hdbscan.get("cluster_selection_method") == "leaf"
    # hdbscan 0.8.44 scales distances by alpha in Prim's algorithm alone; "best" takes that above 60 dimensions.
    is_unscaled = not by_prims and (algorithm != "best" or umap.get("n_components", 5) <= 60)
    by_letters = vectorizer.get("analyzer", "word") != "word"
    cuts_words = tokenizer is not None and ("token_pattern" in vectorizer or by_letters)
    boruvka = "hdbscan.{} is for Boruvka's algorithm, which best and boruvka_kdtree take"
    leaf = "hdbscan.{} does nothing with hdbscan.cluster_selection_method=leaf"
    rows: tuple[tuple[str, Mapping[str, Any], str, bool], ...] = (
        ("umap.{} is for umap.densmap=true", umap, "dens_lambda dens_frac dens_var_shift", not umap.get("densmap")),
        ("hdbscan.{} is for hdbscan.algorithm=prims_kdtree", hdbscan, "alpha", is_unscaled),
        (boruvka, hdbscan, "approx_min_span_tree core_dist_n_jobs", by_prims),
        (leaf, hdbscan, "max_cluster_size cluster_selection_epsilon_max", by_leaves),
        ("ctfidf.{} is for ctfidf.seed_words", ctfidf, "seed_multiplier", not ctfidf.get("seed_words")),
        ("vectorizer.{} is for vectorizer.analyzer=word", vectorizer, "token_pattern stop_words", by_letters),
        (
            "vectorizer.{} does nothing with vectorizer.vocabulary",
            vectorizer,
            "min_df max_df max_features",
            "vocabulary" in vectorizer,
        ),
        ("topics.tokenizer does nothing with vectorizer.{}", vectorizer, "token_pattern analyzer", cuts_words),
    )
    return {
        text.format(name): idle and name in section for text, section, names, idle in rows for name in names.split()
    }
