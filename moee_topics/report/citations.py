"""Whom to cite for a run."""

from __future__ import annotations

from collections.abc import Mapping

from moee_topics.run_folder import RunFolder

REFERENCES = {
    "bertopic": (
        "Grootendorst, M. (2022). BERTopic: Neural topic modeling with a class-based TF-IDF procedure.",
        "arXiv:2203.05794",
        "the topic model",
    ),
    "moee": (
        "Li, Z. and Zhou, T. (2025). Your Mixture-of-Experts LLM Is Secretly an Embedding Model For Free. ICLR 2025.",
        "arXiv:2410.10814",
        "hidden states and routing weights as embeddings",
    ),
    "umap": (
        "McInnes, L., Healy, J. and Melville, J. (2018). UMAP: Uniform Manifold Approximation and Projection for "
        "Dimension Reduction.",
        "arXiv:1802.03426",
        "the reduction and the map",
    ),
    "hdbscan": (
        "Campello, R., Moulavi, D. and Sander, J. (2013). Density-Based Clustering Based on Hierarchical Density "
        "Estimates. PAKDD 2013.",
        "doi:10.1007/978-3-642-37456-2_14",
        "the clusters",
    ),
}
MODEL_REFERENCES = {
    "olmoe": ("Muennighoff, N. et al. (2024). OLMoE: Open Mixture-of-Experts Language Models.", "arXiv:2409.02060"),
    "qwen": ("Qwen Team (2024). Qwen2 Technical Report.", "arXiv:2407.10671"),
    "deepseek": (
        "Dai, D. et al. (2024). DeepSeekMoE: Towards Ultimate Expert Specialization in Mixture-of-Experts Language "
        "Models.",
        "arXiv:2401.06066",
    ),
}


OF_HDBSCAN = ("hdbscan", "sklearn_hdbscan", "fast_hdbscan", "cuml_hdbscan")
"""The ways to cluster (``cluster.method``) that are HDBSCAN, whoever wrote the program."""


def references(run: RunFolder) -> list[tuple[str, str, str]]:
    """Whom to cite for this run: (text, identifier, for what)."""
    cluster = run.section("recipe").get("cluster")  # runs of earlier versions have none, and were made by the defaults
    chosen = {"method": "hdbscan", "reducer": "umap", **(cluster if isinstance(cluster, Mapping) else {})}
    work, identifier, _ = REFERENCES["umap"]
    umap = (work, identifier, "the reduction and the map" if chosen["reducer"] == "umap" else "the map")
    clusters = [REFERENCES["hdbscan"]] if chosen["method"] in OF_HDBSCAN else []
    model = str(run.section("encoder").get("model") or "")
    encoder = [(*reference, "the encoder") for key, reference in MODEL_REFERENCES.items() if key in model.lower()]
    if model and not encoder:
        encoder = [(f"The model {model}; see its card for how to cite it.", "", "the encoder")]
    return [REFERENCES["bertopic"], REFERENCES["moee"], *encoder, umap, *clusters]
