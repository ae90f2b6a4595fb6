"""What several prompts, and an echo, do to the clusters of the embedded model, beside the bare text.

    python -m benchmarks.prompts --data ../shared/data --store vectors

k-means with as many clusters as classes on vectors at length one, AMI in percent, mean of three seeds. Every prompt is
encoded once and kept in --store; how prompts are combined is read from there. Writes benchmarks/results/prompts.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.labelled_sets import SETS, corpus_of
from moee_topics.embed import Embedder
from moee_topics.encode import EncoderSource
from moee_topics.evaluate import score_view
from moee_topics.fuse import Fusion
from moee_topics.mteb.view_comparison import labels_of, sampled
from moee_topics.recipe import parse_recipe
from moee_topics.run import Workspace
from moee_topics.store import read_json, write_json

RESULTS = Path(__file__).with_name("results") / "prompts.json"
CLUSTERING = ("cluster", "classification", "summary", "category")
ASPECTS = ("style", "sentiment", "tone", "intent", "complexity", "subjectivity", "language_style", "grammar_structure")
WAYS: Mapping[str, Sequence[str]] = {
    **{name: (name,) for name in ("none", "echo", "prompteol", *CLUSTERING)},
    "two for clustering": CLUSTERING[:2],
    "two for clustering and none": ("none", *CLUSTERING[:2]),
    "four for clustering": CLUSTERING,
    "four for clustering and none": ("none", *CLUSTERING),
    "three aspects": ASPECTS[:3],
    "eight aspects": ASPECTS,
}
READ = {"weighted_mean": "none", "last_token": "hidden_states"}
"""Poolings, and what is standardized."""


def measured(texts: Sequence[str], labels: Sequence[str], prompts: Sequence[str], combine: str, store: Path) -> Any:
    """The AMI of each pooling of the texts in these prompts."""
    found = {}
    for pooling, standardize in READ.items():
        encoder = {"prompts": list(prompts), "combine_prompts": combine, "max_tokens": 128, "pooling": pooling}
        recipe = parse_recipe({"corpus": {"source": "docstrings"}, "encoder": encoder})
        source = EncoderSource(recipe.encoder)
        embeddings = Embedder(source, store, key=source.stored_key(store)).embed(texts)
        fusion = Fusion("hidden_states", standardize=standardize).fit([embeddings])  # type: ignore[arg-type]
        scores = score_view(fusion.transform(embeddings), labels, seeds=range(42, 45))
        found[pooling] = round(100 * (scores.ami or 0.0), 1)
    return found


def main() -> None:
    """Measures every way on every set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=["arxiv-titles:400", "newsgroups:300"], help="and documents")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = read_json(asked.output, default={})
    for each in asked.sets:
        name, _, most = each.partition(":")
        corpus = corpus_of(asked.data, SETS[name])
        if corpus["source"] == "20newsgroups":
            corpus["data_home"] = str(asked.data / "scikit_learn_data")
        work = Workspace(parse_recipe({"corpus": corpus}), asked.store, asked.store)
        documents = sampled(work, int(most))
        texts, labels = [document.text for document in documents], labels_of(documents) or []
        known = result.get(name, {})
        same = known.get("documents") == len(texts)  # ways measured on other documents cannot stand beside these
        result[name] = {"documents": len(texts), "ami": known["ami"] if same else {}}
        for way in asked.ways:
            prompts = WAYS[way]
            for combine in ("mean", "concat") if len(prompts) > 1 else ("mean",):
                label = f"{way}, {combine}" if len(prompts) > 1 else way
                result[name]["ami"][label] = measured(texts, labels, prompts, combine, asked.store)
                print(name, label, result[name]["ami"][label], flush=True)
        write_json(asked.output, result)


if __name__ == "__main__":
    main()
