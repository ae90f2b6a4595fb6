"""The singular vectors of an unembedding: of the checkpoint's head, or of the input embeddings where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import save_checkpoint, tiny_olmoe_config

from moee_topics.embed import Embedder
from moee_topics.encode import EncoderSettings, EncoderSource
from moee_topics.encode.models import load_model, unembedding_directions
from moee_topics.errors import InputError
from moee_topics.fuse import Fusion


def plain_directions(weight: torch.Tensor) -> np.ndarray:
    return np.asarray(torch.linalg.svd(weight.double(), full_matrices=False)[2].numpy())


def same_up_to_sign(first: np.ndarray, second: np.ndarray) -> bool:
    return bool(np.allclose(np.abs((first * second).sum(axis=1)), 1, atol=1e-4))


def test_the_head_of_the_checkpoint_is_read_from_its_shards(tiny_olmoe: Path) -> None:
    model, _ = load_model(EncoderSettings(str(tiny_olmoe)))
    head = next(
        weights["lm_head.weight"]
        for weights in map(load_file, tiny_olmoe.glob("*.safetensors"))
        if "lm_head.weight" in weights
    )
    assert same_up_to_sign(unembedding_directions(model, tiny_olmoe), plain_directions(head))


def test_input_embeddings_serve_where_the_checkpoint_has_no_head(tmp_path: Path) -> None:
    config = tiny_olmoe_config()
    config.tie_word_embeddings = True
    folder = save_checkpoint(config, tmp_path / "tied")
    model, _ = load_model(EncoderSettings(str(folder), dtype="float32"))
    directions = unembedding_directions(model, folder)
    assert same_up_to_sign(directions, plain_directions(model.get_input_embeddings().weight))


def test_a_fusion_of_a_named_model_filters_by_it_and_others_say_why_not(tiny_olmoe: Path) -> None:
    texts = [f"orbit moon {i}" for i in range(30)]
    embedder = Embedder(EncoderSource(EncoderSettings(str(tiny_olmoe), prompt="none")))
    fusion = Fusion("hidden_states", standardize="none", filters=("embed_filter",))
    vectors = fusion.fit(embedder.blocks(texts), texts, embedder).transform(embedder.embed(texts))
    assert vectors.shape == (30, embedder.encoder.spec.hidden_size // 2)
    with pytest.raises(InputError, match="given by its name or path"):
        Embedder.of(embedder.encoder).unembedding()
