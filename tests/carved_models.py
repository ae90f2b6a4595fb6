"""Tiny dense decoders to carve, token rows, the states of a model, and a mixture that is about to learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tiny_models import VOCABULARY, tiny_tokenizer
from transformers import LlamaConfig, LlamaModel, Qwen2Config, Qwen2Model, Qwen3Config, Qwen3Model

from moee_topics.encode.mixtures import carving
from moee_topics.encode.mixtures.distillation import Trainer
from moee_topics.encode.mixtures.passages import Texts
from moee_topics.encode.mixtures.settings import CarveSettings, DistilSettings

SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "pad_token_id": 0,
}
SETTINGS = CarveSettings(groups=6, group_size=12, active=3)
KINDS = {"llama": (LlamaConfig, LlamaModel), "qwen2": (Qwen2Config, Qwen2Model), "qwen3": (Qwen3Config, Qwen3Model)}


def dense(kind: str = "llama", **changes: object) -> torch.nn.Module:
    config, model = KINDS[kind]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = model(config(**SHAPE | changes)).eval().requires_grad_(False)
        for parameter in made.parameters():
            if parameter.dim() == 1:  # norms of 1 and biases of 0 would hide that they are carried over
                torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return made


def save_donor(folder: Path, **changes: object) -> Path:
    """A tiny dense decoder in hub layout, without head."""
    dense(**changes).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def rows(count: int = 24, length: int = 32) -> list[list[int]]:
    return np.random.default_rng(0).integers(1, VOCABULARY, (count, length)).tolist()


def states(model: torch.nn.Module, row: list[int]) -> torch.Tensor:
    return model(input_ids=torch.tensor([row]), use_cache=False).last_hidden_state


TRAINING = DistilSettings(
    tokens=6 * 256,
    batch=256,
    lengths=(16, 8),
    pair_lengths=(8, 4),
    layers=(0,),
    warm_up=1,
    rate=1e-3,
    checkpoint_seconds=0.0,
)


def texts(count: int = 40) -> Texts:
    rng = np.random.default_rng(1)
    sizes = rng.integers(10, 40, count)
    return Texts(rng.integers(1, VOCABULARY, int(sizes.sum())), np.cumsum(sizes))


def trainer(
    folder: Path, settings: DistilSettings = TRAINING, given: Texts | None = None, shape: CarveSettings = SETTINGS
) -> Trainer:
    donor = dense()
    model, _ = carving.carve(donor, rows(), replace(shape, strength=0.3))
    return Trainer(model.requires_grad_(True), donor, given or texts(), folder, settings)
