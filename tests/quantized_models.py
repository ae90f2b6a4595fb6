"""Random mixtures of several families, loaded in few bits, and their weights expanded again."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel

from moee_topics.encode.models import deepseek, quantizer
from moee_topics.encode.quantization import bitsandbytes_blocks, few_bits
from moee_topics.encode.settings import Integer, Kind

SMALL = {
    "vocab_size": 97,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "olmoe": {"num_experts": 8, "intermediate_size": 64},
    "qwen2_moe": {
        "num_experts": 8,
        "moe_intermediate_size": 64,
        "shared_expert_intermediate_size": 128,
        "intermediate_size": 128,
    },
    "mixtral": {"num_local_experts": 8, "intermediate_size": 192},
    "gpt_oss": {"num_local_experts": 8, "intermediate_size": 64, "head_dim": 32},
    "deepseek_v2": {
        "n_routed_experts": 8,
        "n_shared_experts": 2,
        "first_k_dense_replace": 1,
        "moe_intermediate_size": 64,
        "intermediate_size": 128,
        "kv_lora_rank": 64,
        "q_lora_rank": None,
        "qk_nope_head_dim": 32,
        "qk_rope_head_dim": 32,
        "v_head_dim": 32,
        "topk_method": "greedy",
    },
    "deepseek": {
        "n_routed_experts": 8,
        "n_shared_experts": 2,
        "first_k_dense_replace": 1,
        "moe_intermediate_size": 64,
        "intermediate_size": 128,
    },
}
IDS = torch.arange(34).view(2, 17) % 97


def make_checkpoint(family: str, folder: Path) -> Path:
    """A random checkpoint in hub layout: one tensor per expert and projection."""
    deepseek.register()
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **SMALL, **FAMILIES[family])
    model = AutoModel.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(std=0.05)
    model.save_pretrained(folder)
    return folder


@cache
def load(folder: Path, kind: Kind | Integer, dtype: torch.dtype = torch.float32) -> Any:
    return AutoModel.from_pretrained(folder, quantization_config=quantizer.BlockwiseConfig(kind), dtype=dtype)


def expanded_state(model: torch.nn.Module) -> dict[str, Tensor]:
    """The weights of a quantized model in the layout of the plain one."""
    state = {name: value for name, value in model.state_dict().items() if "_absmax" not in name}
    for path, module in model.named_modules():
        for name, shape in getattr(module, "quantized_shapes", {}).items():
            parts, kind = few_bits.quantized_parts(module, name), module.quantized_kind
            weight = bitsandbytes_blocks.dequantize(
                parts[""], bitsandbytes_blocks.scales(parts, kind), kind, torch.float32
            )
            state[f"{path}.{name}"] = weight.view(shape)
    return state


@torch.no_grad()
def last_states(model: Any) -> Tensor:
    return model(IDS, use_cache=False).last_hidden_state
