"""Write the model card from what training and evaluation left behind.

    python -m pocket.card --model moee_topics/encode/models/pocket --log build/pocket/run/log.jsonl

Reads ``training.json`` beside the weights, the training log and ``pocket/results.json``; writes ``MODEL_CARD.md`` and
``loss.png`` beside the weights, and the thinned log to ``pocket/train_log.jsonl``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from moee_topics.store import write_text

HERE = Path(__file__).parent
METHODS = {
    "hidden_states": "hidden states (HS)",
    "routing_weights": "routing weights (RW)",
    "concat": "concat",
    "weighted_sum": "weighted sum",
}


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the records of a training log; where a resumed run repeats a step, the later one counts."""
    records = (json.loads(line) for line in path.read_text().splitlines())
    return [record for _, record in sorted({record["step"]: record for record in records}.items())]


def thin(records: list[dict[str, Any]], most: int = 400) -> list[dict[str, Any]]:
    """Keep every n-th record, the held-out losses and the last one."""
    every = -(-len(records) // most)
    return [r for i, r in enumerate(records) if i % every == 0 or "held_out_loss" in r or r is records[-1]]


def draw(records: list[dict[str, Any]], path: Path) -> None:
    """Draw the training and held-out loss against the tokens seen."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tokens = np.array([record["tokens"] for record in records]) / 1e6
    loss = np.array([record["loss"] for record in records])
    width = max(1, len(loss) // 60)
    smooth = np.convolve(loss, np.ones(width) / width, mode="valid")
    held_out = [(r["tokens"] / 1e6, r["held_out_loss"]) for r in records if "held_out_loss" in r]
    figure, axes = pyplot.subplots(figsize=(6, 3.2), layout="constrained")
    axes.plot(tokens, loss, color="0.8", linewidth=0.6)
    axes.plot(tokens[width - 1 :], smooth, color="C0", label="training")
    if held_out:
        axes.plot(*zip(*held_out, strict=True), "o-", color="C1", markersize=3, linewidth=1, label="held out")
    axes.set(xlabel="million tokens seen", ylabel="loss (nats per token)")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    lines = [list(head), *([str(cell) for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def label(row: dict[str, Any]) -> str:
    """Say in words what a row of the results is."""
    name = METHODS.get(row["method"], row["method"])
    if "alpha" in row:
        name += f", alpha {row['alpha']:g}"
    if "control" in row:
        name = f"control, {row['control']}: {name}"
    return f"{name}, on {row['documents']:,} texts" if "documents" in row else name


def scores(results: dict[str, Any]) -> str:
    """Return one table of all variants on all corpora."""
    names = list(results["corpora"])
    keyed = [{key_of(row): row for row in results["corpora"][name]["rows"]} for name in names]
    head = ["embedding", "pooling, prompt", "standardised"]
    head += [f"{name}: AMI / ARI / V" for name in names]
    rows = []
    for key, row in keyed[0].items():
        where = f"{row['pooling']}, {row['prompt']}" if "pooling" in row else "–"
        standardised = {True: "yes", False: "no", None: "–"}[row.get("standardize")]
        cells = [found[key] for found in keyed]
        rows.append(
            [label(row), where, standardised]
            + [f"{cell['ami']:.1f} ± {cell['ami_std']:.1f} / {cell['ari']:.1f} / {cell['v']:.1f}" for cell in cells]
        )
    return table(head, rows)


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """What makes two rows of different corpora the same variant."""
    return tuple(
        row.get(key) for key in ("control", "documents", "pooling", "prompt", "method", "alpha", "standardize")
    )


def sources(data: dict[str, Any]) -> str:
    """Return the table of training texts."""
    rows = [
        (
            name,
            found["licence"],
            found["documents"],
            f"{found['tokens'] / 1e6:.1f} M",
            f"{found['bytes_per_token']:.2f}",
        )
        for name, found in data["sources"].items()
    ]
    return table(("source", "licence", "documents prepared", "tokens prepared", "bytes per token"), rows)


def chosen(results: dict[str, Any]) -> str:
    """Say which setting was chosen, where, and what it gives elsewhere."""
    if "defaults" not in results:
        return "No defaults were chosen."
    found = results["defaults"]
    setting = ", ".join(f"`{key}: {str(value).lower()}`" for key, value in found["setting"].items())
    ami = ", ".join(f"{value:.1f} on {name}" for name, value in found["ami"].items())
    return (
        f"{setting}. They were chosen on {found['chosen_on']} alone: among the settings whose AMI is within "
        f"one deviation (its own and theirs) of the best, a weighted sum goes first. AMI: {ami}."
    )


def softmax(plan: dict[str, Any], vocabulary: int) -> str:
    """Say over what part of the vocabulary the loss was taken."""
    if not plan["sampled"]:
        return "The softmax is over the whole vocabulary."
    until = f"{plan['full_from']:.0%}".replace("%", " %")
    return (
        f"Until {until} of the time the softmax is over the batch's own targets and a random draw of the rest, "
        f"{plan['sampled']:,} of {vocabulary:,} ids in all; after that over the whole vocabulary."
    )


def verdict(results: dict[str, Any]) -> str:
    """Say how the best variant stands to TF-IDF + SVD on each corpus."""
    lines = []
    for name, found in results["corpora"].items():
        other = [row["ami"] for row in found["rows"] if row["method"].startswith("TF-IDF") and "documents" not in row]
        best = max(row["ami"] for row in found["rows"] if "pooling" in row and not {"control", "documents"} & set(row))
        if other:
            lines.append(f"{best:.1f} against {other[0]:.1f} on {name} ({'above' if best > other[0] else 'below'} it)")
    return f"Best AMI of this model against TF-IDF + SVD: {', '.join(lines)}." if lines else ""


def card(training: dict[str, Any], results: dict[str, Any], note: str = "") -> str:
    """Fill the template."""
    shape, data = training["shape"], training["data"]
    corpora = ", ".join(f"{found['documents']:,} texts of {name}" for name, found in results["corpora"].items())
    speeds = [speed for found in results["corpora"].values() for speed in found["tokens_per_second"]]
    return Template((HERE / "card.md").read_text()).substitute(
        shape,
        parameters=f"{training['parameters'] / 1e6:.1f} M",
        batch=training["plan"]["batch"],
        note=note,
        verdict=verdict(results),
        softmax=softmax(training["plan"], data["vocabulary"]),
        vocabulary=f"{data['vocabulary']:,}",
        tokens=f"{training['tokens'] / 1e6:.1f} million",
        steps=f"{training['steps']:,}",
        hours=f"{training['seconds'] / 3600:.1f}",
        speed=f"{training['tokens'] / training['seconds']:,.0f}",
        held_out_loss=f"{training['held_out_loss']:.3f}",
        hardware=f"{training['cores']} CPU cores" if training["device"] == "cpu" else "one GPU",
        encoding_speed=f"{max(speeds, default=0):,}",
        available=f"{data['train_tokens'] / 1e6:.0f} million",
        forbidden=f"{data['evaluation_texts']:,}",
        dropped=sum(found["dropped"] for found in data["sources"].values()),
        sources=sources(data),
        corpora=corpora,
        max_tokens=results["max_tokens"],
        seeds=results["seeds"],
        scores=scores(results),
        chosen=chosen(results),
    )


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and write the card."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("moee_topics/encode/models/pocket"))
    parser.add_argument("--log", type=Path, default=HERE / "train_log.jsonl")
    parser.add_argument("--results", type=Path, default=HERE / "results.json")
    parser.add_argument("--note", default="", help="a sentence for the card's section on training")
    options = parser.parse_args(arguments)
    records = thin(read_log(options.log))
    write_text(HERE / "train_log.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    draw(records, options.model / "loss.png")
    training = json.loads((options.model / "training.json").read_text())
    results = json.loads(options.results.read_text())
    write_text(options.model / "MODEL_CARD.md", card(training, results, options.note))


if __name__ == "__main__":
    main()
