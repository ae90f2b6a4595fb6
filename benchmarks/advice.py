"""What asks for a refit: shares of topics and routing where nothing drifts, the mixture shifts, or classes come.

    SCIKIT_LEARN_DATA=../shared/data/scikit_learn_data python -m benchmarks.drift --output FOLDER
    SCIKIT_LEARN_DATA=../shared/data/scikit_learn_data python -m benchmarks.advice --runs FOLDER

Takes the first versions of the runs that benchmarks.drift left, and draws new documents for them: late posts as they
are, of few newsgroups alone, of newsgroups that the run never saw, and titles of arXiv. Beside the two figures stands
what they are to tell: how often the topic that `assign` gives is one that the post's newsgroup had before. And how
often an advice is wrong: random posts of the run itself are taken for new ones, which have not drifted. Writes
benchmarks/results/advice.json and prints it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from benchmarks.drift import EARLY, RELIGION, SPORTS, write_posts
from benchmarks.updates import Post, read_posts, read_titles, recipe_of
from moee_topics import run as pipeline
from moee_topics.evaluate import far_documents, gather_routing_weights
from moee_topics.evaluate.drift import Advice, find_drift, routing_distance, topic_shares
from moee_topics.fuse import fuse_all
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import RunFolder
from moee_topics.store import write_json
from moee_topics.topics import OUTLIERS, Voters

DRAWS, NEW, TITLES_PER_ARCHIVE = 20, 250, 40
UNDRIFTED, UNDRIFTED_DRAWS = (40, 100, 250, 600), 30
RESULTS = Path(__file__).with_name("results") / "advice.json"


@dataclass(frozen=True)
class Fitted:
    """A run and documents that may come to it, all by its fusion.

    Attributes:
        topics: (N,) of the run, then those that `assign` gives.
        labels: (N,) newsgroups, or archives of titles.
        weights: (N, L, E) routing weights.
        far: (N,) whether a document is farther from all of the run than nearly all of these are.
        fitted: N of the run, which come first.
        X: (N, d) vectors of the run.
    """

    topics: NDArray[np.int64]
    labels: NDArray[np.str_]
    weights: NDArray[np.float16]
    far: NDArray[np.bool_]
    fitted: int
    X: NDArray[np.float32]

    @classmethod
    def read(cls, folder: Path, store: Path, late: Sequence[Post], tokens: int) -> Fitted:
        """The first version of a run, and its topics for other documents."""
        run = RunFolder(folder / "run")
        old = [Post(*facts, 0) for facts in zip(run.result.ids, run.result.texts, run.result.labels or [], strict=True)]
        posts = [*old, *late]
        recipe = recipe_of(write_posts(posts, folder / "advice.jsonl"), tokens)
        pipeline.embed(recipe, store)
        work = Workspace(recipe, folder / "none", store)
        hashes, texts = work.survey.hash_list(), [post.text for post in posts]
        X = fuse_all(work.embedder.stored_blocks(hashes), run.fusion, len(hashes), texts)
        voters = Voters.fit(X[: len(old)], run.result.topics)
        new, _ = voters.predict(X[len(old) :])
        own = voters.nearest(voters.vectors, own=True)[1].max(axis=1)
        is_far = far_documents(own, voters.nearest(X[len(old) :])[1].max(axis=1))
        far = np.concatenate([np.zeros(len(old), dtype=bool), is_far])
        weights = gather_routing_weights(work.embedder.stored_blocks(hashes), len(hashes))
        labels = np.array([post.label for post in posts])
        return cls(np.concatenate([run.result.topics, new]), labels, weights, far, len(old), X[: len(old)])

    def figures(self, new: NDArray[np.int64], rng: np.random.Generator) -> dict[str, float]:
        """Both figures of some new documents, as :func:`find_drift` has them, and how well old topics fit these."""
        rows = np.concatenate([np.arange(self.fitted), new])
        moved, _ = topic_shares(self.topics[: self.fitted], self.topics[new], rng)
        routing = routing_distance(self.weights[rows], np.arange(len(rows)) >= self.fitted, rng)
        return {
            "moved": moved.value,
            "moved_over_chance": moved.value / moved.chance,
            "routing": routing.value,
            "routing_over_chance": routing.value / routing.chance,
            "far": float(self.far[new].mean()),
            "at_home": float(self.at_home[new].mean()),
        }

    def advice_on_own(self, size: int, seed: int) -> Advice:
        """What is advised where so many documents of the run, drawn at random, are taken for new ones."""
        is_new = np.zeros(self.fitted, dtype=bool)
        is_new[np.random.default_rng(seed).permutation(self.fitted)[:size]] = True
        topics = self.topics[: self.fitted].copy()
        old = Voters.fit(self.X[~is_new], topics[~is_new], most=self.fitted)
        both = Voters.fit(self.X, is_new.astype(np.int64), most=self.fitted)
        topics[is_new] = old.predict(self.X[is_new])[0]
        return find_drift(
            old.nearest(old.vectors, own=True)[1].max(axis=1),
            old.nearest(self.X[is_new])[1].max(axis=1),
            both.nearest(both.vectors, own=True)[0],
            is_new[both.rows],
            topics,
            is_new,
            self.weights[: self.fitted],
            seed=seed,
        ).advice

    @cached_property
    def at_home(self) -> NDArray[np.bool_]:
        """(N,) whether a document is in a topic that holds more of its class than of any other in the run."""
        topics, labels = self.topics[: self.fitted], self.labels[: self.fitted]
        majority = {OUTLIERS: ""}
        for topic in np.unique(topics).tolist():
            names, counts = np.unique(labels[topics == topic], return_counts=True)
            majority.setdefault(topic, str(names[counts.argmax()]))
        return np.array([majority[topic] for topic in self.topics.tolist()] == self.labels, dtype=np.bool_)


def draws_of(
    fitted: Fitted, share: float, strange: NDArray[np.bool_], size: int, groups: int
) -> Iterator[dict[str, float]]:
    """Figures of new documents, a share of which is strange and the rest of so many of the newsgroups."""
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        late = np.arange(len(fitted.labels)) >= fitted.fitted
        known = np.unique(fitted.labels[late & ~strange])
        of_groups = np.isin(fitted.labels, rng.permutation(known)[:groups])
        pools = (np.flatnonzero(late & strange), np.flatnonzero(late & ~strange & of_groups))
        wanted = (round(share * size), size - round(share * size))
        rows = [rng.permutation(pool)[:count] for pool, count in zip(pools, wanted, strict=True)]
        yield fitted.figures(np.sort(np.concatenate(rows)), rng)


def row_of(name: str, figures: Iterator[dict[str, float]]) -> dict[str, Any]:
    """Middle and ends of the draws of one case."""
    drawn = list(figures)
    quantiles = {key: np.quantile([one[key] for one in drawn], (0.05, 0.5, 0.95)).round(4).tolist() for key in drawn[0]}
    judged = ("moved", "moved_over_chance", "routing_over_chance")
    most = {key: round(max(one[key] for one in drawn), 4) for key in judged}
    return {"case": name, "draws": len(drawn), **quantiles, "most": most}


def advised_without_drift(fitted: Fitted, size: int) -> dict[str, Any]:
    """How often each advice is given to so many documents that have not drifted."""
    advised = Counter(fitted.advice_on_own(size, seed) for seed in range(UNDRIFTED_DRAWS))
    return {"new": size, "draws": UNDRIFTED_DRAWS, **{advice: advised[advice] for advice in get_args(Advice)}}


def main() -> None:
    """Draws, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="what benchmarks.drift was given as --output")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--posts", type=int, default=150, help="of each newsgroup, as benchmarks.drift was told")
    arguments = parser.parse_args()
    started, store, runs = time.process_time(), arguments.runs / "store", arguments.runs
    posts, titles = read_posts(arguments.posts), read_titles(TITLES_PER_ARCHIVE)
    in_run = set(RunFolder(runs / "mixed" / "run").result.ids)
    rest = [post for post in posts if post.id not in in_run]
    plain = Fitted.read(runs / "mixed", store, [*rest, *titles], arguments.tokens)
    foreign = np.isin(plain.labels, [title.label for title in titles])
    rows = [row_of(f"{size} at random", draws_of(plain, 0.0, foreign, size, 20)) for size in (40, 100, 250, 1000)]
    rows += [row_of(f"{NEW} of {many} groups", draws_of(plain, 0.0, foreign, NEW, many)) for many in (10, 5, 2, 1)]
    for share in (0.1, 0.25, 0.5, 1.0):
        rows.append(row_of(f"{NEW}, {share:.0%} titles of arXiv", draws_of(plain, share, foreign, NEW, 20)))
    for name, groups in (("sports", SPORTS), ("religion", RELIGION)):
        late = [post for post in posts if post.slice >= EARLY]
        without = Fitted.read(runs / "-".join(groups), store, late, arguments.tokens)
        strange = np.isin(without.labels, groups)
        for share in (0.1, 0.25, 0.5, 1.0):
            rows.append(row_of(f"200, {share:.0%} of {name}", draws_of(without, share, strange, 200, 20)))
    results: dict[str, Any] = {"draws": DRAWS, "cases": rows}
    results["without_drift"] = [advised_without_drift(plain, size) for size in UNDRIFTED]
    results["seconds_of_processor"] = round(time.process_time() - started, 1)
    write_json(RESULTS, results)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
