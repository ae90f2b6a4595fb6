"""Random mixture-of-experts checkpoints of a few thousand parameters in hub layout, and their tokenizer."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, OlmoeConfig, PretrainedConfig, PreTrainedTokenizerFast, Qwen2MoeConfig

END = "<|endoftext|>"
SENTENCES = [
    "The quick brown fox jumps over the lazy dog while the farmer sleeps.",
    'This sentence : "graphics cards render many triangles" means in one word:"',
    "In one word, describe the tone of the following sentence: the court heard the case on Monday.",
    "Space probes orbit distant planets and send pictures back to Earth.",
    "Hockey players skate, pass and score; the goalie saves the puck.",
]
VOCABULARY = 384


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 384 tokens that knows every byte and puts nothing in front of a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END, model_max_length=512)


def tiny_olmoe_config() -> OlmoeConfig:
    """2 layers x 8 experts, top-2, hidden 64: every dimension a multiple of 64, as 4-bit kernels want."""
    return OlmoeConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_experts=8,
        num_experts_per_tok=2,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=0,
        initializer_range=0.2,
    )


def tiny_qwen2_moe_config() -> Qwen2MoeConfig:
    """One dense and two sparse layers with a shared expert."""
    return Qwen2MoeConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        moe_intermediate_size=64,
        shared_expert_intermediate_size=128,
        num_hidden_layers=3,
        mlp_only_layers=[0],
        num_attention_heads=4,
        num_key_value_heads=4,
        num_experts=8,
        num_experts_per_tok=2,
        max_position_embeddings=512,
        initializer_range=0.2,
    )


def save_checkpoint(config: PretrainedConfig, folder: Path, seed: int = 0, shard_size: str = "200KB") -> Path:
    """Write a random causal model and the tiny tokenizer as the hub lays them out: per-expert keys, sharded."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.data.uniform_(0.5, 1.5)
    model.save_pretrained(folder, max_shard_size=shard_size)
    tiny_tokenizer().save_pretrained(folder)
    return folder
