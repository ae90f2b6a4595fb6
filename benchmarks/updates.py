"""A run that grows in five slices beside one fit of everything: agreement with the classes, and what stays.

    SCIKIT_LEARN_DATA=../shared/data/scikit_learn_data python -m benchmarks.updates --output FOLDER
    python -m benchmarks.updates --source arxiv --output FOLDER

2,500 posts of 20 Newsgroups, 125 of each group, in the order of their article numbers: posts of this collection carry
no dates, but a group numbers them as they come in. Or 1,600 titles of arXiv, 100 of each archive, by year and month,
which their ids say. The first fifth is the run, the others come in four updates by each policy. Once more with a class
that is held out of the first three slices: is it born? Writes benchmarks/results/updates.json, or updates-arxiv.json,
and prints it. Seconds are the processor's.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from moee_topics import run as pipeline
from moee_topics.corpus import CorpusSettings, open_corpus
from moee_topics.recipe import Recipe, parse_recipe
from moee_topics.run import Policy
from moee_topics.run_folder import RunFolder
from moee_topics.store import write_json, write_text
from moee_topics.topics import OUTLIERS, TopicResult

SLICES, LATE = 5, 3
RESULTS = Path(__file__).with_name("results")
ARCHIVES = Path(__file__).parents[2] / "shared" / "data" / "arxiv_clustering" / "archives.jsonl.gz"
HIDDEN_STATES: dict[str, Any] = {"method": "hidden_states", "standardize": True}
SUM: dict[str, Any] = {"method": "weighted_sum", "alpha": 0.25, "standardize": True}

RecipeOf = Callable[[str], Recipe]
"""The recipe of a run on a file."""


@dataclass(frozen=True)
class Post:
    """One document, and the slice it comes in; year and month where its collection has dates."""

    id: str
    text: str
    label: str
    slice: int
    month: str = ""


def read_posts(per_group: int) -> list[Post]:
    """So many different posts of every newsgroup, evenly over its article numbers, in as many parts as slices."""
    groups: dict[str, dict[str, tuple[int, str]]] = {}
    for document in open_corpus(CorpusSettings(source="20newsgroups")):
        number = int(document.id.split("/")[1].partition("#")[0])
        groups.setdefault(str(document.label), {}).setdefault(document.text, (number, document.id))
    posts = []
    for group, texts in sorted(groups.items()):
        ordered = sorted((number, name, text) for text, (number, name) in texts.items())
        chosen = [ordered[place] for place in np.linspace(0, len(ordered) - 1, per_group).astype(int)]
        posts += [Post(name, text, group, place * SLICES // per_group) for place, (_, name, text) in enumerate(chosen)]
    return posts


def month_of(arxiv_id: str) -> str:
    """Year and month of an arXiv id, such as hep-ph/0502154; one that became a number, 802.4098, has lost its zero."""
    digits = arxiv_id.rpartition("/")[2].partition(".")[0].zfill(4)
    century = 1900 if int(digits[:2]) > 90 else 2000  # the first paper is of 1991
    return f"{century + int(digits[:2])}-{digits[2:4]}"


def read_titles(per_archive: int) -> list[Post]:
    """So many different titles of every archive, evenly over its years; slices are fifths of all, by month."""
    archives: dict[str, dict[str, tuple[str, str]]] = {}
    for document in open_corpus(CorpusSettings(source=str(ARCHIVES), text="text", id="id", label="label_name")):
        month = month_of(document.id)
        archives.setdefault(str(document.label), {}).setdefault(document.text, (month, document.id))
    chosen = []
    for archive, titles in sorted(archives.items()):
        ordered = sorted((month, name, text) for text, (month, name) in titles.items())
        places = np.linspace(0, len(ordered) - 1, per_archive).astype(int)
        chosen += [(*ordered[place], archive) for place in places]
    return [
        Post(name, text, archive, place * SLICES // len(chosen), month)
        for place, (month, name, text, archive) in enumerate(sorted(chosen))
    ]


@dataclass(frozen=True)
class Collection:
    """Documents in the order they came in, and how they are read.

    Attributes:
        read: gives so many documents of each class.
        per_class: how many.
        held_out: classes to be held out of the first slices, one at a time.
        results: name of the JSON.
        fusion: of the recipe.
        tokens, prompt: of the encoder.
        min_cluster_size: of HDBSCAN.
        come_late: classes that are in the last slices alone without being held out.
    """

    read: Callable[[int], list[Post]]
    per_class: int
    held_out: tuple[str, ...]
    results: str
    fusion: dict[str, Any]
    tokens: int = 96
    prompt: str = "none"
    min_cluster_size: int = 15
    come_late: tuple[str, ...] = ()


# Posts are read and fused as by the recipe 20newsgroups-pocket, titles as `moee-topics init` writes it for short
# texts; econ and eess began in 2017.
COLLECTIONS = {
    "20newsgroups": Collection(
        read_posts,
        per_class=125,
        held_out=("sci.space", "rec.sport.hockey", "talk.politics.mideast"),
        results="updates.json",
        fusion={**SUM, "lexical": 1.0},
        tokens=128,
    ),
    "arxiv": Collection(
        read_titles,
        per_class=100,
        held_out=("astro-ph", "quant-ph"),
        come_late=("econ", "eess"),
        results="updates-arxiv.json",
        prompt="cluster",
        fusion={**SUM, "lexical": 0.25},
        min_cluster_size=10,
    ),
}


def write_slices(posts: list[Post], folder: Path, held_out: str | None) -> list[str]:
    """A file for each slice, and one of all; a held-out class is in the last slices alone."""
    rows: list[list[str]] = [[] for _ in range(SLICES)]
    for post in posts:
        if post.label != held_out or post.slice >= LATE:
            rows[post.slice].append(json.dumps({"id": post.id, "text": post.text, "label": post.label}) + "\n")
    for number, lines in enumerate([*rows, [line for part in rows for line in part]]):
        write_text(folder / f"slice-{number}.jsonl", "".join(lines))
    return [str(folder / f"slice-{number}.jsonl") for number in range(SLICES + 1)]


def recipe_of(
    source: str,
    tokens: int,
    prompt: str = "none",
    fusion: dict[str, Any] = HIDDEN_STATES,
    min_cluster_size: int = 15,
) -> Recipe:
    """The recipe of every run here."""
    return parse_recipe(
        {
            "corpus": {"source": source},
            "encoder": {"model": "pocket", "prompt": prompt, "pooling": "mean", "max_tokens": tokens},
            "fusion": fusion,
            "hdbscan": {"min_cluster_size": min_cluster_size, "min_samples": 3, "cluster_selection_method": "leaf"},
            "ctfidf": {"reduce_frequent_words": True},
            "topics": {
                "representation": "ctfidf",
                "outliers": {"strategy": "embeddings", "target_share": 0.2},
                **dict.fromkeys(("hierarchy", "per_class", "experts"), False),
            },
            "scores": ["outliers", "ami"],
            "report": {"html": False},
        }
    )


def facts_of(result: TopicResult) -> dict[str, Any]:
    """Topics, outliers, and the agreement of topics and classes, outliers as one topic."""
    labels = [str(label) for label in result.labels or []]
    return {
        "documents": len(result),
        "topics": result.topic_count,
        "outliers": round(result.outlier_share, 4),
        "ami": round(float(adjusted_mutual_info_score(labels, result.topics)), 4),
    }


def kept(before: TopicResult, after: TopicResult) -> dict[str, float]:
    """Of the documents that had a topic, the share that has the same id now, and the most that any numbering gives."""
    topics = dict(zip(after.ids, after.topics.tolist(), strict=True))
    pairs = [(topic, topics[name]) for name, topic in zip(before.ids, before.topics.tolist(), strict=True)]
    old, new = np.array([pair for pair in pairs if pair[0] != OUTLIERS]).T
    overlap = contingency_matrix(old[new != OUTLIERS], new[new != OUTLIERS])
    most = overlap[linear_sum_assignment(-overlap)].sum() / len(old)
    return {"kept": round(float(np.mean(old == new)), 4), "kept_at_most": round(float(most), 4)}


def best_topic(result: TopicResult, group: str, born: set[int]) -> dict[str, Any]:
    """The topic that holds a class best, by F1 of its documents, among some topics."""
    inside = np.array([label == group for label in result.labels or []])
    best: dict[str, Any] = {"topic": None, "f1": 0.0}
    for topic in sorted(born):
        of_topic = result.topics == topic
        both = int((inside & of_topic).sum())
        f1 = 2 * both / max(1, int(inside.sum() + of_topic.sum()))
        if f1 > best["f1"]:
            best = {"topic": topic, "f1": round(f1, 4), "precision": round(both / int(of_topic.sum()), 4)}
            best |= {"recall": round(both / int(inside.sum()), 4), "name": result.topic(topic).name}
    return best


def latecomer(early: TopicResult, late: TopicResult, group: str) -> dict[str, Any]:
    """Which topic holds a class that came late: of those born since then, and of all."""
    topics = {topic.topic for topic in late.topic_info} - {OUTLIERS}
    born = topics - {topic.topic for topic in early.topic_info}
    return {
        "documents": (late.labels or []).count(group),
        "born": len(born),
        "best_born": best_topic(late, group, born),
        "best_of_all": best_topic(late, group, topics),
    }


def grown_run(
    first: Path, folder: Path, store: Path, slices: list[str], policy: Policy, come_late: Sequence[str]
) -> dict[str, Any]:
    """The run of the first slice, then an update for every other slice; and the classes that come late anyway."""
    shutil.copytree(first, folder)
    results = [RunFolder.read(folder).result]
    versions = [facts_of(results[0])]
    for source in slices[1:SLICES]:
        started = time.process_time()
        record = pipeline.update(folder, [source], policy, store=store).record
        seconds = round(time.process_time() - started, 1)
        before, after = results[-1], RunFolder.read(folder).result
        results.append(after)
        events = dict.fromkeys(("born", "split", "merged", "gone"), 0)
        for event in record["lineage"]:
            events[event["event"]] += 1
        versions.append({**facts_of(after), **kept(before, after), **events, "seconds_of_processor": seconds})
    late = {group: latecomer(results[LATE - 1], results[-1], group) for group in come_late}
    return {"versions": versions, "from_the_first": kept(results[0], results[-1]), "come_late": late}


def late_group(
    folder: Path, store: Path, slices: list[str], recipe: RecipeOf, group: str, policies: Sequence[Policy]
) -> dict[str, Any]:
    """A run of slices without a class, then updates with it: which topic holds it, by each policy."""
    early = folder / "early.jsonl"
    write_text(early, "".join(Path(source).read_text(encoding="utf-8") for source in slices[:LATE]))
    first = pipeline.run(recipe(str(early)), folder / "first", store).result
    facts: dict[str, Any] = {}
    for policy in policies:
        shutil.copytree(folder / "first", folder / policy)
        for source in slices[LATE:SLICES]:
            pipeline.update(folder / policy, [source], policy, store=store)
        facts[policy] = latecomer(first, RunFolder.read(folder / policy).result, group)
    return facts


def measured(collection: Collection, posts: list[Post], output: Path, policies: Sequence[Policy]) -> dict[str, Any]:
    """All figures of a collection, written after each step; the model is timed by itself."""
    reading = {name: getattr(collection, name) for name in ("tokens", "prompt", "fusion", "min_cluster_size")}
    recipe, store = partial(recipe_of, **reading), output / "store"
    slices = write_slices(posts, output / "all", None)
    started = time.process_time()
    pipeline.embed(recipe(slices[SLICES]), store)
    encoded = time.process_time()
    whole = pipeline.run(recipe(slices[SLICES]), output / "whole", store).result
    results: dict[str, Any] = {"documents": len(posts), **reading, "held_out": {}}
    if posts[0].month:
        results["last_months"] = [max(post.month for post in posts if post.slice == at) for at in range(SLICES)]
    results |= {"machine": platform.machine(), "python": platform.python_version(), "numpy": version("numpy")}
    results["encoding_seconds_of_processor"] = round(encoded - started, 1)
    results["whole"] = {**facts_of(whole), "seconds_of_processor": round(time.process_time() - encoded, 1)}
    pipeline.run(recipe(slices[0]), output / "first", store)
    for policy in policies:
        results[policy] = grown_run(output / "first", output / policy, store, slices, policy, collection.come_late)
        write_json(RESULTS / collection.results, results)
    for group in collection.held_out:
        parts = write_slices(posts, output / group, group)
        results["held_out"][group] = late_group(output / group, store, parts, recipe, group, policies)
        write_json(RESULTS / collection.results, results)
    return results


def main() -> None:
    """Encodes, fits, updates, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="a new folder for the runs and their store")
    parser.add_argument("--source", choices=COLLECTIONS, default="20newsgroups")
    parser.add_argument("--documents", type=int, help="of each class")
    parser.add_argument("--policies", nargs="+", choices=get_args(Policy), default=get_args(Policy))
    arguments = parser.parse_args()
    collection = COLLECTIONS[arguments.source]
    posts = collection.read(arguments.documents or collection.per_class)
    print(json.dumps(measured(collection, posts, arguments.output, arguments.policies), indent=1))


if __name__ == "__main__":
    main()
