"""Random OLMoE checkpoints in the layout of the hub, written shard by shard, and texts of known length for them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import OlmoeConfig, PreTrainedTokenizerFast

LENGTHS = Path(__file__).with_name("lengths_20newsgroups.json")
END = "<|endoftext|>"
WORDS = 2048
"""First words of the vocabulary, from which the benchmark draws its texts."""
PROMPT_WORDS = ["This", "sentence", ":", '"', "means", "in", "one", "word"]


@dataclass(frozen=True)
class Shape:
    """The dimensions of an OLMoE; the defaults are OLMoE-1B-7B-0924's."""

    layers: int = 16
    hidden: int = 2048
    intermediate: int = 1024
    experts: int = 64
    top_k: int = 8
    heads: int = 16
    vocabulary: int = 50304

    @property
    def parameters(self) -> int:
        """Weights of the base model, the language-model head left out."""
        attention = 4 * self.hidden**2 + 4 * self.hidden
        experts = 3 * self.experts * self.hidden * self.intermediate
        return (
            self.vocabulary * self.hidden
            + self.hidden
            + self.layers * (attention + experts + self.experts * self.hidden)
        )

    def flops(self, lengths: list[int]) -> float:
        """Floating-point operations that documents of these lengths need: matrix products and causal attention."""
        per_token = 2 * (4 * self.hidden**2 + 3 * self.top_k * self.hidden * self.intermediate)
        per_token += 2 * self.experts * self.hidden
        attention = sum(2 * length * (length + 1) * self.hidden for length in lengths)
        return float(self.layers * (per_token * sum(lengths) + attention))

    def config(self) -> OlmoeConfig:
        return OlmoeConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.hidden,
            intermediate_size=self.intermediate,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            num_experts=self.experts,
            num_experts_per_tok=self.top_k,
            max_position_embeddings=4096,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=0,
            architectures=["OlmoeForCausalLM"],
            dtype="bfloat16",
        )


def write_checkpoint(folder: Path, shape: Shape, seed: int = 0) -> Path:
    """Weights as the hub holds them (one tensor per expert and projection, a shard per layer) and a tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    weight_map: dict[str, str] = {}
    total = 0
    for number in range(shape.layers + 1):
        tensors = layer_tensors(shape, number, generator) if number < shape.layers else ends(shape, generator)
        name = f"model-{number + 1:05d}-of-{shape.layers + 1:05d}.safetensors"
        save_file(tensors, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
        total += sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    shape.config().save_pretrained(folder)
    word_tokenizer(shape.vocabulary).save_pretrained(folder)
    return folder


def _random(generator: torch.Generator, *size: int) -> Tensor:
    return torch.randn(*size, generator=generator).mul_(0.02).to(torch.bfloat16)


def layer_tensors(shape: Shape, layer: int, generator: torch.Generator) -> dict[str, Tensor]:
    prefix, ones = f"model.layers.{layer}", torch.ones(shape.hidden, dtype=torch.bfloat16)
    tensors = {f"{prefix}.mlp.gate.weight": _random(generator, shape.experts, shape.hidden)}
    for name in "qkvo":
        tensors[f"{prefix}.self_attn.{name}_proj.weight"] = _random(generator, shape.hidden, shape.hidden)
    for name in ("self_attn.q_norm", "self_attn.k_norm", "input_layernorm", "post_attention_layernorm"):
        tensors[f"{prefix}.{name}.weight"] = ones.clone()
    for expert in range(shape.experts):
        path = f"{prefix}.mlp.experts.{expert}"
        tensors[f"{path}.gate_proj.weight"] = _random(generator, shape.intermediate, shape.hidden)
        tensors[f"{path}.up_proj.weight"] = _random(generator, shape.intermediate, shape.hidden)
        tensors[f"{path}.down_proj.weight"] = _random(generator, shape.hidden, shape.intermediate)
    return tensors


def ends(shape: Shape, generator: torch.Generator) -> dict[str, Tensor]:
    return {
        "model.embed_tokens.weight": _random(generator, shape.vocabulary, shape.hidden),
        "model.norm.weight": torch.ones(shape.hidden, dtype=torch.bfloat16),
        "lm_head.weight": _random(generator, shape.vocabulary, shape.hidden),
    }


def word_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """One token per word: the words of the prompt, and w0, w1, ... to fill the vocabulary."""
    words = [END, *PROMPT_WORDS]
    words += [f"w{i}" for i in range(vocabulary - len(words))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=END))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END, model_max_length=512)


def document_lengths(documents: int, longest: int, seed: int = 0) -> list[int]:
    """Words of each document: evenly spaced quantiles of 20 Newsgroups, cut at ``longest``, in shuffled order."""
    quantiles = json.loads(LENGTHS.read_text(encoding="utf-8"))["quantiles"]
    places = (np.arange(documents) + 0.5) / documents
    lengths = np.interp(places, np.linspace(0, 1, len(quantiles)), quantiles).round().clip(0, longest)
    return [int(length) for length in np.random.default_rng(seed).permutation(lengths)]


def texts_of(lengths: list[int], vocabulary: int, seed: int = 0) -> list[str]:
    """Random words, as many as each length says."""
    words = np.random.default_rng(seed).integers(0, vocabulary - 1 - len(PROMPT_WORDS), sum(lengths))
    ends = np.cumsum([0, *lengths])
    return [" ".join(f"w{word}" for word in words[start:end]) for start, end in pairwise(ends)]


def single_words(count: int, vocabulary: int, seed: int = 0) -> list[str]:
    """Random words, no two alike: our encoder would read the same one once."""
    numbers = np.random.default_rng(seed).permutation(vocabulary - 1 - len(PROMPT_WORDS))[:count]
    return [f"w{number}" for number in numbers]
