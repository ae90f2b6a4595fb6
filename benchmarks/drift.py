"""Drift of new documents: are 5 % unlike anything before where nothing drifts, and more where something does?

    SCIKIT_LEARN_DATA=../shared/data/scikit_learn_data python -m benchmarks.drift --output /tmp/drift

Posts of 20 Newsgroups, 150 of each group. Random halves of them have no drift: the share of far documents over 20
splits says how it is calibrated. Then the first three of five slices by article number are a run, and the last two an
update: as they come, and with newsgroups held out of the run. Writes benchmarks/results/drift.json and prints it.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.updates import SLICES, Post, read_posts, recipe_of
from moee_topics import run as pipeline
from moee_topics.defaults import FAR
from moee_topics.evaluate.drift import far_share
from moee_topics.fuse import fuse_all
from moee_topics.run.workspace import Workspace
from moee_topics.store import write_json, write_text
from moee_topics.topics import Voters

PER_GROUP, EARLY, SPLITS = 150, 3, 20
SCIENCE = ("sci.space",)
SPORTS = ("rec.sport.hockey", "rec.sport.baseball", "rec.autos", "rec.motorcycles")
RELIGION = ("talk.politics.mideast", "soc.religion.christian", "alt.atheism", "talk.religion.misc")
HELD_OUT: tuple[tuple[str, ...], ...] = ((), SCIENCE, SPORTS, RELIGION)
RESULTS = Path(__file__).with_name("results") / "drift.json"


def write_posts(posts: list[Post], path: Path) -> str:
    """A file of posts."""
    rows = [json.dumps({"id": post.id, "text": post.text, "label": post.label}) + "\n" for post in posts]
    write_text(path, "".join(rows))
    return str(path)


def calibration(posts: list[Post], folder: Path, store: Path, tokens: int) -> dict[str, Any]:
    """The share of far documents where the new ones are a random two fifths, by a fusion fitted on the others."""
    work = Workspace(recipe_of(write_posts(posts, folder / "all.jsonl"), tokens), folder / "none", store)
    hashes, texts, rng = work.survey.hash_list(), [post.text for post in posts], np.random.default_rng(0)
    shares = []
    for _ in range(SPLITS):
        order = rng.permutation(len(posts))
        old, new = np.sort(order[: len(order) * 3 // 5]), np.sort(order[len(order) * 3 // 5 :])
        blocks = work.embedder.stored_blocks([hashes[row] for row in old.tolist()])
        fusion = work.recipe.fusion.fit(blocks, [texts[row] for row in old.tolist()], None)
        X = fuse_all(work.embedder.stored_blocks(hashes), fusion, len(hashes), texts)
        voters = Voters.fit(X[old], np.zeros(len(old), dtype=np.int64))
        own = voters.nearest(voters.vectors, own=True)[1].max(axis=1)
        shares.append(far_share(own, voters.nearest(X[new])[1].max(axis=1))[0])
    spread = {"mean": np.mean(shares), "deviation": np.std(shares), "least": min(shares), "most": max(shares)}
    return {"expected": FAR, "splits": SPLITS, **{name: round(float(value), 4) for name, value in spread.items()}}


def update_with(posts: list[Post], groups: tuple[str, ...], folder: Path, store: Path, tokens: int) -> dict[str, Any]:
    """The drift of the last slices after a run on the first ones without some newsgroups."""
    early = [post for post in posts if post.slice < EARLY and post.label not in groups]
    late = [post for post in posts if post.slice >= EARLY]
    shutil.rmtree(folder, ignore_errors=True)
    recipe = recipe_of(write_posts(early, folder / "early.jsonl"), tokens)
    pipeline.run(recipe, folder / "run", store)
    started = time.process_time()
    updated = pipeline.update(folder / "run", [write_posts(late, folder / "late.jsonl")], store=store)
    drift = updated.run.drift
    assert drift is not None
    moved = [share for share in drift["topics"] if abs(share["z"]) >= 2]
    facts = {name: drift[name] for name in ("documents", "far", "far_low", "neighbours", "moved", "routing")}
    routed = [one["value"] > one["chance"] for one in drift["topic_routing"].values()]
    return {
        **{"held_out": list(groups), "posts_of_them": sum(post.label in groups for post in late), **facts},
        **{"topics": updated.record["topics"], "topics_moved": len(moved)},
        **{"topics_routed_otherwise": [sum(routed), len(routed)]},
        **{"advice": drift["advice"], "reasons": drift["reasons"]},
        "seconds_of_processor": round(time.process_time() - started, 1),
    }


def main() -> None:
    """Encodes, fits, updates, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="a folder for the runs and their store")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--posts", type=int, default=PER_GROUP, help="of each newsgroup")
    arguments = parser.parse_args()
    output, tokens, store = arguments.output, arguments.tokens, arguments.output / "store"
    posts = read_posts(arguments.posts)
    pipeline.embed(recipe_of(write_posts(posts, output / "all.jsonl"), tokens), store)
    results: dict[str, Any] = {"documents": len(posts), "tokens": tokens, "slices": SLICES, "early": EARLY}
    results |= {"machine": platform.machine(), "python": platform.python_version(), "numpy": version("numpy")}
    results["calibration"] = calibration(posts, output, store, tokens)
    results["updates"] = []
    rng = np.random.default_rng(1)
    places = rng.permutation([post.slice for post in posts]).tolist()
    mixed = [Post(post.id, post.text, post.label, place) for post, place in zip(posts, places, strict=True)]
    results["at_random"] = update_with(mixed, (), output / "mixed", store, tokens)
    for groups in HELD_OUT:
        results["updates"].append(
            update_with(posts, groups, output / ("-".join(groups) or "as-they-come"), store, tokens)
        )
        write_json(RESULTS, results)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
