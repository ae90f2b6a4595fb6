"""Checkpoints that are small on disk alone: matrices in four bits, embeddings in eight, expanded while they are loaded.

A folder in hub layout but for the weights files: ``NAME.codes`` and ``NAME.scales`` stand for a matrix
(``int4_blocks``), all else is as it is. config.json says so under ``moee_topics_weights``. At work the model is one in
16 or 32 bits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from moee_topics.encode.quantization import int4_blocks
from moee_topics.errors import ModelError
from moee_topics.store import write_text

MARK = "moee_topics_weights"
FORMAT = f"int4-blocks-of-{int4_blocks.BLOCK}"
_SHARD = "45MB"  # git hosts complain of files above 50 MB


def is_compact(config: Any) -> bool:
    """Whether the weights of a configuration's folder are stored so.

    Raises:
        ModelError: in a later format.
    """
    mark = getattr(config, MARK, None)
    if mark not in (None, FORMAT):
        raise ModelError(f"The weights are stored as {mark!r}; this version reads {FORMAT!r}. Install a newer version.")
    return mark is not None


def write_compact(
    model: PreTrainedModel, folder: Path, tokenizer: Any, *, scales: Mapping[str, Tensor] | None = None
) -> None:
    """Writes a base model in four bits into a folder that exists.

    Args:
        model: with weights in 16 or 32 bits.
        folder: best one of :func:`moee_topics.store.atomic_folder`.
        tokenizer: its tokenizer.
        scales: name -> the scale of each block, where the weights were trained to bear certain ones.

    Raises:
        ResourceError: the disk is full.
    """
    embeddings = {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, torch.nn.Embedding)}
    stored: dict[str, Tensor] = {}
    for name, weight in model.state_dict().items():
        if name in embeddings:  # looked up, not multiplied, and the first thing every error goes through: eight bits
            codes, steps = int4_blocks.pack_rows(weight)
        elif weight.dim() >= 2 and weight.shape[-1] % int4_blocks.BLOCK == 0 and not name.endswith("mlp.gate.weight"):
            steps = scales[name] if scales and name in scales else int4_blocks.block_scales(weight)
            codes = int4_blocks.pack(weight, steps).view(*weight.shape[:-1], -1)
        else:
            stored[name] = weight.half() if weight.is_floating_point() and weight.dim() > 1 else weight
            continue
        stored[f"{name}.codes"] = codes
        stored[f"{name}.scales"] = steps.view(*weight.shape[:-1], -1)
    split = split_torch_state_dict_into_shards(stored, max_shard_size=_SHARD)
    config = json.loads(model.config.to_json_string()) | {MARK: FORMAT}
    config.pop("_name_or_path", None)  # a path of the machine that made it
    for name, keys in split.filename_to_tensors.items():
        save_file({key: stored[key].contiguous() for key in keys}, folder / name, metadata={"format": "pt"})
    write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
    tokenizer.save_pretrained(folder)


def read_compact(folder: Path, dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights of a folder, expanded.

    Raises:
        ModelError: a file is damaged.
    """
    stored: dict[str, Tensor] = {}
    try:
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, "pt") as file:
                stored |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        weights: dict[str, Tensor] = {}
        for name in [name for name in stored if not name.endswith(".scales")]:
            codes, plain = stored[name], name.removesuffix(".codes")
            if plain == name:
                weights[name] = codes.clone()  # what lies in a mapped file keeps all of its pages in memory
            elif codes.dtype == torch.int8:
                weights[plain] = int4_blocks.unpack_rows(codes, stored[f"{plain}.scales"].view(-1), dtype)
            else:
                shape = (*codes.shape[:-1], codes.shape[-1] * 2)  # two codes a byte
                weights[plain] = int4_blocks.unpack(
                    codes.reshape(-1), stored[f"{plain}.scales"].reshape(-1), shape, dtype
                )
        return weights
    # Codes without their scales are a KeyError, scales of other blocks a RuntimeError.
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise ModelError(f"The weights in {folder} are damaged: {error}. Install or download them again.") from error
