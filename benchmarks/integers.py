"""Processor time of an experts layer of OLMoE's width in 8-bit integers beside the type that a model would take.

    python -m benchmarks.integers
    python -m benchmarks.integers --held-to AVX2

Each kind of processor that this one can be held to is measured in a process of its own and is a line of the file, which
is replaced when it is measured again. Three switches hold three libraries: oneDNN multiplies integers and
bfloat16, MKL float32 (oneDNN's switch leaves it at AVX-512, twice as fast as AVX2), and ATen does what lies between.
Whole models are compared by the benchmark: ``python -m benchmarks.bench --layers 16 --experts 18``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import OlmoeConfig
from transformers.models.olmoe.modeling_olmoe import OlmoeExperts

from benchmarks import bench
from moee_topics.encode.models import experts, loading
from moee_topics.encode.quantization import few_bits, integer_products
from moee_topics.store import read_json, write_json

AVX2 = {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
HELD_TO: dict[str, dict[str, str]] = {
    "all": {},
    "AVX512_CORE_VNNI": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"},
    "AVX2_VNNI": {"ONEDNN_MAX_CPU_ISA": "AVX2_VNNI"} | AVX2,
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"} | AVX2,
}
"""Kinds of processor by name, and the switches that hold this one to them."""
WIDTH, INNER, EXPERTS, TOP_K = 2048, 1024, 17, 8
ROWS = (32, 256, 1024)
"""Tokens, and rows of an expert: all go to the same eight of so many that the layer goes through them one by one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held-to", choices=HELD_TO, action="append", help="by default each in turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=bench.RESULTS / "integers.json")
    parser.add_argument("--here", choices=HELD_TO, help=argparse.SUPPRESS)  # measures in this process, and prints it
    given = parser.parse_args()
    if given.here:
        torch.set_num_threads(given.threads)
        print(json.dumps(measure(given.here)))
        return
    for held_to in given.held_to or HELD_TO:
        command = [sys.executable, "-m", "benchmarks.integers", "--here", held_to, "--threads", str(given.threads)]
        answer = subprocess.run(command, env=os.environ | HELD_TO[held_to], stdout=subprocess.PIPE, check=True)
        line = json.loads(answer.stdout)
        write_json(given.output, read_json(given.output, default={}) | {held_to: line})
        bench.say(f"{held_to}: {line['kind']} beside {line['dtype']}, {line['rows']}")


@torch.inference_mode()
def measure(held_to: str) -> dict[str, Any]:
    """Milliseconds of a layer, best of five in turn, the cosine of its outputs, and GFLOP/s of the plain one."""
    kind = next(kind for kind in integer_products.KINDS if integer_products.is_exact(kind))
    # bfloat16 by the flags of the processor is what it is held to only where oneDNN has a kernel for it.
    dtype = torch.float32 if HELD_TO[held_to] else loading.default_dtype("cpu")
    layers = {"plain": layer_of(dtype), "integer": layer_of(torch.float32)}
    few_bits.round_weights(layers["integer"], [*experts.weight_names(layers["integer"])], kind)
    facts = bench.surroundings(bench.Settings(threads=torch.get_num_threads()))
    facts |= {"threads": torch.get_num_threads(), "kind": kind, "dtype": str(dtype), "rows": {}}
    for rows in ROWS:
        states = torch.randn(rows, WIDTH).to(dtype)
        routing = torch.arange(TOP_K).repeat(rows, 1), torch.full((rows, TOP_K), 1 / TOP_K)
        best, outputs = {name: float("inf") for name in layers}, {}
        for name in [*layers] * 5:
            start = time.process_time()
            outputs[name] = experts.experts_forward(layers[name], states, *routing).float()
            best[name] = min(best[name], 1000 * (time.process_time() - start))
        cosine = torch.cosine_similarity(*outputs.values(), dim=-1).mean().item()
        found = {name: round(value, 1) for name, value in best.items()} | {"cosine": round(cosine, 5)}
        operations = 2 * rows * TOP_K * 3 * WIDTH * INNER
        facts["rows"][rows] = found | {
            "times": round(best["plain"] / best["integer"], 2),
            "plain_gflops": round(operations / best["plain"] / 1e6, 1),
        }
    return facts


def layer_of(dtype: torch.dtype) -> OlmoeExperts:
    """A random layer, the same at each call."""
    config = OlmoeConfig(hidden_size=WIDTH, intermediate_size=INNER, num_experts=EXPERTS, num_experts_per_tok=TOP_K)
    torch.manual_seed(0)
    layer = OlmoeExperts(config)
    for weight in layer.parameters():
        weight.data.normal_(std=0.02)
    return layer.to(dtype)


if __name__ == "__main__":
    main()
