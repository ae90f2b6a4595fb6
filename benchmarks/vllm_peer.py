"""vLLM's pooling beside our encoder and transformers' own forward: one GPU, the same weights, the same documents.

    python -m benchmarks.vllm_peer                   a few minutes on an H200, where ``vllm`` is installed
    python -m benchmarks.vllm_peer --packs 16384     one engine and no compiled one: half of that

The model is that of ``benchmarks.gpu``, and vLLM copies its weights from there: nothing but a configuration and a
tokenizer is written. It pools the last token after the last norm, as we do, and does not normalize. It is given the
documents as token ids and as texts: what lies between is its tokenizing. Its engine runs in this process, for its
weights are here.

vLLM 0.26 is made for torch 2.11 (0.27.1 no longer): ``pip install vllm==0.26.0`` beside this package, in an environment
of its own. Without FlashInfer it needs ``VLLM_USE_FLASHINFER_SAMPLER=0``, for a sampler that pooling never calls.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import gpu
from benchmarks.checkpoint import Shape
from benchmarks.gpu import Bench, Step
from benchmarks.variants import MAX_TOKENS, PROMPT

RESULT = Path(__file__).with_name("results") / "vllm-run.json"
LOAD_FORMAT = "benchmark"
"""The name under which vLLM finds weights that are in memory already."""
MEMORY = 0.4
"""The share of the GPU that vLLM may fill beside our model: its weights, its cache of keys and values, its passes."""
SECONDS_PER_STEP = 120


def tensors_of_the_hub(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The weights of an ``OlmoeModel`` as checkpoints name them: each projection of each expert by itself."""
    for name, weight in model.state_dict().items():
        stem, _, projection = f"model.{name}".rpartition(".")
        if not stem.endswith(".experts"):
            yield f"model.{name}", weight
            continue
        parts = ("gate_proj", "up_proj") if projection == "gate_up_proj" else (projection,)
        for expert, matrix in enumerate(weight):
            for part, rows in zip(parts, matrix.chunk(len(parts)), strict=True):
                yield f"{stem}.{expert}.{part}.weight", rows


def register_weights(model: nn.Module) -> None:
    """Gives vLLM the weights of a model as a load format."""
    from vllm.model_executor.model_loader import BaseModelLoader, register_model_loader

    @register_model_loader(LOAD_FORMAT)
    class InMemory(BaseModelLoader):
        def download_model(self, model_config: Any) -> None:
            """Nothing is to be fetched."""

        def load_weights(self, model_of_vllm: Any, model_config: Any) -> None:
            model_of_vllm.load_weights(tensors_of_the_hub(model))


def engine(bench: Bench, folder: Path, tokens: int, *, eager: bool) -> Any:
    """An ``LLM`` that pools last tokens, in passes of at most ``tokens``."""
    from vllm import LLM
    from vllm.config import PoolerConfig

    bench.shape.config().save_pretrained(folder)
    bench.tokenizer.save_pretrained(folder)
    register_weights(bench.model)
    return LLM(
        str(folder),
        runner="pooling",
        convert="embed",
        pooler_config=PoolerConfig(seq_pooling_type="LAST", use_activation=False),
        load_format=LOAD_FORMAT,
        dtype=str(bench.dtype).removeprefix("torch."),
        # One more than the longest document: in one that a pass cuts in two, vLLM 0.26 keeps a place for a token to be
        # sampled, though pooling samples none, and the last token of 512 would wait for ever.
        max_model_len=MAX_TOKENS + 1,
        max_num_batched_tokens=tokens,
        enable_prefix_caching=False,
        gpu_memory_utilization=MEMORY,
        enforce_eager=eager,
    )


def pooled(bench: Bench, *, tokens: int, eager: bool) -> dict[str, Any]:
    """Times an engine of its own, and gives back what it held of the GPU."""
    with tempfile.TemporaryDirectory() as folder:
        llm = engine(bench, Path(folder), tokens, eager=eager)
        try:
            return {"version": version("vllm"), **compared(bench, llm)}
        finally:
            llm.llm_engine.engine_core.shutdown()


def compared(bench: Bench, llm: Any) -> dict[str, Any]:
    """Times vLLM on the documents as token ids and as texts, and compares its vectors with those of the former path."""
    prompts, found = [PROMPT.format(text=text) for text in bench.texts], {}
    token_ids = [{"prompt_token_ids": ids} for ids in bench.tokenizer(prompts)["input_ids"]]
    for name, inputs in (("token ids", token_ids), ("texts", prompts)):
        vectors, found[name] = bench.timed(lambda _, inputs=inputs: vectors_of(llm, inputs))  # type: ignore[misc]
        if bench.known is not None:
            found[name]["cosine"] = gpu.cosines(vectors, bench.known.hidden_states)
    return found


def vectors_of(llm: Any, inputs: list[Any]) -> np.ndarray:
    """What vLLM pools, (N, D) float32: ``encode`` leaves tensors, where ``embed`` makes lists of Python's numbers."""
    outputs = llm.encode(inputs, pooling_task="embed", use_tqdm=False)
    return torch.stack([output.outputs.data for output in outputs]).float().cpu().numpy()


def steps_with(packs: list[int]) -> dict[str, Step]:
    """Ours and transformers' own, then an engine of vLLM for each size of its passes; of several, one compiled too."""
    steps: dict[str, Step] = {
        name: gpu.STEPS[name] for name in ("surroundings", "ceilings", "former", "fused", "transformers")
    }
    for tokens in packs:
        steps[f"vllm, passes of {tokens}"] = partial(pooled, tokens=tokens, eager=True)
    if len(packs) > 1:
        steps[f"vllm compiled, passes of {packs[0]}"] = partial(pooled, tokens=packs[0], eager=False)
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=int, default=1024)
    parser.add_argument("--packs", type=int, nargs="+", default=[*gpu.TOKENS_PER_BATCH], metavar="TOKENS")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    if importlib.util.find_spec("vllm") is None:
        parser.error("vllm is not installed here; what runs without it is `python -m benchmarks.gpu`")
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the engine of another process could not see these weights
    gpu.run(Bench(Shape(), torch.device("cuda"), given.documents), given.out, steps_with(given.packs), SECONDS_PER_STEP)


if __name__ == "__main__":
    main()
