"""Speed and memory of the encoder beside two plain baselines, at the width of OLMoE with random weights.

    python benchmarks/bench.py                  2 layers, some minutes on two cores
    python benchmarks/bench.py --layers 16      the whole model

The variants run in turn, one after the other in each round, so that a ratio compares what ran at the same time.
Writes JSON, a plot and a Markdown table into benchmarks/results.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import checkpoint, variants
from benchmarks.checkpoint import Shape
from benchmarks.workers import Loaded, Round, Worker

RESULTS = Path(__file__).with_name("results")
PACKAGES = ("moee-topics", "torch", "transformers", "bitsandbytes", "sentence-transformers", "safetensors", "numpy")


@dataclass(frozen=True)
class Settings:
    """What is run."""

    layers: int = 2
    documents: int = 64
    rounds: int = 3
    exact_documents: int = 16
    """Documents that also run in float32, four times as slow, to compare vectors with."""
    device: str = "cpu"
    threads: int = 2
    one_at_a_time: bool = False
    clock: str = "wall"
    """Or "processor": processor seconds, the better measure of one thread on a machine where other work runs."""
    variants: tuple[str, ...] = variants.NAMES


@dataclass
class Measured:
    """All that was seen of one variant."""

    loaded: Loaded
    vectors: variants.Vectors | None = None
    rounds: list[Round] = field(default_factory=list)


def run(settings: Settings, shape: Shape, folder: Path) -> dict[str, Any]:
    """Runs every variant and returns the whole result, ready for JSON."""
    tokenizer = checkpoint.word_tokenizer(shape.vocabulary)
    room = variants.MAX_TOKENS - len(tokenizer(variants.PROMPT.format(text=""))["input_ids"])
    texts = checkpoint.texts_of(checkpoint.document_lengths(settings.documents, room), shape.vocabulary)
    lengths = [len(tokenizer(variants.PROMPT.format(text=text))["input_ids"]) for text in texts]
    ceilings: list[float] = []
    measured: dict[str, Measured] = {}
    for names in batches_that_fit(settings, shape):
        with open_workers(names, folder, settings) as workers:
            measured |= {worker.name: Measured(worker.loaded) for worker in workers}
            for worker in workers:  # the first pass fills caches and is not counted
                worker.encode(texts[:8])
            for number in range(settings.rounds):
                ceilings.append(matmul_ceiling(settings, shape))
                for worker in workers:
                    entry = measured[worker.name]
                    entry.vectors, took = worker.encode(texts)
                    entry.rounds.append(took)
                    say(f"round {number + 1}: {worker.name} {took.seconds:.1f} s")
    exact = exact_vectors(texts[: settings.exact_documents], shape, folder, settings)
    work = Work(len(texts), sum(lengths), shape.flops(lengths), statistics.median(ceilings), settings.clock)
    return surroundings(settings) | {
        "settings": asdict(settings) | {"shape": asdict(shape), "batches": BATCHES},
        "work": asdict(work) | {"floor_seconds": work.flops / work.ceiling, "ceilings": ceilings},
        "variants": {name: summary(entry, work, measured, exact) for name, entry in measured.items()},
    }


@dataclass(frozen=True)
class Work:
    """What there was to do, and how fast the device multiplies bfloat16 matrices at best (FLOP/s)."""

    documents: int
    tokens: int
    flops: float
    ceiling: float
    clock: str


def summary(
    entry: Measured, work: Work, all_measured: dict[str, Measured], exact: variants.Vectors | None
) -> dict[str, Any]:
    """Medians over the rounds of one variant, and its ratios to the baselines in the same rounds."""
    seconds = statistics.median(seconds_of(took, work.clock) for took in entry.rounds)
    peak = max(took.peak_memory_bytes for took in entry.rounds)
    return {
        "seconds": seconds,
        "documents_per_second": work.documents / seconds,
        "tokens_per_second": work.tokens / seconds,
        "share_of_ceiling": work.flops / seconds / work.ceiling,
        "speed_up_over": {
            name: speed_up(entry, all_measured[name], work.clock) for name in all_measured.keys() & BASELINES
        },
        "loading": asdict(entry.loaded),
        "peak_memory_bytes": peak,
        "memory_above_model_bytes": peak - entry.loaded.memory_bytes,
        "agreement_with_fp32": agreement(entry.vectors, exact),
        "rounds": [asdict(took) for took in entry.rounds],
    }


BATCHES = {"reference": variants.BATCH_REFERENCE, "sentence-transformers": variants.BATCH_SENTENCE_TRANSFORMERS}
IDLE_BYTES, WORKING_BYTES = 0.6e9, 5e9
BASELINES = {"reference", "sentence-transformers"}


def seconds_of(took: Round, clock: str) -> float:
    """Seconds of a round by the clock that was asked for."""
    return took.cpu_seconds if clock == "processor" else took.seconds


def speed_up(entry: Measured, baseline: Measured, clock: str = "wall") -> float:
    """Median over the rounds of the baseline's seconds by this one's."""
    pairs = zip(entry.rounds, baseline.rounds, strict=True)
    return statistics.median(seconds_of(theirs, clock) / seconds_of(mine, clock) for mine, theirs in pairs)


def agreement(vectors: variants.Vectors | None, exact: variants.Vectors | None) -> dict[str, float] | None:
    """Cosine with the float32 vectors, mean and smallest over the documents."""
    if vectors is None or exact is None:
        return None
    found = _cosines("hidden_states", vectors.hidden_states, exact.hidden_states)
    if vectors.router_logits is not None and exact.router_logits is not None:
        found |= _cosines("routing_weights", *(_weights(v.router_logits) for v in (vectors, exact)))
    return found


def _weights(logits: np.ndarray) -> np.ndarray:
    weights: np.ndarray = torch.tensor(logits).softmax(-1).flatten(1).numpy()
    return weights


def _cosines(name: str, some: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    some = some[: len(exact)]
    cosines = (some * exact).sum(1) / np.linalg.norm(some, axis=1) / np.linalg.norm(exact, axis=1)
    return {f"{name}_mean": float(cosines.mean()), f"{name}_smallest": float(cosines.min())}


def matmul_ceiling(settings: Settings, shape: Shape, seconds: float = 0.5) -> float:
    """Best bfloat16 FLOP/s of a linear layer of the model's width, over several numbers of rows."""
    torch.set_num_threads(settings.threads)
    weight = torch.randn(shape.hidden, shape.hidden, device=settings.device, dtype=torch.bfloat16)
    sizes = (512, 1024, 4096) if settings.device == "cpu" else (4096, 8192, 16384)
    now = time.process_time if settings.clock == "processor" else time.perf_counter
    return max(_flops_per_second(weight, rows, seconds, now) for rows in sizes)


def _flops_per_second(weight: torch.Tensor, rows: int, seconds: float, now: Callable[[], float]) -> float:
    states = torch.randn(rows, len(weight), device=weight.device, dtype=weight.dtype)
    best, until = 0.0, now() + seconds
    while now() < until:
        start = now()
        torch.nn.functional.linear(states, weight)
        if weight.device.type == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * rows * weight.numel() / (now() - start))
    return best


def batches_that_fit(settings: Settings, shape: Shape) -> list[list[str]]:
    """All variants together if they fit into memory, so that their rounds alternate; else one at a time."""
    names = list(settings.variants)
    models = sum(variants.BYTES_PER_PARAMETER.get(name, 2.0) * shape.parameters + IDLE_BYTES for name in names)
    needed = models + WORKING_BYTES
    together = needed < free_memory(settings.device) and not settings.one_at_a_time
    return [names] if together else [[name] for name in names]


def free_memory(device: str) -> float:
    """Bytes that are free on the device."""
    if device != "cpu":
        return float(torch.cuda.mem_get_info()[0])
    import psutil

    return float(psutil.virtual_memory().available)


@contextmanager
def open_workers(names: Sequence[str], folder: Path, settings: Settings) -> Iterator[list[Worker]]:
    """A process for each variant, loaded one after the other."""
    with ExitStack() as stack:
        workers = []
        for name in names:
            workers.append(stack.enter_context(Worker(name, folder, settings.device, settings.threads)))
            say(f"loaded {name} in {workers[-1].loaded.seconds:.1f} s")
        yield workers


def exact_vectors(texts: list[str], shape: Shape, folder: Path, settings: Settings) -> variants.Vectors | None:
    """Vectors in float32; None where they do not fit into memory or are not asked for."""
    if not texts or 4 * shape.parameters + WORKING_BYTES > free_memory(settings.device):
        return None
    with open_workers([variants.EXACT], folder, settings) as (worker,):
        return worker.encode(texts)[0]


def machine(settings: Settings) -> dict[str, Any]:
    """What it ran on."""
    device = _cpu_name() if settings.device == "cpu" else torch.cuda.get_device_name()
    load = [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None
    return {"device": device, "cores": os.cpu_count(), "system": platform.system(), "load_average_after": load}


def surroundings(settings: Settings) -> dict[str, Any]:
    """When, on what and with which versions."""
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(settings),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def table(result: dict[str, Any]) -> str:
    """The result as a Markdown table."""
    head = "| way | documents/s | tokens/s | × reference | × sentence-transformers | share of ceiling | "
    lines = [head + "peak memory, GB | cosine with fp32 |", "|---|--:|--:|--:|--:|--:|--:|--:|"]
    for name, found in result["variants"].items():
        ratios = [f"{found['speed_up_over'].get(baseline, float('nan')):.2f}" for baseline in sorted(BASELINES)]
        cosine = found["agreement_with_fp32"]
        cells = [name, f"{found['documents_per_second']:.2f}", f"{found['tokens_per_second']:.0f}", *ratios]
        cells += [f"{found['share_of_ceiling']:.0%}", f"{found['peak_memory_bytes'] / 1e9:.2f}"]
        cells.append(f"{cosine['hidden_states_mean']:.4f}" if cosine else "-")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot(result: dict[str, Any], path: Path) -> None:
    """Tokens per second beside the ceiling, and peak memory, as bars."""
    from matplotlib.figure import Figure

    found, work = result["variants"], result["work"]
    names = list(found)
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    speed, memory = figure.subplots(1, 2, sharey=True)
    speed.barh(names, [found[name]["tokens_per_second"] for name in names], color="#3b6ea5")
    speed.axvline(
        work["tokens"] / work["floor_seconds"], color="#b03a2e", linestyle="--", label="matrix-multiply ceiling"
    )
    speed.set_xlabel("tokens per second")
    speed.legend(loc="lower right", frameon=False)
    memory.barh(names, [found[name]["peak_memory_bytes"] / 1e9 for name in names], color="#7a9e5f")
    memory.set_xlabel("peak memory, GB")
    speed.invert_yaxis()
    layers = result["settings"]["layers"]
    figure.suptitle(f"OLMoE width, {layers} layers, {work['documents']} documents, {result['machine']['device']}")
    figure.savefig(path)


def write(result: dict[str, Any], folder: Path, name: str) -> None:
    """JSON, SVG and Markdown under one name."""
    from moee_topics.store import write_json, write_text  # late: imports are part of what is measured

    write_json(folder / f"{name}.json", result, indent=2)
    write_text(folder / f"{name}.md", table(result))
    plot(result, folder / f"{name}.svg")


def say(line: str) -> None:
    print(line, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=2, help="layers of the model; OLMoE-1B-7B has 16")
    parser.add_argument("--documents", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variants", default=",".join(variants.NAMES), help="names, separated by commas")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall", help="processor: for a busy machine")
    parser.add_argument("--one-at-a-time", action="store_true", help="each variant alone in memory, rounds not in turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--exact-documents", type=int, default=16, help="documents that also run in float32; 0 for none"
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = vars(parser.parse_args(arguments))
    output: Path = given.pop("output")
    settings = replace(Settings(), **given | {"variants": tuple(given["variants"].split(","))})
    shape = Shape(layers=settings.layers)
    folder = Path(tempfile.mkdtemp(prefix="olmoe-"))
    try:
        say(f"writing a random checkpoint of {shape.parameters / 1e9:.2f} billion weights")
        checkpoint.write_checkpoint(folder, shape)
        result = run(settings, shape, folder)
    finally:
        shutil.rmtree(folder)
    write(result, output, f"{settings.device}-{settings.layers}-layers")
    say(table(result))


if __name__ == "__main__":
    main()
