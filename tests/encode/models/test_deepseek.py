from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tiny_models import END, VOCABULARY, tiny_tokenizer
from torch import Tensor

from moee_topics.encode.encoder import MoEEncoder
from moee_topics.encode.models import load_model
from moee_topics.encode.models.loading import load_config, load_tokenizer
from moee_topics.encode.settings import EncoderSettings
from moee_topics.errors import ModelError

CONFIG: dict[str, Any] = {
    "architectures": ["DeepseekForCausalLM"],
    "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekConfig", "AutoModel": "modeling_deepseek.DeepseekModel"},
    "model_type": "deepseek",
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 192,
    "moe_intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "n_routed_experts": 16,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "norm_topk_prob": False,
    "scoring_func": "softmax",
    "aux_loss_alpha": 0.001,
    "seq_aux": True,
    "hidden_act": "silu",
    "attention_bias": False,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_cache": True,
}


SEED = 39
"""Of these weights no token is near a tie: the last expert chosen scores 0.004 above the first that is not."""


def random_weights(seed: int = SEED) -> dict[str, Tensor]:
    """One tensor per expert and projection, named as in the published files."""
    generator = torch.Generator().manual_seed(seed)
    hidden, small = CONFIG["hidden_size"], CONFIG["moe_intermediate_size"]

    def matrix(rows: int, columns: int) -> Tensor:
        return torch.randn(rows, columns, generator=generator) * 0.2

    def gated(width: int, name: str) -> dict[str, Tensor]:
        sizes = {"gate_proj": (width, hidden), "up_proj": (width, hidden), "down_proj": (hidden, width)}
        return {f"{name}.{part}.weight": matrix(*size) for part, size in sizes.items()}

    weights = {f"{name}.weight": matrix(VOCABULARY, hidden) * 5 for name in ("model.embed_tokens", "lm_head")}
    weights["model.norm.weight"] = torch.rand(hidden, generator=generator) + 0.5
    for i in range(CONFIG["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{layer}.{norm}.weight"] = torch.rand(hidden, generator=generator) + 0.5
        for part in "qkvo":
            weights[f"{layer}.self_attn.{part}_proj.weight"] = matrix(hidden, hidden)
        if i < CONFIG["first_k_dense_replace"]:
            weights |= gated(CONFIG["intermediate_size"], f"{layer}.mlp")
            continue
        weights[f"{layer}.mlp.gate.weight"] = matrix(CONFIG["n_routed_experts"], hidden)
        weights |= gated(small * CONFIG["n_shared_experts"], f"{layer}.mlp.shared_experts")
        for e in range(CONFIG["n_routed_experts"]):
            weights |= gated(small, f"{layer}.mlp.experts.{e}")
    return weights


def write_tokenizer(folder: Path, **written: Any) -> None:
    tiny_tokenizer().save_pretrained(folder)
    said = {"tokenizer_class": "LlamaTokenizerFast", "bos_token": END, "eos_token": END, "pad_token": END, **written}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deepseek")
    weights = random_weights()
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, held in parts.items():
        save_file({name: weights[name] for name in held}, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, held in parts.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    write_tokenizer(folder, add_bos_token=True)
    return folder


def norm(x: Tensor, weight: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + CONFIG["rms_norm_eps"]) * weight


def rotated(x: Tensor) -> Tensor:
    """Rotary positions of (heads, T, size), half against half."""
    size = x.shape[-1]
    frequency = CONFIG["rope_theta"] ** (-torch.arange(0, size, 2).float() / size)
    angle = torch.outer(torch.arange(x.shape[1]).float(), frequency).repeat(1, 2)
    turned = torch.cat([-x[..., size // 2 :], x[..., : size // 2]], dim=-1)
    return x * angle.cos() + turned * angle.sin()


def attention(x: Tensor, w: dict[str, Tensor], layer: str) -> Tensor:
    heads = CONFIG["num_attention_heads"]
    q, k, v = (
        (x @ w[f"{layer}.self_attn.{part}_proj.weight"].T).view(len(x), heads, -1).transpose(0, 1) for part in "qkv"
    )
    scores = rotated(q) @ rotated(k).transpose(1, 2) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(torch.ones(len(x), len(x)).triu(1).bool(), -torch.inf)
    mixed = (scores.softmax(-1) @ v).transpose(0, 1).reshape(len(x), -1)
    return mixed @ w[f"{layer}.self_attn.o_proj.weight"].T


def gated_mlp(x: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    inner = F.silu(x @ w[f"{name}.gate_proj.weight"].T) * (x @ w[f"{name}.up_proj.weight"].T)
    return inner @ w[f"{name}.down_proj.weight"].T


def mixture(x: Tensor, w: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """Shared experts plus the top-k routed ones, weighted by their softmax over all experts, not renormalised."""
    logits = x @ w[f"{name}.gate.weight"].T
    probabilities = logits.softmax(-1)
    result = gated_mlp(x, w, f"{name}.shared_experts")
    for token in range(len(x)):
        for e in probabilities[token].topk(CONFIG["num_experts_per_tok"]).indices.tolist():
            result[token] += probabilities[token, e] * gated_mlp(x[token : token + 1], w, f"{name}.experts.{e}")[0]
    return result, logits


def reference(ids: list[int], w: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Last hidden states (T, D) and router logits (L, T, E) of DeepSeekMoE v1, layer by layer in plain tensors."""
    x = w["model.embed_tokens.weight"][torch.tensor(ids)]
    routed = []
    for i in range(CONFIG["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        x = x + attention(norm(x, w[f"{layer}.input_layernorm.weight"]), w, layer)
        h = norm(x, w[f"{layer}.post_attention_layernorm.weight"])
        if i < CONFIG["first_k_dense_replace"]:
            x = x + gated_mlp(h, w, f"{layer}.mlp")
            continue
        added, logits = mixture(h, w, f"{layer}.mlp")
        x = x + added
        routed.append(logits)
    return norm(x, w["model.norm.weight"]), torch.stack(routed)


TEXTS = ["The court heard the case.", "a", "Space probes orbit distant planets and send pictures back to Earth. " * 3]


def test_equals_the_plain_arithmetic_of_the_original(checkpoint: Path) -> None:
    encoder = MoEEncoder.from_pretrained(checkpoint, dtype="float32")
    found = encoder.encode(TEXTS)
    assert found.router_logits.shape == (3, 3, 16)
    for row, text in enumerate(TEXTS):
        ids = encoder.tokenizer(f'This sentence : "{text}" means in one word:"')["input_ids"]
        states, logits = reference(ids, random_weights())
        ranked = logits.sort(-1, descending=True).values
        chosen = CONFIG["num_experts_per_tok"]
        # Another processor sums in another order; a near-tie would then choose another expert, and both be right.
        assert (ranked[..., chosen - 1] - ranked[..., chosen]).min() > 1e-3
        np.testing.assert_allclose(found.hidden_states[row], states[-1], atol=1e-5)
        np.testing.assert_allclose(found.router_logits[row], logits[:, -1], atol=1e-5)


def test_mean_pooling_equals_the_mean_of_the_plain_reference(checkpoint: Path) -> None:
    encoder = MoEEncoder.from_pretrained(checkpoint, dtype="float32", pooling="mean", prompt="none")
    found = encoder.encode(TEXTS[:1])
    states, logits = reference(encoder.tokenizer(TEXTS[0])["input_ids"], random_weights())
    np.testing.assert_allclose(found.hidden_states[0], states.mean(0), atol=1e-5)
    np.testing.assert_allclose(found.routing_weights[0], logits.softmax(-1).mean(1), atol=1e-5)


def test_packs_and_quantizes(checkpoint: Path) -> None:
    assert MoEEncoder.from_pretrained(checkpoint, dtype="float32").packed
    model, _ = load_model(EncoderSettings(str(checkpoint), quantize="nf4"))
    assert model.layers[1].mlp.experts.gate_up_proj.dtype == torch.uint8
    assert model.layers[1].mlp.gate.weight.dtype == model.dtype, "whatever this processor computes in"


def test_no_code_of_the_checkpoint_is_needed(checkpoint: Path) -> None:
    assert not list(checkpoint.glob("*.py"))
    assert type(load_config(checkpoint)).__module__ == "moee_topics.encode.models.deepseek"


def test_bos_comes_from_the_tokenizer_files(checkpoint: Path, tmp_path: Path) -> None:
    plain = tiny_tokenizer()("hello there world")["input_ids"]
    assert load_tokenizer(checkpoint)("hello there world")["input_ids"] == [0, *plain]
    write_tokenizer(tmp_path, add_bos_token=False)
    assert load_tokenizer(tmp_path)("hello there world")["input_ids"] == plain
    write_tokenizer(tmp_path)
    assert load_tokenizer(tmp_path)("hello there world")["input_ids"] == [0, *plain]


def test_a_variant_that_was_never_published_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "norm_topk_prob": True}))
    with pytest.raises(ModelError, match="norm_topk_prob"):
        load_config(tmp_path)
