"""The families of mixtures: each gives vectors that do not depend on neighbours, or says why it is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from model_families import DECODERS, POPULAR, every
from tiny_families import EXPERTS, LAYERS, router_model_types, tiny_config, tiny_model
from tiny_models import save_checkpoint, tiny_tokenizer
from transformers import AutoConfig

from moee_topics.encode.encoder import EncoderSpec, MoEEncoder
from moee_topics.encode.layout import measured_sizes
from moee_topics.encode.models import supported_families
from moee_topics.encode.models.attention import register
from moee_topics.encode.models.families import FAMILIES, UNSUPPORTED
from moee_topics.encode.models.loading import loader_of
from moee_topics.errors import ModelError

WIDTHS = {"doge": 16, "longcat_flash": EXPERTS + 2, "zaya": EXPERTS + 1}
TEXTS = [
    "The court heard the case.",
    "a",
    "Space probes orbit distant planets and send pictures. " * 3,
    "puck and goalie",
]


def encoder_of(model_type: str) -> MoEEncoder:
    register()
    model = tiny_model(tiny_config(model_type))
    layers, experts, hidden_size = measured_sizes(model)
    spec = EncoderSpec(
        model=model_type,
        revision="",
        quantize="none",
        dtype="float32",
        prompt="<{text}>",
        pooling="last_token",
        max_tokens=128,
        long_documents="truncate",
        layers=layers,
        experts=experts,
        hidden_size=hidden_size,
    )
    return MoEEncoder(model, tiny_tokenizer(), spec)


def test_at_least_fifty_families_are_supported_and_all_that_people_use() -> None:
    names = {family.model_type for family in supported_families()}
    assert len(names) >= 50
    assert set(POPULAR) | {"deepseek"} <= names


def test_every_type_of_the_library_that_has_routers_is_supported_or_says_why_not() -> None:
    for model_type in router_model_types():
        text = AutoConfig.for_model(model_type).get_text_config().model_type
        assert model_type in UNSUPPORTED or text in FAMILIES, model_type


@pytest.mark.parametrize("model_type", every(DECODERS))
def test_a_family_gives_vectors_that_do_not_depend_on_neighbours(model_type: str) -> None:
    encoder = encoder_of(model_type)
    found = encoder.encode(TEXTS)
    assert 1 <= encoder.spec.layers <= 2 * LAYERS
    assert found.router_logits.shape == (4, encoder.spec.layers, WIDTHS.get(model_type, EXPERTS))
    assert found.router_logits.std() > 0 and np.isfinite(found.hidden_states).all()
    scale = np.abs(found.hidden_states).max()
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(found.hidden_states[row], encoder.encode(text).hidden_states[0], atol=1e-4 * scale)
    listed = FAMILIES[model_type].layout
    assert encoder.layout == ("padded" if model_type == "phimoe" else listed)


def test_gemma4_stores_logarithms_whose_softmax_are_the_probabilities_it_routes_by() -> None:
    encoder = encoder_of("gemma4_text")
    seen = []
    encoder.routers[0].module.register_forward_hook(lambda _module, _inputs, output: seen.append(output[0]))
    found = encoder.encode("a text")
    last = len(tiny_tokenizer()("<a text>")["input_ids"]) - 1
    np.testing.assert_allclose(found.routing_weights[0, 0], seen[0].view(-1, EXPERTS)[last], atol=1e-5)


@pytest.mark.parametrize("model_type", sorted(UNSUPPORTED))
def test_an_unsupported_family_is_refused_with_the_reason(model_type: str) -> None:
    config = AutoConfig.for_model("olmoe")
    config.model_type = model_type
    with pytest.raises(ModelError, match=UNSUPPORTED[model_type][:20]):
        loader_of(config)


@pytest.mark.parametrize("model_type", ["mixtral", *(pytest.param(n, marks=pytest.mark.slow) for n in POPULAR[6:])])
def test_a_saved_checkpoint_loads_as_the_model_that_was_saved(model_type: str, tmp_path: Path) -> None:
    if model_type == "llama4_text":
        pytest.skip("has no causal model of its own in transformers; it is loaded as a part of llama4")
    folder = save_checkpoint(tiny_config(model_type), tmp_path / model_type, shard_size="5GB")
    found = MoEEncoder.from_pretrained(folder, dtype="float32", max_tokens=128).encode(TEXTS)
    assert found.router_logits.shape[0] == 4 and np.isfinite(found.hidden_states).all()


def test_of_a_model_of_several_parts_the_text_decoder_is_taken(tmp_path: Path) -> None:
    text = tiny_config("qwen3_vl_moe_text").to_dict()
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 64}
    vision |= {"deepstack_visual_indexes": [0], "num_position_embeddings": 16}
    config = AutoConfig.for_model("qwen3_vl_moe", text_config=text, vision_config=vision)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        whole = loader_of(config).from_config(config, dtype=torch.float32)
    whole.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    encoder = MoEEncoder.from_pretrained(tmp_path, dtype="float32")
    assert encoder.model.config.model_type == "qwen3_vl_moe_text"
    assert encoder.encode(TEXTS).router_logits.shape == (4, LAYERS, EXPERTS)
