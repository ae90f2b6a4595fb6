"""A run that grows in five slices beside one fit of everything: agreement with the newsgroups, and what stays.

    SCIKIT_LEARN_DATA=../shared/data/scikit_learn_data python benchmarks/updates.py --output /tmp/updates

4,000 posts of 20 Newsgroups, 200 of each group, in the order of their article numbers: posts of this collection carry
no dates, but a group numbers them as they come in. The first fifth of every group is the run, the others come in four
updates by each policy. Once more with a group that is held out of the first three slices: is it born? Writes
benchmarks/results/updates.json and prints it.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import time
from dataclasses import dataclass
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

SLICES, PER_GROUP = 5, 200
LATE = 3
HELD_OUT = ("sci.space", "rec.sport.hockey", "talk.politics.mideast")
RESULTS = Path(__file__).with_name("results") / "updates.json"


@dataclass(frozen=True)
class Post:
    """One post, and the slice it comes in."""

    id: str
    text: str
    label: str
    slice: int


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


def write_slices(posts: list[Post], folder: Path, held_out: str | None) -> list[str]:
    """A file for each slice, and one of all; a held-out group is in the last slices alone."""
    rows: list[list[str]] = [[] for _ in range(SLICES)]
    for post in posts:
        if post.label != held_out or post.slice >= LATE:
            rows[post.slice].append(json.dumps({"id": post.id, "text": post.text, "label": post.label}) + "\n")
    for number, lines in enumerate([*rows, [line for part in rows for line in part]]):
        write_text(folder / f"slice-{number}.jsonl", "".join(lines))
    return [str(folder / f"slice-{number}.jsonl") for number in range(SLICES + 1)]


def recipe_of(source: str, tokens: int) -> Recipe:
    """The recipe of every run here."""
    return parse_recipe(
        {
            "corpus": {"source": source},
            "encoder": {"model": "pocket", "prompt": "none", "pooling": "mean", "max_tokens": tokens},
            "fusion": {"method": "hidden_states", "standardize": True},
            "hdbscan": {"min_cluster_size": 15, "min_samples": 3, "cluster_selection_method": "leaf"},
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
    """Topics, outliers, and the agreement of topics and newsgroups, outliers as one topic."""
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
    """The topic that holds a newsgroup best, by F1 of its documents, among some topics."""
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


def grown_run(folder: Path, store: Path, slices: list[str], tokens: int, policy: Policy) -> dict[str, Any]:
    """The first slice as a run, then an update for every other slice."""
    pipeline.run(recipe_of(slices[0], tokens), folder, store)
    versions = [facts_of(RunFolder.read(folder).result)]
    for source in slices[1:SLICES]:
        before, started = RunFolder.read(folder).result, time.perf_counter()
        record = pipeline.update(folder, [source], policy, store=store).record
        after = RunFolder.read(folder).result
        events = dict.fromkeys(("born", "split", "merged", "gone"), 0)
        for event in record["lineage"]:
            events[event["event"]] += 1
        versions.append(
            {
                **facts_of(after),
                **kept(before, after),
                **events,
                "seconds": round(time.perf_counter() - started, 1),
            }
        )
    first = RunFolder(folder).result
    return {"versions": versions, "from_the_first": kept(first, RunFolder.read(folder).result)}


def late_group(folder: Path, store: Path, slices: list[str], tokens: int, group: str) -> dict[str, Any]:
    """A run of slices without a newsgroup, then updates with it: which topic holds it, by each policy."""
    early = folder / "early.jsonl"
    write_text(early, "".join(Path(source).read_text(encoding="utf-8") for source in slices[:LATE]))
    first = pipeline.run(recipe_of(str(early), tokens), folder / "assign", store).result
    known = {topic.topic for topic in first.topic_info}
    facts: dict[str, Any] = {}
    for policy in get_args(Policy)[1:]:
        shutil.copytree(folder / "assign", folder / policy, dirs_exist_ok=True)
    for policy in get_args(Policy):
        for source in slices[LATE:SLICES]:
            pipeline.update(folder / policy, [source], policy, store=store)
        late = RunFolder.read(folder / policy).result
        topics = {topic.topic for topic in late.topic_info} - {OUTLIERS}
        facts[policy] = {
            "born": len(topics - known),
            "best_born": best_topic(late, group, topics - known),
            "best_of_all": best_topic(late, group, topics),
        }
    return facts


def main() -> None:
    """Encodes, fits, updates, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="a new folder for the runs and their store")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--posts", type=int, default=PER_GROUP, help="of each newsgroup")
    arguments = parser.parse_args()
    output, tokens, store = arguments.output, arguments.tokens, arguments.output / "store"
    posts = read_posts(arguments.posts)
    slices = write_slices(posts, output / "all", None)
    pipeline.embed(recipe_of(slices[SLICES], tokens), store)  # once: what is timed below is everything but the model
    started = time.perf_counter()
    whole = pipeline.run(recipe_of(slices[SLICES], tokens), output / "whole", store).result
    results: dict[str, Any] = {"documents": len(posts), "tokens": tokens, "slices": SLICES, "held_out": {}}
    results |= {"machine": platform.machine(), "python": platform.python_version(), "numpy": version("numpy")}
    results["whole"] = {**facts_of(whole), "seconds": round(time.perf_counter() - started, 1)}
    for policy in get_args(Policy):
        results[policy] = grown_run(output / policy, store, slices, tokens, policy)
        write_json(RESULTS, results)
    for group in HELD_OUT:
        parts = write_slices(posts, output / group, group)
        results["held_out"][group] = late_group(output / group, store, parts, tokens, group)
        write_json(RESULTS, results)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
