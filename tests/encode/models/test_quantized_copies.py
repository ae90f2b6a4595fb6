"""A model that many processes of a machine load is quantized by the first of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moee_topics.encode import EncoderSettings, MoEEncoder
from moee_topics.encode.models import loading, quantized_copies
from moee_topics.encode.models.quantized_copies import quantized_copy

TEXTS = ["a rocket orbits the moon", "butter and onions"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "moee-topics"


def settings_of(model: Path, **options: Any) -> EncoderSettings:
    return EncoderSettings.checked(model, prompt="none", dtype="float32", max_tokens=16, **options)


def test_a_copy_gives_the_bits_and_the_key_of_the_model_and_is_made_once(
    cache: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(tiny_olmoe, quantize="nf4")
    fresh = MoEEncoder.from_settings(settings)
    copied = MoEEncoder.from_settings(settings, keep_quantized=True)
    assert copied.spec == fresh.spec
    for one, other in zip(vars(copied.encode(TEXTS)).values(), vars(fresh.encode(TEXTS)).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    monkeypatch.setattr(quantized_copies, "save_quantized", lambda *_: pytest.fail("quantized again"))
    copy = Path(quantized_copy(settings).model)
    assert copy.parent == cache and [path for path in cache.iterdir() if path.is_dir()] == [copy]
    assert quantized_copy(settings_of(copy, quantize="nf4")).model == str(copy), "what was saved so is loaded as it is"


def test_a_checkpoint_in_transformers_own_fp8_is_loaded_as_it_is(cache: Path, tiny_olmoe: Path, tmp_path: Path) -> None:
    foreign = shutil.copytree(tiny_olmoe, tmp_path / "foreign")
    config = json.loads((foreign / "config.json").read_text())
    (foreign / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "fp8"}}))
    settings = settings_of(foreign, quantize="fp8")
    assert quantized_copy(settings) == settings and not cache.exists()


def test_other_numbers_are_another_copy_and_a_model_that_stays_as_it_is_has_none(
    cache: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = settings_of(tiny_olmoe)
    assert quantized_copy(plain) == plain and not cache.exists()
    monkeypatch.setattr(quantized_copies, "load_model", lambda settings: (settings, None))
    monkeypatch.setattr(quantized_copies, "save_quantized", lambda model, copy, _: Path(copy).mkdir())
    four = settings_of(tiny_olmoe, quantize="nf4")
    others = [
        settings_of(tiny_olmoe, quantize="int8"),
        EncoderSettings.checked(tiny_olmoe, quantize="nf4", dtype="bfloat16"),
    ]
    assert len({quantized_copy(settings).model for settings in (four, *others, four)}) == 3
    assert loading.load_model is not quantized_copies.load_model
