"""The singular vectors of an unembedding: of the checkpoint's head, or of the input embeddings where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import save_checkpoint, tiny_olmoe_config

from moee_topics.embed import Embedder
from moee_topics.encode import EncoderSettings, EncoderSource
from moee_topics.encode.models import load_model, unembedding_directions
from moee_topics.encode.models.unembedding import head_name
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


@pytest.mark.parametrize("shards", [1, 2])
def test_the_head_is_found_by_the_name_that_the_model_s_class_gives_it(
    tiny_olmoe: Path, tmp_path: Path, shards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = load_model(EncoderSettings(str(tiny_olmoe)))
    assert head_name(model.config) == "lm_head.weight"
    weights = {name: tensor for path in tiny_olmoe.glob("*.safetensors") for name, tensor in load_file(path).items()}
    head = weights.pop("lm_head.weight")
    renamed = {**weights, "language_model.embed_out.weight": head}
    monkeypatch.setattr("moee_topics.encode.models.unembedding.head_name", lambda _: "embed_out.weight")
    names = [list(renamed)[part::shards] for part in range(shards)]
    files = [f"model-{part}.safetensors" if shards > 1 else "model.safetensors" for part in range(shards)]
    for file, of_file in zip(files, names, strict=True):
        save_file({name: renamed[name] for name in of_file}, tmp_path / file)
    if shards > 1:
        index = {name: file for file, of_file in zip(files, names, strict=True) for name in of_file}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert same_up_to_sign(unembedding_directions(model, tmp_path), plain_directions(head))


def test_a_checkpoint_without_the_head_that_its_model_has_is_told_by_name(tiny_olmoe: Path, tmp_path: Path) -> None:
    model, _ = load_model(EncoderSettings(str(tiny_olmoe), dtype="float32"))
    save_file({"norm.weight": torch.ones(4)}, tmp_path / "model.safetensors")
    with pytest.warns(UserWarning, match=r"holds no head \(lm_head.weight\).*embed_filter takes these"):
        directions = unembedding_directions(model, tmp_path)
    assert same_up_to_sign(directions, plain_directions(model.get_input_embeddings().weight))


def test_a_fusion_of_a_named_model_filters_by_it_and_others_say_why_not(tiny_olmoe: Path) -> None:
    texts = [f"orbit moon {i}" for i in range(30)]
    embedder = Embedder(EncoderSource(EncoderSettings(str(tiny_olmoe), prompt="none")))
    fusion = Fusion("hidden_states", standardize="none", filters=("embed_filter",))
    vectors = fusion.fit(embedder.blocks(texts), texts, embedder).transform(embedder.embed(texts))
    assert vectors.shape == (30, embedder.encoder.spec.hidden_size // 2)
    with pytest.raises(InputError, match="given by its name or path"):
        Embedder.of(embedder.encoder).unembedding()
