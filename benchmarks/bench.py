"""Speed, memory and truth of the encoder beside its peers, at the width of OLMoE with random weights.

    python -m benchmarks.bench
    python -m benchmarks.bench --layers 16 --experts 18 --documents 4 --words 0

``make bench`` runs two layers and sixteen, in under 20 minutes on two cores. Every way reads the same texts, none of
which is so long that one of them would cut it: 1, 4 and 64 documents as long as posts, and 1,000 words. As many ways as
fit into memory run in turn, one after the other in each round. Speeds are told by the processor's seconds and by the
clock's, medians over the rounds; ratios are of the processor's unless ``--clock wall`` is given. A way that would
take longer than the budget for a call reads fewer of its texts, as short and as long as all of them are; each cell says
how many. A peer that is not installed (llama.cpp: ``pip install moee-topics[bench]``) is left out by name.

Writes JSON, a plot of speed against cosine and a Markdown table into benchmarks/results. While it runs, what is
measured stands in a file that ends in ``.unfinished.json``, written after each step; a start after a stop begins anew
and says so, since ratios are those of one run.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks import ceilings, checkpoint, summary, variants
from benchmarks.checkpoint import Shape
from benchmarks.summary import Call, Measured
from benchmarks.variants import MAX_TOKENS, PROMPT
from benchmarks.workers import Worker
from moee_topics.store import read_json, write_json, write_text

RESULTS = Path(__file__).with_name("results")
PACKAGES = (
    *("moee-topics", "torch", "transformers", "bitsandbytes", "sentence-transformers", "safetensors", "numpy"),
    *("llama-cpp-python", "gguf"),
)
FLAGS = ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "neon", "bf16", "sve")


@dataclass(frozen=True)
class Settings:
    """What is run."""

    layers: int = 2
    experts: int = 64
    documents: tuple[int, ...] = (1, 4, 64)
    """How many documents are given in one call; each number is a call of its own."""
    words: int = 1000
    """Single words in one more call, as BERTopic asks for them; 0 for none."""
    rounds: int = 2
    budget: float = 12.0
    """Seconds by the clock that a way is given for one call, all rounds together."""
    device: str = "cpu"
    threads: int = 2
    one_at_a_time: bool = False
    clock: str = "processor"
    """Of the ratios: processor seconds, the better measure where other work runs; or "wall"."""
    variants: tuple[str, ...] = variants.NAMES


@dataclass
class Run:
    """What a run reads, and what it has measured so far."""

    settings: Settings
    shape: Shape
    calls: dict[str, Call]
    compared: str
    """The call whose vectors are compared."""
    ceilings: list[dict[str, float]]
    measured: dict[str, Measured]

    def result(self, *, finished: bool) -> dict[str, Any]:
        """The whole result as it stands, ready for JSON."""
        settings, shape = self.settings, self.shape
        best = {kind: statistics.median(top[kind] for top in self.ceilings) for kind in self.ceilings[0]}
        exact = self.measured.get(variants.EXACT)
        return surroundings(settings) | {
            "finished": finished,
            "settings": asdict(settings) | {"shape": asdict(shape), "batches": BATCHES},
            "ceilings": {"flops_per_second": best, "rounds": self.ceilings},
            "calls": {name: {"texts": len(c.texts), "tokens": sum(c.lengths)} for name, c in self.calls.items()},
            "compared": self.compared,
            "variants": {
                name: summary.summary(name, self.measured, self.calls, shape, best, settings.clock)
                | {"agreement_with_fp32": summary.agreement_in_common(entry, exact, self.compared)}
                for name, entry in self.measured.items()
            },
        }


def calls_of(settings: Settings, shape: Shape) -> dict[str, Call]:
    """The calls by name, those of documents by their number, and the words last."""
    words = min(shape.vocabulary, checkpoint.WORDS)
    tokenizer = checkpoint.word_tokenizer(words)

    def call(texts: list[str]) -> Call:
        ids = tokenizer([PROMPT.format(text=text) for text in texts])["input_ids"]
        return Call(texts, [*map(len, ids)])

    # Between the quotes of an empty document there is no word that keeps them apart, so one of a word is measured.
    room = MAX_TOKENS - sum(call(["w0"]).lengths) + 1
    lengths = {n: checkpoint.document_lengths(n, room) for n in sorted(settings.documents)}
    named = {f"{n} documents": call(checkpoint.texts_of(of, words)) for n, of in lengths.items()}
    single = checkpoint.single_words(settings.words, words)
    return named | ({f"{settings.words} words": call(single)} if single else {})


def run(settings: Settings, shape: Shape, folder: Path, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Runs every way; ``keep`` is given the result after each step, and the whole one is returned."""
    calls = calls_of(settings, shape)
    going = Run(settings, shape, calls, f"{max(settings.documents)} documents", [], {})
    for names in batches_that_fit(settings, shape):
        with open_workers(names, folder, settings) as workers:
            for worker in workers:
                going.measured[worker.name] = warmed_up(worker, calls[going.compared])
            for number in range(settings.rounds):
                going.ceilings.append(ceilings.measure(shape.hidden, settings.device, settings.threads, settings.clock))
                for name in calls:
                    for worker in workers:
                        if line := step(going, worker, name):
                            say(f"round {number + 1}, {line}")
                            keep(going.result(finished=False))
    return going.result(finished=True)


def warmed_up(worker: Worker, call: Call) -> Measured:
    """A way that has read a few documents, which fills its caches, and a first guess of its speed."""
    rows = call.evenly(min(8 / len(call.texts), 1 / 4))
    _, took = worker.encode([call.texts[row] for row in rows])
    return Measured(worker.loaded, sum(call.lengths_of(rows)) / took.seconds)


def step(going: Run, worker: Worker, name: str) -> str:
    """One way, one call, one round: what is said of it, or nothing where its budget for the call is spent."""
    call, entry, budget = going.calls[name], going.measured[worker.name], going.settings.budget
    # Of a small call the speed may be half of that of a large one, so the guess of what fits is doubled.
    rows = entry.rows.setdefault(name, call.evenly(2 * budget * entry.speed / sum(call.lengths)))
    rounds = entry.rounds.setdefault(name, [])
    if rounds and sum(took.seconds for took in rounds) + rounds[-1].seconds > budget:
        return ""
    vectors, took = worker.encode([call.texts[row] for row in rows])
    rounds.append(took)
    tokens = sum(call.lengths_of(rows))
    entry.speed = max(entry.speed, tokens / took.seconds)
    if name == going.compared:
        entry.vectors = vectors
    speeds = f"{tokens / took.cpu_seconds:,.0f} tokens a processor second, {tokens / took.seconds:,.0f} by the clock"
    return f"{name}: {worker.name} {speeds}" + ("" if len(rows) == len(call.texts) else f" ({len(rows)} texts)")


BATCHES = {"reference": variants.BATCH_REFERENCE, "sentence-transformers": variants.BATCH_SENTENCE_TRANSFORMERS}
IDLE_BYTES, WORKING_BYTES = 0.6e9, 5e9


def batches_that_fit(settings: Settings, shape: Shape) -> list[list[str]]:
    """The ways in their order, as many together as fit into memory, so that their rounds alternate."""
    reasons = {name: variants.lacking(name, settings.device) for name in settings.variants}
    for name in (name for name, reason in reasons.items() if reason):
        say(f"left out {name}: {reasons[name]}")
    room = free_memory(settings.device)
    batches: list[list[str]] = []
    free = 0.0
    for name in (name for name, reason in reasons.items() if not reason):
        needed = variants.BYTES_PER_PARAMETER.get(name, 2.0) * shape.parameters + IDLE_BYTES
        if needed > room:
            say(f"left out {name}: it takes {needed / 1e9:.1f} GB, and {room / 1e9:.1f} are free")
            continue
        if needed > free or settings.one_at_a_time:
            batches.append([])
            free = room - WORKING_BYTES
        batches[-1].append(name)
        free -= needed
    return batches


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


def write(result: dict[str, Any], folder: Path, name: str) -> None:
    """JSON, SVG and Markdown under one name."""
    write_json(folder / f"{name}.json", result, indent=2)
    write_text(folder / f"{name}.md", summary.table(result))
    summary.plot(result, folder / f"{name}.svg")


def say(line: str) -> None:
    print(line, flush=True)


def read_arguments(arguments: Sequence[str] | None) -> tuple[Settings, Path, str]:
    """What is run, and the folder and the name of its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=Settings.layers, help="OLMoE-1B-7B has 16")
    parser.add_argument("--experts", type=int, default=Settings.experts, help="of a layer; a token goes to eight")
    parser.add_argument("--documents", default="1,4,64", help="documents of each call, separated by commas")
    parser.add_argument("--words", type=int, default=Settings.words, help="single words in one more call; 0 for none")
    parser.add_argument("--rounds", type=int, default=Settings.rounds)
    parser.add_argument("--budget", type=float, default=Settings.budget, help="seconds of a way for one call")
    parser.add_argument("--variants", default=",".join(variants.NAMES), help="names, separated by commas")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--clock", choices=("wall", "processor"), default=Settings.clock, help="of the ratios")
    parser.add_argument("--one-at-a-time", action="store_true", help="each variant alone in memory, rounds not in turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--name", help="of the files that are written there; by default the device and the layers")
    given = vars(parser.parse_args(arguments))
    output: Path = given.pop("output")
    name = given.pop("name") or f"{given['device']}-{given['layers']}-layers"
    given["documents"] = tuple(int(count) for count in given["documents"].split(","))
    return replace(Settings(), **given | {"variants": tuple(given["variants"].split(","))}), output, name


def main(arguments: Sequence[str] | None = None) -> None:
    settings, output, name = read_arguments(arguments)
    kept = output / f"{name}.unfinished.json"
    if kept.exists():
        say(f"begins anew, and replaces {kept.name}, which a run of {read_json(kept)['created']} left that was stopped")
    shape = Shape(layers=settings.layers, experts=settings.experts)
    folder = Path(tempfile.mkdtemp(prefix="olmoe-"))
    try:
        say(f"writing a random checkpoint of {shape.parameters / 1e9:.2f} billion weights")
        checkpoint.write_checkpoint(folder, shape)
        result = run(settings, shape, folder, lambda found: write_json(kept, found, indent=2))
    finally:
        shutil.rmtree(folder)
    write(result, output, name)
    kept.unlink(missing_ok=True)
    say(summary.table(result))


if __name__ == "__main__":
    main()
