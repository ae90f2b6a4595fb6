"""What a large corpus costs after its encoding: time and memory of every stage, at 10,000 documents and many more.

    nice -n 10 python benchmarks/scale.py --folder /tmp/scale --sizes 10000 100000 1000000

Where the data is not at hand, make ``texts.json.gz`` where it is, and bring that:

    python benchmarks/scale.py --folder /tmp/scale --only-texts
    python benchmarks/scale.py --folder /tmp/scale --texts texts.json.gz --sizes 10000 100000 1000000

The topics are known: each is a Gaussian in 48 dimensions, turned into OLMoE's 2,048 hidden numbers and 16 × 64 router
scores with noise on every one, and its texts are windows of real posts and abstracts of one class. Topics are of very
different sizes (Zipf). Each stage runs in a process of its own and leaves a file in the folder when it is done, so a
second call goes on with the next. Processor seconds are told beside seconds, since other work may run on the machine.
Writes benchmarks/results/scale.json and prints it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from moee_topics.embed import Embedder
from moee_topics.embeddings import Embeddings
from moee_topics.recipe import parse_recipe
from moee_topics.run.fit_stage import FitStage
from moee_topics.run.reduce_stage import ReduceStage
from moee_topics.run.report_stage import ReportStage
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import RunFolder
from moee_topics.store import EmbeddingStore, content_hash, write_json

RESULTS = Path(__file__).with_name("results") / "scale.json"
DATA = Path(__file__).parents[2] / "shared" / "data"
KEY = {"model": "a mixture of Gaussians", "layers": 16, "experts": 64, "prompt": "none", "max_tokens": 512}
HIDDEN, LAYERS, EXPERTS, LATENT, TOPICS = 2048, 16, 64, 48, 200
SPREAD, NOISE = 0.55, 1.0  # of a topic around its centre, and of every number by itself
SHARD = 1024
STEPS = ("corpus", "store", "reduce", "fit", "report")
MEASURED = ("reduce", "fit", "report")
GOALS = {"peak_bytes": 8_000_000_000, "cpu_seconds": 3600, "slope": 1.2}
"""Of the largest size at most: memory, all stages (an hour, even where one core does it all), and their exponents."""
PACKAGES = ("moee-topics", "bertopic", "umap-learn", "hdbscan", "scikit-learn", "numpy", "scipy", "numba", "pyarrow")


def real_texts(folder: Path, per_class: int = 300) -> list[list[str]]:
    """Words of some posts and abstracts of every class that is at hand: 20 newsgroups, 16 archives, 38 sub-fields."""
    path = folder / "texts.json.gz"
    if not path.exists():
        from sklearn.datasets import fetch_20newsgroups

        classes: dict[str, list[str]] = {}
        news = fetch_20newsgroups(data_home=str(DATA / "scikit_learn_data"), subset="all", remove=("headers", "quotes"))
        for text, number in zip(news.data, news.target.tolist(), strict=True):
            classes.setdefault(f"news {number}", []).append(text[:2000])
        for name in ("archives", "cs_subfields"):
            with gzip.open(DATA / "arxiv_clustering" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
                for row in map(json.loads, lines):
                    classes.setdefault(f"{name} {row['label']}", []).append(f"{row['text']}. {row['abstract']}")
        chosen = [[text for text in texts if len(text.split()) > 60][:per_class] for texts in classes.values()]
        with gzip.open(path, "wt", encoding="utf-8") as file:
            json.dump([texts for texts in chosen if texts], file)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return json.load(file)


def labels_of(size: int) -> np.ndarray:
    """The topic of every document: the rank-th has a share in proportion to 1 / (rank + 5)."""
    weights = 1 / (np.arange(TOPICS) + 5)
    return np.random.default_rng(0).choice(TOPICS, size, p=weights / weights.sum())


def write_corpus(size: int, folder: Path, texts: list[list[str]]) -> None:
    """``corpus.parquet``: two windows of 20 to 60 words from real texts of the topic's class, no two alike."""
    rng, split = np.random.default_rng(1), [[text.split() for text in part] for part in texts]
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("label", pa.string())])
    labels = labels_of(size)
    with pq.ParquetWriter(folder / "corpus.parquet", schema) as writer:
        for start in range(0, size, 50_000):
            rows = []
            for row, topic in enumerate(labels[start : start + 50_000].tolist(), start):
                words = []
                for _ in range(2):
                    pool = split[topic % len(split)]
                    text, length = pool[rng.integers(len(pool))], int(rng.integers(20, 60))
                    at = int(rng.integers(max(1, len(text) - length)))
                    words += text[at : at + length]
                rows.append({"id": f"d{row}", "text": " ".join(words), "label": f"topic {topic}"})
            writer.write_table(pa.Table.from_pylist(rows, schema))


def write_store(size: int, folder: Path) -> None:
    """The embeddings of that corpus in a store, 6 kB a document, in another order, as many machines leave them."""
    rng, labels = np.random.default_rng(2), labels_of(size)
    centres = rng.normal(0, 1, (TOPICS, LATENT))
    to_hidden, to_routing = (rng.normal(0, LATENT**-0.5, (LATENT, width)).astype(np.float32) for width in (
        HIDDEN, LAYERS * EXPERTS))  # fmt: skip
    texts = pq.read_table(folder / "corpus.parquet")["text"].to_pylist()
    order = np.random.default_rng(3).permutation(size)
    with EmbeddingStore.open(folder / "store", KEY, writable=True) as store:
        for start in range(0, size, SHARD):
            rows = order[start : start + SHARD]
            latent = (centres[labels[rows]] + SPREAD * rng.normal(0, 1, (len(rows), LATENT))).astype(np.float32)
            hidden = latent @ to_hidden + NOISE * rng.standard_normal((len(rows), HIDDEN), np.float32)
            logits = latent @ to_routing + NOISE * rng.standard_normal((len(rows), LAYERS * EXPERTS), np.float32)
            part = Embeddings(hidden.astype(np.float16), logits.reshape(-1, LAYERS, EXPERTS).astype(np.float16))
            store.write(part, [f"d{row}" for row in rows], [content_hash(texts[row]) for row in rows])


class FromStore(Workspace):
    """A workspace whose documents are encoded, by no model."""

    @property
    def key(self) -> dict[str, Any]:
        return KEY

    @cached_property
    def encoder(self) -> Any:
        return SimpleNamespace(is_loaded=False, facts=dict, key=lambda: KEY)

    @cached_property
    def embedder(self) -> Embedder:
        return Embedder(lambda: None, self.store, key=KEY, progress=self.progress)  # type: ignore[arg-type, return-value]


def workspace(folder: Path, sample: int) -> Workspace:
    """The run of one size, with the words of c-TF-IDF alone: others need the model."""
    recipe = parse_recipe(
        {
            "corpus": {"source": str(folder / "corpus.parquet"), "label": "label"},
            "encoder": {"model": "a mixture of Gaussians", "prompt": "none"},
            "topics": {"representation": "ctfidf"},
            "large": {"documents": 2 * sample - 1, "sample": sample},
        }
    )
    return FromStore(recipe, folder / "run", folder / "store")


class Meter:
    """Times parts of a stage, and what memory the process holds at most while each is at work."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[str, float]] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        reset_peak()
        started, worked = time.perf_counter(), time.process_time()
        yield
        entry = self.parts.setdefault(name, {"seconds": 0.0, "cpu_seconds": 0.0, "peak_bytes": 0})
        entry["seconds"] = round(entry["seconds"] + time.perf_counter() - started, 2)
        entry["cpu_seconds"] = round(entry["cpu_seconds"] + time.process_time() - worked, 2)
        entry["peak_bytes"] = max(entry["peak_bytes"], peak_bytes())

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Counts every call of a function or method as a part."""
        whole: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **options: Any) -> Any:
            with self.part(part):
                return whole(*args, **options)

        setattr(owner, name, timed)


def reset_peak() -> None:
    """Lets Linux count the most memory anew; elsewhere the peak is that since the process began."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


def measure(step: str, folder: Path, sample: int) -> dict[str, Any]:
    """One stage of a run, in this process; its parts are those that take long."""
    import moee_topics.topics.fit as fit_module
    from moee_topics.run import fit_stage
    from moee_topics.topics.sampled_clusters import SampledClusters

    meter, work = Meter(), workspace(folder, sample)
    meter.watch(SampledClusters, "fit", "sample, UMAP, HDBSCAN and votes")
    meter.watch(SampledClusters, "document_map", "map")
    meter.watch(fit_module, "describe", "representative documents")
    meter.watch(fit_stage, "write_chapters", "scores, experts, relations")
    started, worked = time.perf_counter(), time.process_time()
    with work.writing():
        stage = {"reduce": ReduceStage, "fit": FitStage, "report": ReportStage}[step]()
        outcome = stage.run(work)
    found: dict[str, Any] = {
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_seconds": round(time.process_time() - worked, 2),
        "peak_bytes": max([peak_bytes(), *(int(part["peak_bytes"]) for part in meter.parts.values())]),
        "parts": meter.parts,
        "line": outcome.line,
    }
    if step == "fit":
        found |= {"steps": outcome.facts["steps"], **scores_of(work.run)}
    if step == "report":
        found["report_bytes"] = RunFolder.report.path(work.run).stat().st_size
    return found


def scores_of(run: RunFolder) -> dict[str, Any]:
    """How far the topics are the known ones, of all documents and of those that were assigned."""
    from sklearn.metrics import adjusted_mutual_info_score

    result = run.result
    assigned = np.ones(len(result), bool) if result.assigned is None else result.assigned
    labels = np.asarray(result.labels)
    ami = {name: round(float(adjusted_mutual_info_score(labels[rows], result.topics[rows])), 4) for name, rows in {
        "ami": slice(None), "ami_assigned": assigned}.items()}  # fmt: skip
    return {"topics": result.topic_count, "outliers": round(result.outlier_share, 4), "sampled": result.sampled, **ami}


def compare_pca(folder: Path, sample: int) -> dict[str, Any]:
    """Our components and scikit-learn's IncrementalPCA on one stream of fused vectors."""
    from sklearn.decomposition import IncrementalPCA

    from moee_topics.fuse import Reduction

    work = workspace(folder, sample)
    hashes = work.survey.hash_list()
    fusion = work.recipe.fusion.fit(work.embedder.stored_blocks(hashes))
    found: dict[str, Any] = {"documents": len(hashes)}
    meter, incremental = Meter(), IncrementalPCA(100)
    with meter.part("reading and fusing alone"):
        for block in work.embedder.stored_blocks(hashes):
            fusion.transform(block)
    with meter.part("covariance"):
        ours = Reduction.fit((fusion.transform(block) for block in work.embedder.stored_blocks(hashes)), 100)
    with meter.part("IncrementalPCA"):
        for block in work.embedder.stored_blocks(hashes):
            if len(block) >= 100:  # it takes no block of fewer rows than components
                incremental.partial_fit(fusion.transform(block))
    kept = {"covariance": ours.kept, "IncrementalPCA": float(incremental.explained_variance_ratio_.sum())}
    return found | {"kept": kept, **meter.parts}


def slopes(sizes: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The exponent of every stage's processor seconds over the sizes, by a line through the logarithms."""
    numbers = np.log([int(size) for size in sizes])
    if len(numbers) < 2:
        return {}
    found = {}
    for step in MEASURED:
        seconds = [found_there[step]["cpu_seconds"] for found_there in sizes.values()]
        found[step] = round(float(np.polyfit(numbers, np.log(seconds), 1)[0]), 3)
    return found


def goals(sizes: dict[str, dict[str, Any]], exponents: dict[str, float]) -> dict[str, Any]:
    """What the largest size took, beside :data:`GOALS`."""
    stages = [sizes[max(sizes, key=int)][step] for step in MEASURED]
    found = {
        "peak_bytes": max(stage["peak_bytes"] for stage in stages),
        "cpu_seconds": round(sum(stage["cpu_seconds"] for stage in stages), 1),
        "slope": max(exponents.values(), default=0.0),
    }
    return {name: {"at_most": most, "found": found[name], "met": found[name] <= most} for name, most in GOALS.items()}


def peers(folder: Path) -> dict[str, Any]:
    """What benchmarks/scale_peers.py found in the folder of a size."""
    return {
        path.stem.removeprefix("peer_"): json.loads(path.read_text()) for path in sorted(folder.glob("peer_*.json"))
    }


def machine() -> dict[str, Any]:
    """What it ran on."""
    info = Path("/proc/cpuinfo")
    lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line) if info.exists() else {}
    flags = {key.strip(): value for key, value in lines.items()}
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # run from a checkout
            continue
    return {
        "cpu": flags.get("model name", platform.processor()).strip(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "flags": sorted(flag for flag in flags.get("flags", "").split() if flag.startswith(("avx", "fma", "amx"))),
        "versions": {"python": platform.python_version(), **versions},
    }


def do(step: str, size: int, folder: Path, asked: argparse.Namespace) -> None:
    """One step, unless its file is there."""
    done = folder / f"{step}.json"
    if done.exists():
        return
    started, found = time.perf_counter(), {}
    if step == "corpus":
        write_corpus(size, folder, real_texts(asked.texts.parent if asked.texts else asked.folder))
    elif step == "store":
        write_store(size, folder)
    elif step == "pca":
        found = compare_pca(folder, asked.sample)
    else:
        found = measure(step, folder, asked.sample)
    write_json(done, {"took": round(time.perf_counter() - started, 1), **found})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="of the corpora, the stores and the runs")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000])
    parser.add_argument("--sample", type=int, default=50_000, help="large.sample; of smaller sizes half of them")
    parser.add_argument("--texts", type=Path, help="texts.json.gz, where the data is not at hand")
    parser.add_argument("--only-texts", action="store_true", help="write texts.json.gz and no more")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.only_texts:
        real_texts(asked.folder)
        return
    if asked.step:
        size = asked.sizes[0]
        asked.sample = min(asked.sample, size // 2)
        do(asked.step, size, asked.folder / str(size), asked)
        return
    sizes: dict[str, dict[str, Any]] = {}
    for size in asked.sizes:
        folder = asked.folder / str(size)
        folder.mkdir(exist_ok=True)
        for step in [*STEPS, *(["pca"] if size == min(asked.sizes) else [])]:
            # A process of its own: memory that one stage leaves behind is not of the next.
            call = [sys.executable, __file__, "--step", step, "--sizes", str(size), "--folder", str(asked.folder)]
            texts = ["--texts", str(asked.texts)] if asked.texts else []
            subprocess.run([*call, "--sample", str(asked.sample), *texts], check=True)
            print(size, step, (folder / f"{step}.json").read_text()[:200], flush=True)
        sizes[str(size)] = {step: json.loads((folder / f"{step}.json").read_text()) for step in (*MEASURED,)}
        pca = json.loads((asked.folder / str(min(asked.sizes)) / "pca.json").read_text())
        beside = {str(size): peers(asked.folder / str(size)) for size in asked.sizes}
        exponents = slopes(sizes)
        result = {"machine": machine(), "sizes": sizes, "slopes": exponents, "goals": goals(sizes, exponents),
                  "beside": beside, "pca": pca, "key": KEY}  # fmt: skip
        write_json(asked.output, result)
    print(asked.output.read_text())


if __name__ == "__main__":
    main()
