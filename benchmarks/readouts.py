"""Which view of the embedded model suits labelled sets: k-means with the true number of classes, for docs/readouts.md.

    python -m benchmarks.readouts --data ../shared/data --store vectors
    python -m benchmarks.readouts --data ../shared/data --store vectors --output benchmarks/results/draws.json \\
        --draws 4 --documents 500 --layers last 0 --pooling mean weighted_mean --routing mean --random-model \\
        --also "encoder.states=attention_outputs encoder.layers=16-30" --also encoder.reroute=10-20

Each set is compared as ``moee-topics compare views`` compares a corpus; encoding is kept in --store. Writes
benchmarks/results/readouts.json and prints the tables of the document.
"""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.labelled_sets import SETS, corpus_of
from moee_topics.mteb import compare_views
from moee_topics.recipe import parse_recipe
from moee_topics.store import read_json, write_json

READ = [name for name in SETS if name != "cs-abstracts"]
CHOSEN_ON = ("newsgroups-subjects", "arxiv-abstracts", "cs-titles")
"""The sets on which a view is chosen; the others show what the choice is worth."""
RESULTS = Path(__file__).with_name("results") / "readouts.json"


def main() -> None:
    """Compares the views of every set, and tells what was chosen on some and is worth on the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=READ, choices=list(SETS))
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--layers", nargs="*", default=["last", "0", "0.25", "0.5", "0.75", "0.9"])
    parser.add_argument("--pooling", nargs="*", help="by default all")
    parser.add_argument("--routing", nargs="*", help="by default all")
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--also", action="append", default=[], help="a change of the encoder, another pass")
    parser.add_argument("--random-model", action="store_true")
    parser.add_argument("--output", type=Path, default=RESULTS)
    asked = parser.parse_args()
    layers = [float(layer) if "." in layer else layer for layer in asked.layers]
    sizes = {"documents": asked.documents, "draws": asked.draws, "max_tokens": asked.max_tokens, "also": asked.also}
    known = read_json(asked.output, default={})
    if others := {name: known[name] for name, value in sizes.items() if known.get(name, value) != value}:
        parser.error(f"{asked.output} holds sets that were compared with {others}: give another --output")
    done = known.get("sets", {})
    for name in asked.sets:
        if name in done:
            continue
        encoder = {"prompt": "none", "max_tokens": asked.max_tokens, "layers": layers}
        encoder |= {name: views for name in ("pooling", "routing") if (views := getattr(asked, name))}
        fusion = {"method": "hidden_states", "standardize": "hidden_states"}
        recipe = parse_recipe({"corpus": corpus_of(asked.data, SETS[name]), "encoder": encoder, "fusion": fusion})
        passes = {"also": [change.split() for change in asked.also], "random_model": asked.random_model}
        compared = compare_views(recipe, asked.store, sample=asked.documents, draws=asked.draws, **passes)
        done[name] = rounded(compared.to_json())
        machine = {"python": platform.python_version(), "torch": version("torch"), "machine": platform.machine()}
        write_json(asked.output, {**sizes, **machine, "sets": done})
        print(f"{name}: {done[name]['recommended_view']}", flush=True)
    print("\n".join(tables(done)))


def rounded(value: Any) -> Any:
    """The same with four digits, and without what every view would repeat."""
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items() if name != "overrides"}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    return round(value, 4) if isinstance(value, float) else value


def tables(sets: dict[str, Any]) -> list[str]:
    """The AMI of every view on every set, the mean on the sets of the choice first; and the measures without labels."""
    chosen_on = [name for name in CHOSEN_ON if name in sets]
    names = [*chosen_on, *(name for name in sets if name not in chosen_on)]
    ami: dict[str, dict[str, float]] = {}
    for name in names:
        for view in sets[name]["views"]:
            label = f"{view['name']} ({view['control']})" if view["control"] else view["name"]
            ami.setdefault(label, {})[name] = 100 * view["scores"]["ami"]
    whole = {view: of_sets for view, of_sets in ami.items() if len(of_sets) == len(names)}
    order = sorted(whole, key=lambda view: -np.mean([whole[view][name] for name in chosen_on]))
    lines = ["| view | mean of the first three | " + " | ".join(names) + " |", "|---|--:|" + "--:|" * len(names)]
    for view in order:
        mean = np.mean([whole[view][name] for name in chosen_on])
        lines.append(f"| {view} | {mean:.1f} | " + " | ".join(f"{whole[view][name]:.1f}" for name in names) + " |")
    measures = list(next(iter(sets.values()))["rank_correlations"])
    lines += ["", "| measure | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
    for measure in measures:
        ranks = (f"{sets[name]['rank_correlations'][measure]:.2f}" for name in names)
        lines.append(f"| {measure} | " + " | ".join(ranks) + " |")
    return lines


if __name__ == "__main__":
    main()
