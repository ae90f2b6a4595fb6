"""Speed, memory and truth of the encoder beside its peers, at the width of OLMoE with random weights.

    python benchmarks/bench.py                               2 layers, under 20 minutes on two cores
    python benchmarks/bench.py --layers 16 --documents 4     the whole model

Every way reads the same texts, none of which is so long that one of them would cut it: 1, 4 and 64 documents as long
as posts, and 1,000 words. The ways run in turn, one after the other in each round, so that a ratio compares what ran at
the same time; seconds are the processor's unless ``--clock wall`` is given. A peer that is not installed (llama.cpp:
``pip install moee-topics[bench]``) is left out by name.
Writes JSON, a plot of speed against cosine and a Markdown table into benchmarks/results.
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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import ceilings, checkpoint, llama, variants
from benchmarks.checkpoint import Shape
from benchmarks.variants import MAX_TOKENS, PROMPT
from benchmarks.workers import Loaded, Round, Worker

RESULTS = Path(__file__).with_name("results")
PACKAGES = (
    *("moee-topics", "torch", "transformers", "bitsandbytes", "sentence-transformers", "safetensors", "numpy"),
    *("xllamacpp", "gguf"),
)
FLAGS = ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "neon", "bf16", "sve")


@dataclass(frozen=True)
class Settings:
    """What is run."""

    layers: int = 2
    documents: tuple[int, ...] = (1, 4, 64)
    """How many documents are given in one call; each number is a run of its own."""
    words: int = 1000
    """Single words in one more call, as BERTopic asks for them; 0 for none."""
    rounds: int = 3
    exact_documents: int = 16
    """Documents of the largest run whose vectors are compared with those in float32."""
    device: str = "cpu"
    threads: int = 2
    one_at_a_time: bool = False
    clock: str = "processor"
    """Processor seconds, the better measure where other work runs; or "wall"."""
    variants: tuple[str, ...] = variants.NAMES


@dataclass(frozen=True)
class Call:
    """The texts of one call, and what they are at least."""

    texts: list[str]
    tokens: int
    flops: float


@dataclass
class Measured:
    """All that was seen of one variant: rounds by the name of the call."""

    loaded: Loaded
    vectors: variants.Vectors | None = None
    rounds: dict[str, list[Round]] = field(default_factory=dict)


def calls_of(settings: Settings, shape: Shape) -> dict[str, Call]:
    """The calls by name, the one whose vectors are compared last."""
    tokenizer = checkpoint.word_tokenizer(shape.vocabulary)

    def call(lengths: list[int]) -> Call:
        texts = checkpoint.texts_of(lengths, shape.vocabulary)
        ids = tokenizer([PROMPT.format(text=text) for text in texts])["input_ids"]
        return Call(texts, sum(map(len, ids)), shape.flops([*map(len, ids)]))

    # Between the quotes of an empty document there is no word that keeps them apart, so one of a word is measured.
    room = MAX_TOKENS - call([1]).tokens + 1
    named = {f"{settings.words} words": call([1] * settings.words)} if settings.words else {}
    return named | {f"{n} documents": call(checkpoint.document_lengths(n, room)) for n in sorted(settings.documents)}


def run(settings: Settings, shape: Shape, folder: Path) -> dict[str, Any]:
    """Runs every variant and returns the whole result, ready for JSON."""
    calls = calls_of(settings, shape)
    compared = list(calls)[-1]
    tops: list[dict[str, float]] = []
    measured: dict[str, Measured] = {}
    for names in batches_that_fit(settings, shape):
        with open_workers(names, folder, settings) as workers:
            measured |= {worker.name: Measured(worker.loaded) for worker in workers}
            for worker in workers:  # the first pass fills caches and is not counted
                worker.encode(calls[compared].texts[:8])
            for number in range(settings.rounds):
                tops.append(ceilings.measure(shape.hidden, settings.device, settings.threads, settings.clock))
                for name, call in calls.items():
                    for worker in workers:
                        entry = measured[worker.name]
                        entry.vectors, took = worker.encode(call.texts)
                        entry.rounds.setdefault(name, []).append(took)
                        say(f"round {number + 1}, {name}: {worker.name} {seconds_of(took, settings.clock):.2f} s")
    texts = calls[compared].texts[: settings.exact_documents]
    exact = measured[variants.EXACT].vectors if variants.EXACT in measured else None
    exact = exact or exact_vectors(texts, shape, folder, settings)
    best = {kind: statistics.median(top[kind] for top in tops) for kind in tops[0]}
    return surroundings(settings) | {
        "settings": asdict(settings) | {"shape": asdict(shape), "batches": BATCHES},
        "ceilings": {"flops_per_second": best, "rounds": tops},
        "calls": {name: {"texts": len(c.texts), "tokens": c.tokens, "flops": c.flops} for name, c in calls.items()},
        "compared": compared,
        "variants": {
            name: summary(name, measured, calls, best, settings)
            | {"agreement_with_fp32": agreement(entry.vectors, exact, len(texts))}
            for name, entry in measured.items()
        },
    }


def summary(
    name: str, measured: dict[str, Measured], calls: dict[str, Call], best: dict[str, float], settings: Settings
) -> dict[str, Any]:
    """Medians over the rounds of one variant in each call, and its ratios to the baselines in the same rounds."""
    entry, clock = measured[name], settings.clock
    peak = max(took.peak_memory_bytes for rounds in entry.rounds.values() for took in rounds)
    ceiling = best.get(variants.ARITHMETIC.get(name, "bfloat16")) or best["float32"]
    found = {}
    for called, call in calls.items():
        seconds = statistics.median(seconds_of(took, clock) for took in entry.rounds[called])
        found[called] = {
            "seconds": seconds,
            "tokens_per_second": call.tokens / seconds,
            "share_of_ceiling": call.flops / seconds / ceiling,
            "speed_up_over": {
                other: speed_up(entry.rounds[called], measured[other].rounds[called], clock)
                for other in sorted(measured.keys() & BASELINES)
            },
            "rounds": [asdict(took) for took in entry.rounds[called]],
        }
    return {
        "calls": found,
        "loading": asdict(entry.loaded),
        "peak_memory_bytes": peak,
        "memory_above_model_bytes": peak - entry.loaded.memory_bytes,
    }


BATCHES = {"reference": variants.BATCH_REFERENCE, "sentence-transformers": variants.BATCH_SENTENCE_TRANSFORMERS}
IDLE_BYTES, WORKING_BYTES = 0.6e9, 5e9
BASELINES = {"reference", "sentence-transformers", *llama.KINDS}


def seconds_of(took: Round, clock: str) -> float:
    """Seconds of a round by the clock that was asked for."""
    return took.cpu_seconds if clock == "processor" else took.seconds


def speed_up(mine: list[Round], theirs: list[Round], clock: str = "processor") -> float:
    """Median over the rounds of the baseline's seconds by those of another way."""
    pairs = zip(mine, theirs, strict=True)
    return statistics.median(seconds_of(their, clock) / seconds_of(my, clock) for my, their in pairs)


def agreement(
    vectors: variants.Vectors | None, exact: variants.Vectors | None, documents: int | None = None
) -> dict[str, float] | None:
    """Cosine with the float32 vectors of the first documents, mean and smallest."""
    if vectors is None or exact is None:
        return None
    found = _cosines("hidden_states", vectors.hidden_states[:documents], exact.hidden_states[:documents])
    if vectors.router_logits is not None and exact.router_logits is not None:
        weights = (_weights(v.router_logits[:documents]) for v in (vectors, exact))
        found |= _cosines("routing_weights", *weights)
    return found


def _weights(logits: np.ndarray) -> np.ndarray:
    weights: np.ndarray = torch.tensor(logits).softmax(-1).flatten(1).numpy()
    return weights


def _cosines(name: str, some: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    some = some[: len(exact)]
    cosines = (some * exact).sum(1) / np.linalg.norm(some, axis=1) / np.linalg.norm(exact, axis=1)
    return {f"{name}_mean": float(cosines.mean()), f"{name}_smallest": float(cosines.min())}


def batches_that_fit(settings: Settings, shape: Shape) -> list[list[str]]:
    """All variants together if they fit into memory, so that their rounds alternate; else one at a time."""
    reasons = {name: variants.lacking(name, settings.device) for name in settings.variants}
    names = [name for name, reason in reasons.items() if not reason]
    for name in set(reasons) - set(names):
        say(f"left out {name}: {reasons[name]}")
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
    abilities = torch.cpu.get_capabilities()
    flags = [name for name in FLAGS if abilities.get(name)]
    limits = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")
    kernels = {name: os.environ[name] for name in limits if name in os.environ}
    return {
        "device": device,
        "flags": flags,
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "limits": kernels,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "load_average_after": load,
    }


def surroundings(settings: Settings) -> dict[str, Any]:
    """When, on what and with which versions."""
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(settings),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def table(result: dict[str, Any]) -> str:
    """The result as a Markdown table: of each call the ratio to the reference way, of the last one everything."""
    calls, last = list(result["calls"]), result["compared"]
    head = ["way", *(f"tokens/s, {name}" for name in calls), f"of its ceiling, {last}"]
    head += [f"x {name}" for name in sorted(BASELINES)] + ["peak memory, GB", "cosine with fp32, mean", "smallest"]
    lines = [f"| {' | '.join(head)} |", f"|---|{'--:|' * (len(head) - 1)}"]
    for name, found in result["variants"].items():
        of_last, cosine = found["calls"][last], found["agreement_with_fp32"]
        cells = [name, *(f"{found['calls'][call]['tokens_per_second']:,.0f}" for call in calls)]
        cells.append(f"{of_last['share_of_ceiling']:.0%}")
        ratios = of_last["speed_up_over"]
        cells += [f"{ratios[other]:.2f}" if other in ratios else "" for other in sorted(BASELINES)]
        cells.append(f"{found['peak_memory_bytes'] / 1e9:.2f}")
        cells += [f"{cosine[f'hidden_states_{kind}']:.4f}" if cosine else "" for kind in ("mean", "smallest")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot(result: dict[str, Any], path: Path) -> None:
    """Tokens per second against what is lost of the cosine with float32, a point for each way."""
    from matplotlib.figure import Figure

    last, layers = result["compared"], result["settings"]["layers"]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, found in result["variants"].items():
        if found["agreement_with_fp32"]:
            lost = max(1 - found["agreement_with_fp32"]["hidden_states_mean"], 1e-7)
            speed = found["calls"][last]["tokens_per_second"]
            axes.scatter([lost], [speed], color="#b03a2e" if name in variants.OURS else "#3b6ea5")
            axes.annotate(name, (lost, speed), xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.invert_xaxis()  # the better is up and to the right
    axes.set_xlabel("1 - cosine with float32, mean")
    axes.set_ylabel(f"tokens a {result['settings']['clock']} second, {last}")
    axes.set_title(f"OLMoE's width, {layers} layers, {', '.join(result['machine']['flags'])}", fontsize=9)
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
    parser.add_argument("--documents", default="1,4,64", help="documents of each call, separated by commas")
    parser.add_argument("--words", type=int, default=1000, help="single words in one more call; 0 for none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variants", default=",".join(variants.NAMES), help="names, separated by commas")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--clock", choices=("wall", "processor"), default="processor", help="of every second")
    parser.add_argument("--one-at-a-time", action="store_true", help="each variant alone in memory, rounds not in turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--exact-documents", type=int, default=16, help="documents that are compared with float32; 0 for none"
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = vars(parser.parse_args(arguments))
    output: Path = given.pop("output")
    given["documents"] = tuple(int(count) for count in given["documents"].split(","))
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
