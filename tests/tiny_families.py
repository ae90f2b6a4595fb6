"""Tiny random configurations of every mixture-of-experts model type of the installed transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tiny_models import VOCABULARY
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.models.auto.configuration_auto import model_type_to_module_name
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

LAYERS, EXPERTS = 4, 8

# Every size that any of the configurations has; a configuration takes those it knows.
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "moe_intermediate_size": 48,
    "shared_expert_intermediate_size": 48,
    "shared_intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 16,
    "num_experts": EXPERTS,
    "num_local_experts": EXPERTS,
    "n_routed_experts": EXPERTS,
    "moe_num_experts": EXPERTS,
    "num_experts_per_tok": 2,
    "moe_k": 2,
    "moe_topk": 2,
    "top_k_experts": 2,
    "n_group": 1,
    "topk_group": 1,
    "q_lora_rank": 32,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 16,
    "v_head_dim": 16,
    "max_position_embeddings": 512,
    "sliding_window": 64,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}

_ROPE = {"rope_type": "default", "rope_theta": 1e4}
_INDEXED = ["linear_attention", "indexed_attention", "linear_attention", "indexed_attention"]
_SPARSE_AFTER_ONE = ["dense", "sparse", "sparse", "sparse"]

# What a type needs beyond small sizes.
CHANGES: dict[str, dict[str, Any]] = {
    "granitemoehybrid": {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_chunk_size": 16},
    "kimi_linear": {"linear_head_dim": 16, "linear_num_heads": 4},
    "bailing_hybrid": {"num_expert_group": 1, "num_experts_per_token": 2, "linear_head_dim": 16, "linear_num_heads": 4},
    "dbrx": {
        "d_model": 64,
        "n_heads": 4,
        "n_layers": LAYERS,
        "max_seq_len": 512,
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0},
        "ffn_config": {"ffn_hidden_size": 96, "moe_num_experts": EXPERTS, "moe_top_k": 2, "hidden_size": 64},
    },
    "deepseek_v3": {"first_k_dense_replace": 1},
    "deepseek_v32": {"mlp_layer_types": _SPARSE_AFTER_ONE, "index_n_heads": 4, "index_head_dim": 32},
    "glm_moe_dsa": {"mlp_layer_types": _SPARSE_AFTER_ONE, "index_n_heads": 4, "index_head_dim": 32},
    "doge": {"is_moe": True, "num_experts": 16},
    "dots1": {"n_shared_experts": 1},
    "dots3_note_text": {
        "per_layer_config": {},
        "head_dim": 32,
        "shared_experts_intermediate_size": 48,
        "layer_types": ["indexed_attention", "sliding_attention", "sliding_attention", "indexed_attention"],
        "mlp_layer_types": _SPARSE_AFTER_ONE,
        "index_n_heads": 4,
        "index_head_dim": 32,
    },
    "gemma4_text": {
        "enable_moe_block": True,
        "per_layer_config": {},
        "vocab_size_per_layer_input": VOCABULARY,
        "hidden_size_per_layer_input": 16,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "glm4v_moe_text": {
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e4,
            "mrope_section": [2, 3, 3],
            "partial_rotary_factor": 1.0,
        }
    },
    "glm5_next_text": {
        "qk_rope_head_dim": 0,
        "layer_types": _INDEXED,
        "mlp_layer_types": _SPARSE_AFTER_ONE,
        "index_n_heads": 4,
        "index_head_dim": 32,
        "linear_head_dim": 16,
        "linear_num_heads": 4,
    },
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "full_attention"], "num_dense_layers": 1},
    "longcat_flash": {
        "num_layers": 2,
        "ffn_hidden_size": 96,
        "expert_ffn_hidden_size": 48,
        "zero_expert_num": 2,
    },
    "mimo_v2_flash": {
        "num_key_value_heads": 2,
        "layer_types": ["full_attention", "sliding_attention"] * 2,
        "mlp_layer_types": _SPARSE_AFTER_ONE,
        "rope_parameters": {
            kind: {**_ROPE, "partial_rotary_factor": 0.5} for kind in ("full_attention", "sliding_attention")
        },
    },
    "mistral4": {
        "rope_parameters": {
            **_ROPE,
            "llama_4_scaling_beta": 0.1,
            "original_max_position_embeddings": 8192,
            "partial_rotary_factor": 0.5,
        }
    },
    "muse_spark_text": {"moe_hidden_size": 64, "num_local_experts": EXPERTS},
    "nemotron_h": {
        "layers_block_type": ["mamba", "moe", "attention", "moe"],
        "mamba_num_heads": 8,
        "mamba_head_dim": 16,
        "ssm_state_size": 16,
        "chunk_size": 16,
        "moe_shared_expert_intermediate_size": 48,
    },
    "qwen3_5_moe_text": {
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
    },
    "qwen4_exp_text": {
        "layer_types": _INDEXED,
        "indexer_n_heads": 4,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 64,
        "indexer_compress_ratio": 4,
        "hc_lowrank": 16,
        "ple_embed_dim": 64,
        "ngram_vocab_size_base": 512,
        "split_ngram_parts": 2,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
    },
    "zaya": {"num_experts_per_tok": 1, "router_hidden_size": 32},
}


def router_model_types() -> dict[str, type[PreTrainedModel]]:
    """Model type and base class of everything in the library that records router logits, read from the library."""
    models = Path(transformers.__file__).parent / "models"
    found = {}
    for model_type, names in MODEL_MAPPING_NAMES.items():
        files = (models / model_type_to_module_name(model_type)).glob("modeling_*.py")
        if not any("router_logits" in file.read_text(encoding="utf-8") for file in files):
            continue
        base = getattr(transformers, names if isinstance(names, str) else names[0])
        if (getattr(base, "_can_record_outputs", None) or {}).get("router_logits") is not None:
            found[model_type] = base
    return found


def tiny_config(model_type: str) -> Any:
    """A configuration with every size shrunk, and the changes that a type needs beyond that."""
    known = set(AutoConfig.for_model(model_type).to_dict())
    sizes = {name: size for name, size in SMALL.items() if name in known}
    return AutoConfig.for_model(model_type, **{**sizes, **CHANGES.get(model_type, {})})


def tiny_model(config: Any) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModel.from_config(config, dtype=torch.float32).eval()
        for weight in model.parameters():
            if weight.ndim > 1 and not weight.any():  # a router that its library leaves at zero would tell nothing
                weight.data.normal_(std=0.2)
    return model
