"""Processor time of an experts layer of OLMoE's width in whole numbers beside the type that a model would take.

    python -m benchmarks.whole_numbers --output whole-numbers.json
    ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI python -m benchmarks.whole_numbers --output whole-numbers.json
    MKL_ENABLE_INSTRUCTIONS=AVX2 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 \\
        python -m benchmarks.whole_numbers --output whole-numbers.json

One line of the file for each kind of processor that oneDNN is held to; a line is replaced when it is measured again.
The three switches hold three libraries: oneDNN multiplies whole numbers and bfloat16, MKL float32 (oneDNN's switch
leaves it at AVX-512, twice as fast as AVX2), and ATen does what lies between.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from transformers import OlmoeConfig
from transformers.models.olmoe.modeling_olmoe import OlmoeExperts

from moee_topics.encode.models import bitsandbytes_quantizer, experts, integer_products, loading
from moee_topics.store import write_json

SWITCHES = ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY")
WIDTH, INNER, EXPERTS, TOP_K = 2048, 1024, 17, 8
ROWS = (32, 256, 1024)
"""Tokens, and rows of an expert: all go to the same eight of so many that the layer goes through them one by one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    path = parser.parse_args().output
    held_to = os.environ.get("ONEDNN_MAX_CPU_ISA", "all")
    measured = json.loads(path.read_text()) if path.exists() else {}
    measured[held_to] = measure()
    write_json(path, measured)


@torch.inference_mode()
def measure() -> dict[str, Any]:
    """Milliseconds of a layer, best of five in turn, the cosine of its outputs, and GFLOP/s of the plain one."""
    kind = next(kind for kind in integer_products.KINDS if integer_products.is_exact(kind))
    # bfloat16 by the flags of the processor is what it is held to only where oneDNN has a kernel for it.
    slow = os.environ.get("ONEDNN_MAX_CPU_ISA", "") in ("AVX512_CORE_VNNI", "AVX2_VNNI", "AVX2")
    dtype = torch.float32 if slow else loading.default_dtype("cpu")
    layers = {"plain": layer_of(dtype), "whole": layer_of(torch.float32)}
    bitsandbytes_quantizer.round_weights(layers["whole"], [*experts.weight_names(layers["whole"])], kind)
    facts: dict[str, Any] = {"device": torch.cpu.get_capabilities().get("cpu_name", ""), "torch": torch.__version__}
    facts |= {"threads": torch.get_num_threads(), "kind": kind, "dtype": str(dtype), "rows": {}}
    facts["held_by"] = {name: os.environ[name] for name in SWITCHES if name in os.environ}
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
        facts["rows"][rows] = found | {"plain_gflops": round(operations / best["plain"] / 1e6, 1)}
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
