"""What the benchmark of speed makes of its rounds: speeds, ratios, cosines, a table and a figure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import llama, variants
from benchmarks.checkpoint import Shape
from benchmarks.variants import Vectors
from benchmarks.workers import Loaded, Round

BASELINES = ("reference", "sentence-transformers", *llama.KINDS)
"""What every way is compared with."""


@dataclass(frozen=True)
class Call:
    """The texts of one call, and the tokens of each with the prompt around it."""

    texts: list[str]
    lengths: list[int]

    def evenly(self, share: float) -> list[int]:
        """Rows of a share of the texts (all from 1 on, one at least), as short and as long as all of them are."""
        size = len(self.texts)
        count = min(size, max(1, int(share * size)))
        by_length = np.argsort(self.lengths, kind="stable")
        return sorted(by_length[((np.arange(count) + 0.5) * size / count).astype(int)].tolist())

    def lengths_of(self, rows: Sequence[int]) -> list[int]:
        return [self.lengths[row] for row in rows]


@dataclass
class Measured:
    """All that was seen of one way: of each call by its name the rows that it read, and its rounds."""

    loaded: Loaded
    speed: float
    """Tokens a second by the clock, the most so far."""
    rows: dict[str, list[int]] = field(default_factory=dict)
    rounds: dict[str, list[Round]] = field(default_factory=dict)
    vectors: Vectors | None = None
    """Those of the call whose vectors are compared."""

    def median_seconds(self, called: str, clock: str) -> float:
        """Over the rounds of a call, by the clock that is asked for: "processor" or "wall"."""
        return statistics.median(
            took.cpu_seconds if clock == "processor" else took.seconds for took in self.rounds[called]
        )

    def tokens_per_second(self, called: str, call: Call, clock: str) -> float:
        """By the median over the rounds of a call."""
        return sum(call.lengths_of(self.rows[called])) / self.median_seconds(called, clock)


def summary(
    name: str, measured: dict[str, Measured], calls: dict[str, Call], shape: Shape, best: dict[str, float], clock: str
) -> dict[str, Any]:
    """Medians over the rounds of one way in each call, and its ratios to those of the baselines."""
    entry = measured[name]
    ceiling = best.get(variants.arithmetic(name, entry.loaded.note)) or best["float32"]
    found = {}
    for called, rounds in entry.rounds.items():
        call, lengths = calls[called], calls[called].lengths_of(entry.rows[called])
        found[called] = {
            "texts": len(lengths),
            "tokens": sum(lengths),
            "tokens_per_processor_second": entry.tokens_per_second(called, call, "processor"),
            "tokens_per_wall_second": entry.tokens_per_second(called, call, "wall"),
            "share_of_ceiling": shape.flops(lengths) / entry.median_seconds(called, clock) / ceiling,
            "speed_up_over": {
                other: entry.tokens_per_second(called, call, clock) / theirs.tokens_per_second(called, call, clock)
                for other, theirs in measured.items()
                if other in BASELINES and theirs.rounds.get(called)
            },
            "rounds": [asdict(took) for took in rounds],
        }
    peak = max((took.peak_memory_bytes for rounds in entry.rounds.values() for took in rounds), default=0)
    return {
        "calls": found,
        "loading": asdict(entry.loaded),
        "peak_memory_bytes": peak,
        "peak_bytes_per_weight": peak / shape.parameters,
    }


def agreement_in_common(mine: Measured, exact: Measured | None, called: str) -> dict[str, float] | None:
    """Agreement on the documents that both have read; None where there are none."""
    if exact is None or mine.vectors is None or exact.vectors is None:
        return None
    common, *places = np.intersect1d(mine.rows[called], exact.rows[called], return_indices=True)
    vectors, exactly = mine.vectors.of(places[0]), exact.vectors.of(places[1])
    return agreement(vectors, exactly) | {"documents": len(common)} if len(common) else None


def agreement(vectors: Vectors, exact: Vectors) -> dict[str, float]:
    """Cosines with the float32 vectors of the same documents, mean and smallest."""
    found = _cosines("hidden_states", vectors.hidden_states, exact.hidden_states)
    if vectors.router_logits is not None and exact.router_logits is not None:
        found |= _cosines("routing_weights", _weights(vectors.router_logits), _weights(exact.router_logits))
    return found


def _weights(logits: np.ndarray) -> np.ndarray:
    weights: np.ndarray = torch.tensor(logits).softmax(-1).flatten(1).numpy()
    return weights


def _cosines(name: str, some: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    cosines = (some * exact).sum(1) / np.linalg.norm(some, axis=1) / np.linalg.norm(exact, axis=1)
    return {f"{name}_mean": float(cosines.mean()), f"{name}_smallest": float(cosines.min())}


def table(result: dict[str, Any]) -> str:
    """The result as a Markdown table; a star marks what was read of fewer texts than the call has."""
    calls, last = result["calls"], result["compared"]
    baselines = [name for name in BASELINES if name in result["variants"]]
    head = ["way", *(f"tokens/s, {name}" for name in calls), f"by the wall, {last}", "of its ceiling"]
    head += [f"x {name}" for name in baselines] + ["peak memory, GB", "cosine with fp32, mean", "smallest"]
    lines = [f"| {' | '.join(head)} |", f"|---|{'--:|' * (len(head) - 1)}"]
    for name, found in result["variants"].items():
        cells = [name] + [_speed(found["calls"].get(called), calls[called]) for called in calls]
        if of_last := found["calls"].get(last):
            cells += [f"{of_last['tokens_per_wall_second']:,.0f}", f"{of_last['share_of_ceiling']:.0%}"]
            ratios, cosine = of_last["speed_up_over"], found["agreement_with_fp32"]
            cells += [f"{ratios[other]:.2f}" if other in ratios else "" for other in baselines]
            cells.append(f"{found['peak_memory_bytes'] / 1e9:.2f}")
            cells += [f"{cosine[f'hidden_states_{kind}']:.4f}" if cosine else "" for kind in ("mean", "smallest")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _speed(cell: dict[str, Any] | None, call: dict[str, Any]) -> str:
    if cell is None:
        return ""
    star = "*" if cell["texts"] < call["texts"] else ""
    return f"{cell['tokens_per_processor_second']:,.0f}{star}"


def plot(result: dict[str, Any], path: Path) -> None:
    """Tokens per second against what is lost of the cosine with float32, a point for each way."""
    import matplotlib
    from matplotlib.figure import Figure

    last, layers = result["compared"], result["settings"]["layers"]
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "benchmarks"}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for number, (name, found) in enumerate(result["variants"].items()):
            if found["agreement_with_fp32"]:
                lost = max(1 - found["agreement_with_fp32"]["hidden_states_mean"], 1e-7)
                speed = found["calls"][last]["tokens_per_processor_second"]
                axes.scatter([lost], [speed], color="#b03a2e" if name in variants.OURS else "#3b6ea5")
                axes.annotate(
                    name, (lost, speed), xytext=(5, 4 - 14 * (number % 2)), textcoords="offset points", fontsize=8
                )
        axes.set(xscale="log", yscale="log", xlabel="1 - cosine with float32, mean")
        axes.invert_xaxis()  # the better is up and to the right
        axes.set_ylabel(f"tokens a processor second, {last}")
        axes.set_title(f"OLMoE's width, {layers} layers, {', '.join(result['machine']['flags'])}", fontsize=9)
        figure.savefig(path, metadata={"Date": None})
