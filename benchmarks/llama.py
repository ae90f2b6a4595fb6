"""llama.cpp in embedding mode as a peer: the same random weights as GGUF, by ``llama-cpp-python`` and ``gguf`` of PyPI.

Both are optional; where one is missing the variants are left out by name. ``llama-cpp-python`` is compiled where it is
installed, so it has the kernels of this processor; wheels of ``xllamacpp`` stop at AVX2. llama.cpp quantizes by itself.

In embedding mode llama.cpp multiplies every token with the head over the vocabulary, and drops what comes out. Of two
layers of OLMoE that is 43 % of the work, so its file holds no more words than the texts are drawn from
(``checkpoint.WORDS``): 3 %.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer

from benchmarks import checkpoint

KINDS = {"llama.cpp Q8_0": "Q8_0", "llama.cpp Q4_K_M": "Q4_K_M"}
BATCH = 1024
"""Tokens that go through the layers at once, each document of them beside the others."""
_OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_BY_WORD = ("token_embd.weight", "output.weight")
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
    return next((name for name in ("llama_cpp", "gguf") if importlib.util.find_spec(name) is None), "")


def write_gguf(folder: Path) -> Path:
    """The checkpoint of a folder beside it as GGUF in the same 16 bits, its vocabulary cut to the words read."""
    import gguf

    path, config = folder / "BF16.gguf", AutoConfig.from_pretrained(folder)
    if path.exists():
        return path
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
    writer.add_vocab_size(min(config.vocab_size, checkpoint.WORDS))
    writer.add_tokenizer_model("none")  # it is given token ids
    bits = gguf.GGMLQuantizationType.BF16
    for name, weight in _named(folder, config):
        if weight.dim() == 1 or name.endswith("ffn_gate_inp.weight"):
            writer.add_tensor(name, weight.float().numpy())
        else:
            writer.add_tensor(name, weight.view(torch.uint8).numpy(), raw_dtype=bits)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def quantized(folder: Path, kind: str) -> Path:
    """The GGUF of a folder in ``kind``, by llama.cpp's own rules: which tensors get more bits, and which none."""
    import llama_cpp

    logging.getLogger("llama-cpp-python").setLevel(logging.ERROR)  # or a line for each tensor
    path, options = folder / f"{kind}.gguf", llama_cpp.llama_model_quantize_default_params()
    options.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    options.nthread = torch.get_num_threads()
    names = (str(write_gguf(folder)).encode(), str(path).encode())
    if llama_cpp.llama_model_quantize(*names, ctypes.byref(options)):
        raise RuntimeError(f"llama.cpp did not quantize {names[0]!r} to {kind}.")
    return path


def _named(folder: Path, config: Any) -> Iterator[tuple[str, Tensor]]:
    """The weights under llama.cpp's names, one by one; the experts of a layer as one."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            names = list(file.keys())
            for name in names:
                if ".experts." not in name:
                    renamed, weight = _renamed(name.removesuffix(".weight")), file.get_tensor(name)
                    yield renamed, weight[: checkpoint.WORDS] if renamed in _BY_WORD else weight
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
    """A model of llama.cpp that pools the last token, and a function from texts to (N, D) float32."""
    import llama_cpp

    sizes = {"n_ctx": BATCH, "n_batch": BATCH, "n_ubatch": BATCH}
    threads = dict.fromkeys(("n_threads", "n_threads_batch"), torch.get_num_threads())
    pooling = {"embedding": True, "pooling_type": llama_cpp.LLAMA_POOLING_TYPE_LAST}
    # Not mapped from the file, so that its weights count as memory as those of the other ways do.
    path = str(quantized(folder, kind))
    model = llama_cpp.Llama(path, **sizes, **threads, **pooling, use_mmap=False, verbose=False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model.tokenize = lambda text: tokenizer(text.decode(), truncation=True, max_length=max_tokens)["input_ids"]

    def encode(texts: list[str]) -> np.ndarray:
        return np.array(model.embed([prompt.format(text=text) for text in texts]), np.float32)

    return model, encode


def kernels() -> str:
    """The instruction sets that llama.cpp was compiled with."""
    import llama_cpp

    return str(llama_cpp.llama_print_system_info().decode()).strip(" |")
