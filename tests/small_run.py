"""A made-up finished run on disk, with hostile texts where asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from moee_topics.evaluate.topic_experts import ExpertSettings, find_experts
from moee_topics.topics.result import Topic, TopicResult

HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 2'>",
    "<a href='javascript:window.hacked = 3'>click</a> <svg onload='window.hacked = 4'></svg>",
    "\u2028]]></script><!-- {{ 7 * 7 }} ${window.hacked = 5} &lt;b&gt;",
)


STABILITY = {
    "seeds": {"fits": 5, "ami": 0.812, "ami_lowest": 0.7, "pairwise_ami": [], "words": 0.61, "topics": [4, 4, 3, 5, 4]},
    "bootstrap": {"fits": 3, "ami": 0.6, "ami_lowest": 0.55, "pairwise_ami": [], "words": None, "topics": [4, 4, 4]},
    "topics": {
        "0": {"seeds": 0.95, "bootstrap": 0.9},
        "1": {"seeds": 0.9, "bootstrap": 0.49},
        "2": {"seeds": 0.6, "bootstrap": 0.8},
        "3": {"seeds": 0.75, "bootstrap": 0.75},
    },
}


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def small_run(folder: Path, *, hostile: bool = False, documents: int = 240, seed: int = 0) -> Path:
    """A run of four topics with outliers, labels, times and a planted expert; or the same with hostile texts."""
    rng = np.random.default_rng(seed)
    subjects = ["space orbit moon", "hockey goal team", "disk drive cable", "bread flour oven"]
    topics = rng.integers(-1, 4, documents)
    bad = HOSTILE if hostile else ("",)
    texts = [
        f"{subjects[t] if t >= 0 else 'something else'} number {i} {bad[i % len(bad)]}" for i, t in enumerate(topics)
    ]
    centres = rng.normal(0, 8, (5, 2))
    info = [
        Topic(
            topic=t,
            count=int((topics == t).sum()),
            name=bad[t % len(bad)] or f"{t}_{'_'.join(subjects[t].split()) if t >= 0 else 'else'}",
            words=[(word + bad[t % len(bad)], 0.5 / (n + 1)) for n, word in enumerate(subjects[t].split())],
            aspects={bad[0] or "MMR": [(f"aspect{t}", 0.4)]},
            representative_docs=np.flatnonzero(topics == t)[:3].tolist(),
        )
        for t in range(-1, 4)
    ]
    result = TopicResult(
        ids=[f"post-{i}{bad[i % len(bad)]}" for i in range(documents)],
        texts=texts,
        topics=topics,
        probabilities=np.where(topics < 0, 0, rng.uniform(0.5, 1, documents)).astype(np.float32),
        positions=(centres[topics] + rng.normal(0, 1, (documents, 2))).astype(np.float32),
        topic_info=info,
        labels=[f"label {t % 2}{bad[i % len(bad)]}" for i, t in enumerate(topics)],
        timestamps=[f"2020-0{1 + i % 6}-01T00:00:00" for i in range(documents)],
    )
    result.save(folder)
    weights = rng.dirichlet(np.full(8, 2.0), (documents, 3))
    for t in range(4):
        weights[topics == t, 2, t] += 0.8
    find_experts(weights, topics, rng=rng, settings=ExpertSettings(resamples=20)).save(folder / "experts.json")
    name, source, spoken = bad[0] or "small", bad[0] or "here", bad[1 % len(bad)]
    write_json(folder / "hierarchy.json", [
        {"parent": 4, "left": 0, "right": 1, "distance": 0.5, "name": name},
        {"parent": 5, "left": 2, "right": 3, "distance": 0.7, "name": "things"},
        {"parent": 6, "left": 4, "right": 5, "distance": 1.1, "name": "all"},
    ])  # fmt: skip
    write_json(folder / "over_time.json", [
        {"topic": t, "timestamp": f"2020-0{m}-01", "frequency": 3 + m * t, "words": spoken or "some, words"}
        for t in range(4) for m in range(1, 7)
    ])  # fmt: skip
    write_json(folder / "scores.json", {
        "npmi": {"value": 0.2, "description": source, "higher_is_better": True},
        "outlier_share": {"value": 0.2, "description": "outliers", "higher_is_better": False},
        "ami": {"value": None, "description": "agreement", "higher_is_better": True},
    })  # fmt: skip
    write_json(folder / "run.json", {
        "name": name, "seed": seed, "created": "2026-01-01", "recipe": {"corpus": {"source": source}, "seed": seed},
        "encoder": {"model": spoken or "pocket", "layers": 3, "experts": 8, "max_tokens": 64},
        "fusion": {"method": "concat", "alpha": 1.0}, "corpus": {"source": source, "documents": documents},
        "stages": [{"name": "fit", "seconds": 75.2, "skipped": False}], "versions": {"moee_topics": "0.1.0"},
    })  # fmt: skip
    return folder


def run_of_many(folder: Path, topics: int) -> Path:
    """A run of many topics, the first the largest, on a map of as many places, with a tree of all and experts."""
    rng = np.random.default_rng(0)
    numbers = np.repeat(np.arange(topics), 12 + (topics - np.arange(topics)) // 10)
    centres = rng.uniform(-40, 40, (topics, 2))
    words = [[(f"{'abcdefgh'[t % 8] * 3}{t}", 0.5), (f"group{t % 20}", 0.3), ("moon", 0.1)] for t in range(topics)]
    TopicResult(
        ids=[f"post-{i}" for i in range(len(numbers))],
        texts=[f"{words[t][0][0]} number {i}" for i, t in enumerate(numbers)],
        topics=numbers,
        probabilities=np.ones(len(numbers), dtype=np.float32),
        positions=(centres[numbers] + rng.normal(0, 1, (len(numbers), 2))).astype(np.float32),
        topic_info=[
            Topic(t, int((numbers == t).sum()), ", ".join(word for word, _ in words[t]), words[t])
            for t in range(topics)
        ],
    ).save(folder)
    weights = rng.dirichlet(np.full(8, 2.0), (len(numbers), 3))
    find_experts(weights, numbers, rng=rng, settings=ExpertSettings(resamples=20)).save(folder / "experts.json")
    joins = [{"parent": topics + i, "left": topics + i - 1 if i else 0, "right": i + 1, "distance": 0.5 + i / topics,
              "name": f"join {i}"} for i in range(topics - 1)]  # fmt: skip
    write_json(folder / "hierarchy.json", joins)
    write_json(folder / "run.json", {"name": "many", "seed": 0, "created": "2026-01-01", "recipe": {"seed": 0}})
    return folder


def bare_run(folder: Path, texts: list[str], topics: list[int] | None = None) -> Path:
    """A run with nothing but what a topic model must have."""
    numbers = np.array(topics if topics is not None else [0] * len(texts), dtype=np.int64)
    count = len(texts)
    info = [Topic(t, int((numbers == t).sum()), f"{t}_word", [("word", 1.0)]) for t in sorted(set(numbers.tolist()))]
    positions = np.column_stack([np.arange(count), np.zeros(count)]).astype(np.float32)
    ids = [str(i) for i in range(count)]
    TopicResult(ids, texts, numbers, np.ones(count, np.float32), positions, info).save(folder)
    return folder
