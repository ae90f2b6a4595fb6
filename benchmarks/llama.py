"""llama.cpp in embedding mode as a peer: the same random weights as GGUF, by PyPI's ``xllamacpp`` and ``gguf``.

Both are optional; where one is missing the variants are left out by name. ``gguf`` makes Q8_0 and Q4_0 of weights;
Q4_K_M needs the tool of llama.cpp itself, which no wheel of xllamacpp holds.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer

KINDS = {"llama.cpp Q8_0": "Q8_0", "llama.cpp Q4_0": "Q4_0"}
_OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_INNER = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate": "ffn_gate_inp",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
}


def lacking() -> str:
    """The package of those it needs that is not installed; empty where both are."""
    return next((name for name in ("xllamacpp", "gguf") if importlib.util.find_spec(name) is None), "")


def write_gguf(folder: Path, kind: str) -> Path:
    """The checkpoint of a folder beside it as GGUF: matrices in ``kind``, embeddings, routers and norms in float32."""
    import gguf

    path, config = folder / f"{kind}.gguf", AutoConfig.from_pretrained(folder)
    writer = gguf.GGUFWriter(path, "olmoe", use_temp_file=False)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_expert_count(config.num_experts)
    writer.add_expert_used_count(config.num_experts_per_tok)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("none")  # it is given token ids
    quantized = gguf.GGMLQuantizationType[kind]
    for name, weight in _named(folder, config):
        if weight.dim() == 1 or name.endswith(("ffn_gate_inp.weight", "token_embd.weight")):
            writer.add_tensor(name, weight.float().numpy())
        else:
            writer.add_tensor(name, gguf.quants.quantize(weight.float().numpy(), quantized), raw_dtype=quantized)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _named(folder: Path, config: Any) -> Iterator[tuple[str, Tensor]]:
    """The weights under llama.cpp's names, one by one; the experts of a layer as one."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            names = list(file.keys())
            for name in names:
                if ".experts." not in name:
                    yield _renamed(name.removesuffix(".weight")), file.get_tensor(name)
            for first in (name for name in names if ".experts.0." in name):
                parts = [first.replace(".experts.0.", f".experts.{i}.") for i in range(config.num_experts)]
                layer, projection = first.split(".")[2], first.split(".")[-2].removesuffix("_proj")
                yield f"blk.{layer}.ffn_{projection}_exps.weight", torch.stack([*map(file.get_tensor, parts)])


def _renamed(name: str) -> str:
    if name in _OUTER:
        return f"{_OUTER[name]}.weight"
    _, _, layer, inner = name.split(".", 3)
    return f"blk.{layer}.{_INNER[inner]}.weight"


def encoder(folder: Path, kind: str, prompt: str, max_tokens: int) -> tuple[Any, Any]:
    """A server of llama.cpp that pools the last token, and a function from texts to (N, D) float32."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(write_gguf(folder, kind))
    params.embedding, params.pooling_type = True, xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_LAST
    # A text of exactly as many tokens as a slot has room for is refused.
    params.n_ctx, params.n_batch, params.n_ubatch, params.n_parallel = 4 * (max_tokens + 64), 2048, 2048, 4
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = torch.get_num_threads()
    params.warmup, params.cache_prompt = False, False
    server, tokenizer = xllamacpp.Server(params), AutoTokenizer.from_pretrained(folder)

    def encode(texts: list[str]) -> np.ndarray:
        ids = tokenizer([prompt.format(text=text) for text in texts], truncation=True, max_length=max_tokens)
        answer = server.handle_embeddings({"input": ids["input_ids"], "model": "olmoe"})
        return np.array([found["embedding"] for found in answer["data"]], np.float32)

    return server, encode
