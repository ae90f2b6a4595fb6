"""The states between the layers: those that transformers reports, and a pass that ends where nothing more is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import documents, encoder_of
from model_families import DECODERS, every
from tiny_families import LAYERS, tiny_config, tiny_model
from tiny_models import tiny_tokenizer
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from moee_topics.encode.decoder_layers import check_layers, find_layers, find_sources
from moee_topics.encode.models import depth_of
from moee_topics.encode.models.cards import card_of
from moee_topics.encode.views import View
from moee_topics.errors import ModelError

LAST = {"mean_without_prompt": lambda states: states.mean(0), "last_token": lambda states: states[-1]}


def test_states_between_layers_are_those_that_transformers_reports(tiny_olmoe: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_olmoe, dtype=torch.float32).eval()
    encoder = encoder_of(tiny_olmoe, prompt="none", layers=[0, 1, "last"], pooling=[*LAST])
    found = encoder.encode_entries(documents(4), encoder.spec.reading.entries)
    for row, text in enumerate(documents(4)):
        ids = tiny_tokenizer()(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            plain = model(ids, output_hidden_states=True).hidden_states
        for name, pooled in LAST.items():
            for layer, states in zip(("0", "1", "last"), plain, strict=True):
                vector = found[View("hidden_states", layer, name)].hidden_states[row]
                np.testing.assert_allclose(vector, pooled(states[0]), atol=1e-5)


def test_a_pass_ends_after_the_last_layer_that_is_needed(tiny_olmoe: Path) -> None:
    encoder = encoder_of(tiny_olmoe, layers=1, routing="none", pooling="mean")
    ran: list[int] = []
    for number, layer in enumerate(encoder.layers, start=1):
        layer.register_forward_hook(lambda *_, number=number: ran.append(number))
    early = encoder.encode(documents(3))
    assert set(ran) == {1} and early.router_logits.shape == (3, 0, 0)
    whole = encoder_of(tiny_olmoe, layers=[1, "last"], pooling="mean").encode(documents(3))
    assert np.array_equal(early.hidden_states, whole.hidden_states) and whole.router_logits.shape == (3, 2, 8)


@pytest.mark.parametrize("model_type", every(DECODERS))
def test_every_family_says_which_its_layers_are_or_that_they_cannot_be_read(model_type: str) -> None:
    model = tiny_model(tiny_config(model_type))
    try:
        check_layers(model, find_layers(model), depth_of(model.config), model_type)
    except ModelError as error:
        assert "encoder.layers=last" in str(error)
        assert model_type in UNREADABLE
    else:
        assert model_type not in UNREADABLE


UNREADABLE = {"deepseek_v4", "glm5_next_text", "hy_v4", "qwen4_exp_text"}
"""Families that pass on several streams of states between their layers."""


def test_layers_are_counted_and_not_their_attentions() -> None:
    config = tiny_config("longcat_flash")
    assert (depth_of(config), config.num_hidden_layers) == (2, 4)
    assert card_of("tiny", config).dense_layers == 0


@pytest.mark.parametrize("pooling", ["mean", "last_token"])
def test_values_and_attention_are_the_mean_over_their_layers(tiny_olmoe: Path, pooling: str) -> None:
    found = {}
    for states in ("values", "attention_outputs"):
        encoder = encoder_of(tiny_olmoe, prompt="none", states=states, layers=["1-2", 1, 2], pooling=pooling)
        found[states] = encoder.encode_entries(documents(4), encoder.spec.reading.entries)
        whole, first, second = (
            found[states][View(states, layer, pooling)].hidden_states for layer in ("1-2", "1", "2")
        )
        np.testing.assert_allclose(whole, (first + second) / 2, atol=1e-6)
        assert not np.allclose(first, second, atol=1e-3)
    # The first layer's values are a product of what goes into it, after its norm.
    model = AutoModelForCausalLM.from_pretrained(tiny_olmoe, dtype=torch.float32).eval()
    ids, layer = tiny_tokenizer()(documents(4)[0], return_tensors="pt")["input_ids"], model.model.layers[0]
    with torch.no_grad():
        normed = layer.input_layernorm(model.model.embed_tokens(ids))
        values = layer.self_attn.v_proj(normed)[0]
    expected = values.mean(0) if pooling == "mean" else values[-1]
    np.testing.assert_allclose(found["values"][View("values", "1", pooling)].hidden_states[0], expected, atol=1e-5)


def test_values_where_no_module_makes_them_are_refused_by_name() -> None:
    model = tiny_model(tiny_config("deepseek_v3"))
    with pytest.raises(
        ModelError, match=r"values of each layer of 'some/model' \(deepseek_v3\) cannot be read: 0 of 4"
    ):
        check_layers(model, find_sources(model, "values"), LAYERS, "some/model", "values")


def test_a_model_that_declares_no_layers_is_refused_by_name() -> None:
    class Plain(nn.Module):
        device, config = (
            torch.device("cpu"),
            type("Config", (), {"model_type": "plain", "_attn_implementation": "sdpa"}),
        )

        def forward(self, input_ids: Tensor, **_: object) -> object:
            return type("Output", (), {"last_hidden_state": torch.zeros(1, input_ids.shape[1], 4)})

    with pytest.raises(ModelError, match=r"hidden states of each layer of 'some/model' \(plain\).*: 0 of 3"):
        check_layers(Plain(), find_layers(Plain()), 3, "some/model")
