"""What a model is, from its configuration alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_families import DECODERS, every
from tiny_families import tiny_config, tiny_model
from transformers import AutoConfig

from moee_topics.encode.layout import measured_sizes
from moee_topics.encode.models import describe
from moee_topics.encode.models.cards import card_of
from moee_topics.encode.models.families import FAMILIES


@pytest.mark.parametrize("model_type", every(DECODERS))
def test_a_card_says_what_the_model_is(model_type: str) -> None:
    config = tiny_config(model_type)
    card, model = card_of(model_type, config), tiny_model(config)
    layers, experts, hidden_size = measured_sizes(model)
    assert (card.layers, card.experts, card.hidden_size) == (layers, experts, hidden_size)
    assert card.supported and card.router == FAMILIES[model_type].router
    assert card.parameters == sum(weight.numel() for weight in model.parameters())
    all_active = card.experts_per_token == experts or model_type == "doge"  # doge's experts are rows of an embedding
    assert (card.active_parameters == card.parameters) == all_active
    assert (set(card.memory) == {"none"}) == ("16-bit only" in card.note)


def test_the_published_sizes_come_out_of_the_configuration(tmp_path: Path) -> None:
    config = AutoConfig.for_model(
        "olmoe", hidden_size=2048, intermediate_size=1024, num_experts=64, num_experts_per_tok=8, vocab_size=50304
    )
    config.save_pretrained(tmp_path)
    card = describe(tmp_path)
    assert (card.layers, card.experts, card.experts_per_token, card.hidden_size) == (16, 64, 8, 2048)
    head = 2048 * 50304
    assert card.parameters + head == pytest.approx(6.92e9, rel=0.01)
    assert card.active_parameters + head == pytest.approx(1.28e9, rel=0.01)
    assert card.memory["nf4"] < 4.0e9 < card.memory["int8"] < card.memory["none"]
    assert card.memory["none"] == pytest.approx(2 * card.parameters)


def test_a_model_without_routers_has_a_card_that_says_so(tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    AutoConfig.for_model("llama", **sizes).save_pretrained(tmp_path)
    card = describe(tmp_path)
    assert (card.supported, card.layers, card.experts, card.note) == (False, 0, 0, "no routers")
