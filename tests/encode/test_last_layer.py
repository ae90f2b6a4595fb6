"""The last layer for last tokens alone gives what the whole one gives, where only last tokens are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import alone, assert_close, documents, encoder_of
from torch.utils.flop_counter import FlopCounterMode

from moee_topics.encode import MoEEncoder
from moee_topics.encode.batching import Pack
from moee_topics.encode.decoder_layers import find_layers
from moee_topics.encode.last_layer import can_be_shortened, for_last_tokens, reads_last_tokens
from moee_topics.encode.layout import last_states
from moee_topics.encode.models import MULTIPLES
from moee_topics.encode.views import View

INSTRUCTION = "In one word, describe the tone of the following sentence: the court heard the case - {text} :"


def last_token_encoder(folder: Path, **options: object) -> MoEEncoder:
    encoder = encoder_of(folder, **{"pooling": "last_token", "prompt": "none", **options})
    assert encoder.shortens
    return encoder


def flops(encoder: MoEEncoder, texts: list[str]) -> int:
    with FlopCounterMode(display=False) as counter:
        encoder.encode(texts)
    return counter.get_total_flops()


@pytest.mark.parametrize("prompt", ["none", INSTRUCTION], ids=["whole", "behind a prefix"])
@pytest.mark.parametrize("fixture", ["tiny_olmoe", "tiny_qwen2_moe"])
def test_vectors_and_routing_are_those_of_the_whole_layer(
    fixture: str, prompt: str, request: pytest.FixtureRequest
) -> None:
    encoder = last_token_encoder(request.getfixturevalue(fixture), prompt=prompt)
    assert bool(encoder.beginnings) == (prompt == INSTRUCTION)
    short, cost = encoder.encode(documents()), flops(encoder, documents())
    assert_close(short, alone(encoder, documents()), 1e-6)
    encoder.shortens = False
    assert_close(short, encoder.encode(documents()), 1e-6)
    assert cost < 0.8 * flops(encoder, documents())


@pytest.mark.parametrize(
    "options",
    [{"max_tokens": 16, "long_documents": "chunk"}, {"reroute": "all"}, {"layers": [1, "last"]}, {"dtype": "bfloat16"}],
    ids=str,
)
def test_chunks_rerouting_other_layers_and_few_bits_stay_what_they_are(
    tiny_olmoe: Path, options: dict[str, object]
) -> None:
    encoder = last_token_encoder(tiny_olmoe, **options)
    entries = encoder.spec.reading.entries
    short = encoder.encode_entries(documents(), entries)
    encoder.shortens = False
    whole = encoder.encode_entries(documents(), entries)
    for entry in entries:
        assert_close(short[entry], whole[entry], 0.1 if "dtype" in options else 1e-6)


def test_documents_of_one_token_are_all_read(tiny_olmoe: Path) -> None:
    encoder, texts = last_token_encoder(tiny_olmoe), ["a", "court", "the space probes", "puck"]
    short = encoder.encode(texts)
    encoder.shortens = False
    assert_close(short, encoder.encode(texts), 1e-6)
    assert len(np.unique(short.hidden_states, axis=0)) == len(texts)


def test_the_layer_is_whole_again_after_a_pass(tiny_olmoe: Path) -> None:
    encoder = last_token_encoder(tiny_olmoe)
    modules = [*find_layers(encoder.model)[-1].modules()]
    before = [vars(module).get("forward") for module in modules]
    encoder.encode(documents(3))
    assert [vars(module).get("forward") for module in modules] == before
    wrapped = modules[0].forward
    modules[0].forward = wrapped
    pack = Pack((0,), ((5, 6, 7),))
    with pytest.raises(KeyError), for_last_tokens(modules[0], torch.tensor([2]), MULTIPLES):
        assert len(last_states(encoder.model, Pack((0, 1), ((5,) * 60, (6,) * 60)))) == 64
        raise KeyError
    assert modules[0].forward is wrapped, "what was put around a layer stays"
    assert last_states(encoder.model, pack).shape == (64, 64)


@pytest.mark.parametrize(
    ("options", "shortens"),
    [
        ({"pooling": "mean"}, False),
        ({"pooling": ["last_token", "mean"]}, False),
        ({"pooling": "last_token", "routing": "frequency"}, False),
        ({"pooling": "last_token", "layers": [1, "last"]}, True),
        ({"pooling": "last_token", "routing": "none"}, True),
    ],
)
def test_it_depends_on_what_is_read(tiny_olmoe: Path, options: dict[str, object], shortens: bool) -> None:
    assert encoder_of(tiny_olmoe, **options).shortens is shortens


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        (["hidden_states@last/last_token"], True),
        (["hidden_states@last/last_token", "attention_outputs@1/mean"], True),
        (["hidden_states@last/last_token", "attention_outputs@1-2/mean"], False),
        (["hidden_states@last/last_token", "values@2/mean"], False),
        (["hidden_states@last/last_token", "hidden_states@2/last_token"], False),
        (["hidden_states@last/last_token", "router@all/mean"], False),
        (["hidden_states@1/last_token"], False),  # the pass ends before the last layer
    ],
)
def test_what_is_read_of_all_tokens_of_the_last_layer_needs_the_whole_one(views: list[str], expected: bool) -> None:
    assert reads_last_tokens([View.named(name) for name in views], depth=2) is expected


def test_views_of_other_tokens_are_those_of_an_encoder_that_reads_them_alone(tiny_olmoe: Path) -> None:
    encoder, mean = last_token_encoder(tiny_olmoe), View("hidden_states", "last", "mean")
    expected = encoder_of(tiny_olmoe, pooling="mean", prompt="none").encode(documents(5))
    assert_close(encoder.encode_entries(documents(5), [mean])[mean], expected, 0.0)


def test_a_layer_that_does_something_else_is_left_whole(tiny_olmoe: Path) -> None:
    model = last_token_encoder(tiny_olmoe).model
    layers = find_layers(model)
    assert can_be_shortened(model, layers, 64, MULTIPLES)
    assert not can_be_shortened(model, layers[:1], 64, MULTIPLES), "a later layer needs all tokens"
    usual = type(layers[-1]).forward

    class Scaled(type(layers[-1])):  # type: ignore[misc]
        def forward(self, hidden_states: torch.Tensor, **given: object) -> torch.Tensor:
            return hidden_states + 0.5 * (usual(self, hidden_states, **given) - hidden_states)

    layers[-1].__class__ = Scaled
    assert not can_be_shortened(model, layers, 64, MULTIPLES)
