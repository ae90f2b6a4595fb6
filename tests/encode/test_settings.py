"""What an encoder can be told: said once, and understood alike wherever an encoder is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from encoders import encoder_of

from moee_topics.embed import Embedder
from moee_topics.encode.encoder import MoEEncoder
from moee_topics.encode.prompts import PROMPTS, get_prompt
from moee_topics.encode.settings import KEY_OPTIONS, EncoderOptions, EncoderSettings, options_of
from moee_topics.errors import InputError
from moee_topics.fuse import RAW
from moee_topics.mteb import load_mteb_encoder
from moee_topics.recipe import parse_recipe
from moee_topics.topics.backend import MoEEBackend

OTHER_VALUES: Mapping[str, Any] = {
    "revision": "v2",
    "quantize": "int8",
    "dtype": "float16",
    "device": "cpu",
    "prompt": "style",
    "prompts": ("style", "tone"),
    "combine_prompts": "concat",
    "pooling": ("mean", "weighted_mean"),
    "layers": (3, "last"),
    "routing": "frequency",
    "states": "values",
    "reroute": (2, "3-5"),
    "max_tokens": 99,
    "long_documents": "chunk",
    "tokens_per_batch": 1234,
}
"""A value of each option that is not its default; a new option needs one, and is then tried wherever options go in."""


class Seen(Exception):
    """Carries the settings that arrived where the model would be loaded."""


def arrived(monkeypatch: pytest.MonkeyPatch, make: Any) -> EncoderSettings:
    def stop(settings: EncoderSettings, **_: Any) -> None:
        raise Seen(settings)

    monkeypatch.setattr(MoEEncoder, "from_settings", stop)
    with pytest.raises(Seen) as seen:
        make()
    return seen.value.args[0]  # type: ignore[no-any-return]


def test_every_option_has_a_value_that_is_tried_and_a_type_for_editors() -> None:
    names = {field.name for field in fields(EncoderSettings)} - {"model"}
    assert OTHER_VALUES.keys() == names == EncoderOptions.__annotations__.keys()
    assert not [name for name, value in OTHER_VALUES.items() if getattr(EncoderSettings("some/model"), name) == value]


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_an_option_arrives_from_wherever_an_encoder_is_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    option, model = {name: OTHER_VALUES[name]}, "some/model"
    expected = EncoderSettings(model, **option)
    data = {"corpus": {"source": "docstrings"}, "encoder": {"model": model, **option}}
    assert parse_recipe(data).encoder == expected
    assert arrived(monkeypatch, lambda: MoEEncoder.from_pretrained(model, **option)) == expected
    assert arrived(monkeypatch, lambda: load_mteb_encoder(model, **option)) == expected
    assert arrived(monkeypatch, lambda: MoEEBackend(model, **option).embed("a word")) == expected


def test_types_of_torch_are_taken_by_their_names() -> None:
    typed = EncoderSettings.checked("some/model", dtype=torch.bfloat16, device=torch.device("cpu"))
    assert typed == EncoderSettings("some/model", dtype="bfloat16", device="cpu")


@pytest.mark.parametrize("make", [MoEEncoder.from_pretrained, load_mteb_encoder, MoEEBackend])
def test_an_option_that_there_is_not_is_named(make: Any) -> None:
    with pytest.raises(InputError, match="quantise"):
        make("some/model", quantise="nf4")


def test_the_key_of_a_store_loads_its_model_again(tiny_olmoe: Path) -> None:
    key = encoder_of(tiny_olmoe, pooling="mean", quantize="int8").spec.key()
    options = options_of(key)
    # A folder has no commit, and one prompt is not several.
    assert set(options) == {*KEY_OPTIONS, "pooling"} - {"revision", "reroute", "prompts", "combine_prompts"}
    assert MoEEncoder.from_pretrained(tiny_olmoe, **options).spec.key() == key
    assert options_of({"revision": "a" * 40, "quantize": "mxfp4"}) == {"revision": "a" * 40}
    assert options_of({"revision": "unknown", "layers": 3}) == {}


@pytest.mark.parametrize(
    "more", [{"routing": "none"}, {"routing": ["mean", "frequency"]}, {"states": "values"}, {"reroute": ["all"]}]
)
def test_the_key_of_several_views_loads_them_again(tiny_olmoe: Path, more: dict[str, Any]) -> None:
    key = encoder_of(tiny_olmoe, layers=[1, "1-2"], pooling=["mean", "last_token"], **more).spec.key()
    assert MoEEncoder.from_pretrained(tiny_olmoe, **options_of(key)).spec.key() == key


def test_one_of_a_list_is_the_same_as_that_one() -> None:
    assert EncoderSettings(layers=["last"], pooling=["mean"]) == EncoderSettings(layers="last", pooling="mean")  # type: ignore[arg-type]
    assert EncoderSettings(prompts=["tone"]) == EncoderSettings(prompt="tone")  # type: ignore[arg-type]


def test_several_prompts_go_through_json_and_copies_and_back_from_a_key(tiny_olmoe: Path) -> None:
    data = {"corpus": {"source": "docstrings"}, "encoder": {"prompts": ["tone", "style"], "combine_prompts": "concat"}}
    recipe = parse_recipe(data)
    assert parse_recipe(recipe.to_json()) == recipe and (recipe.encoder.prompt, recipe.encoder.template) == ("", "")
    assert replace(recipe.encoder, max_tokens=9).prompts == ("tone", "style")
    key = encoder_of(tiny_olmoe, prompts=["tone", "style"]).spec.key()
    assert "prompt" not in key and key["prompts"] == [PROMPTS["tone"].template, PROMPTS["style"].template]
    assert MoEEncoder.from_pretrained(tiny_olmoe, **options_of(key)).spec.key() == key


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 9}, "asks for layer 9, and .* has 2"),
        ({"layers": "9-8"}, "encoder.layers has '9-8'"),
        ({"layers": "²"}, "encoder.layers has '²'"),
        ({"layers": 1.5}, "encoder.layers has 1.5"),
        ({"reroute": "1-9"}, "encoder.reroute asks for layer 9, and .* has 2"),
        ({"reroute": [0, 1]}, "encoder.reroute has 0, what goes into the first layer"),
        ({"reroute": "x"}, "encoder.reroute has 'x'"),
        ({"pooling": []}, "encoder.pooling is an empty list"),
        ({"routing": ["none", "mean"]}, "with 'none' no router is read"),
        ({"prompts": []}, "encoder.prompts is an empty list"),
        ({"prompts": ["tone", "no field"]}, "The prompt 'no field' is neither a known name"),
        (
            {"prompts": ["tone", "style", PROMPTS["tone"].template]},
            "encoder.prompts has 'tone' and .*, which are the same",
        ),
        ({"prompts": ["tone", "style"], "prompt": "none"}, "encoder.prompt is 'none' and encoder.prompts is .* one of"),
    ],
)
def test_views_that_cannot_be_are_refused_before_the_weights_are_loaded(
    options: dict[str, Any], message: str, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moee_topics.encode.encoder.load_model", None)
    with pytest.raises(InputError, match=message):
        encoder_of(tiny_olmoe, **options)


def test_an_encoder_of_the_embedded_model_is_let_go_and_loaded_again() -> None:
    backend = MoEEBackend(MoEEncoder.from_pretrained("pocket", max_tokens=64), RAW)
    before = backend.embed("a word")
    backend.release()
    backend._short_texts.clear()
    assert isinstance(backend.embedder, Embedder) and not backend.is_loaded
    assert (backend.embed("a word") == before).all() and backend.embedder.encoder.spec.max_tokens == 64


@pytest.mark.parametrize(
    ("option", "value"),
    [("quantize", "int3"), ("pooling", "max"), ("long_documents", "drop"), ("dtype", "int8"), ("prompt", "promteol")],
)
def test_an_option_that_does_not_exist_is_refused_by_name(tiny_olmoe: Path, option: str, value: str) -> None:
    with pytest.raises(InputError, match=value):
        encoder_of(tiny_olmoe, **{option: value})


def test_the_embedded_model_is_read_as_it_reads_best_and_others_as_in_the_paper(tiny_olmoe: Path) -> None:
    pocket, other = MoEEncoder.from_pretrained("pocket").spec, MoEEncoder.from_pretrained(tiny_olmoe).spec
    assert (pocket.prompt, pocket.pooling) == ("{text}", "mean")
    assert (other.prompt, other.pooling) == (get_prompt("prompteol").template, "last_token")
