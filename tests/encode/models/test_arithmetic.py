"""What ``quantize: auto`` takes: the faster arithmetic of those that are exact here, and none that loses vectors."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from quantized_models import SMALL, last_states
from transformers import AutoConfig, AutoModel

from moee_topics.encode import EncoderSettings, load_model, save_quantized
from moee_topics.encode.models import arithmetic, arithmetic_of
from moee_topics.encode.models.arithmetic import Arithmetic, Products, choose, products_of
from moee_topics.encode.quantization import float8_checks, integer_products
from moee_topics.encode.settings import Integer
from moee_topics.errors import ModelError

CPU = torch.device("cpu")


@pytest.fixture
def kind() -> Integer:
    """The integers of this processor, the truer first."""
    for kind in integer_products.KINDS:
        if integer_products.is_exact(kind):
            return kind
    return pytest.skip("this processor has no exact kernel of 8-bit integers")


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine on which integers are twice as fast, at any width."""
    monkeypatch.setattr(arithmetic, "LEAST_WIDTH", 0)
    monkeypatch.setattr(arithmetic, "times_as_fast", lambda *_: 2.0)
    return monkeypatch


def auto(folder: Path, **options: Any) -> EncoderSettings:
    return EncoderSettings(str(folder), device="cpu", **options)


def shape_of(model_type: str, **options: Any) -> tuple[Any, Any]:
    config = AutoConfig.for_model(model_type, **SMALL, **options)
    with torch.device("meta"):
        return config, AutoModel.from_config(config)


def test_what_is_named_is_taken_and_auto_is_the_default(olmoe: Path) -> None:
    assert EncoderSettings().quantize == "auto"
    assert arithmetic_of(auto(olmoe, quantize="nf4", dtype="float32")).quantize == "nf4"


def test_integers_are_taken_where_they_are_faster(olmoe: Path, fast: pytest.MonkeyPatch, kind: Integer) -> None:
    chosen = arithmetic_of(auto(olmoe, dtype="float32"))
    assert chosen.quantize == kind and f"2.0 x as fast in {kind} as in float32" in str(chosen)
    fast.setattr(arithmetic, "times_as_fast", lambda *_: 1.05)
    assert arithmetic_of(auto(olmoe)).quantize == "none"


def test_a_narrow_model_is_not_timed(olmoe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "times_as_fast", lambda *_: pytest.fail("timed"))
    assert "at a hidden size of 128" in arithmetic_of(auto(olmoe)).why


def test_a_kernel_that_fails_its_self_test_gives_way_to_the_next(olmoe: Path, fast: pytest.MonkeyPatch) -> None:
    fast.setattr(integer_products, "is_exact", lambda kind, *_: kind == "w7a8")
    chosen = arithmetic_of(auto(olmoe))
    assert chosen.quantize == "w7a8" and "w8a8 is not exact on this processor" in chosen.why
    assert chosen.inexact
    fast.setattr(integer_products, "is_exact", lambda *_: False)
    chosen = arithmetic_of(auto(olmoe))
    assert chosen.inexact
    assert (chosen.quantize, chosen.why) == (
        "none",
        "w8a8 is not exact on this processor; w7a8 is not exact on this processor",
    )


def test_a_kernel_that_fails_its_self_test_is_a_warning_and_a_slow_one_is_none(
    tiny_olmoe: Path, fast: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        fast.setattr(integer_products, "is_exact", lambda *_: True)
        fast.setattr(arithmetic, "times_as_fast", lambda *_: 0.9)
        load_model(auto(tiny_olmoe))
        assert not caplog.text
        fast.setattr(integer_products, "is_exact", lambda *_: False)
        load_model(auto(tiny_olmoe))
    assert "w8a8 is not exact on this processor" in caplog.text


def test_what_is_stored_in_few_bits_stays_so(tiny_olmoe: Path, tmp_path: Path, fast: pytest.MonkeyPatch) -> None:
    model, tokenizer = load_model(auto(tiny_olmoe, quantize="nf4"))
    save_quantized(model, tmp_path / "saved", tokenizer)
    assert arithmetic_of(auto(tmp_path / "saved")).quantize == "none"
    assert arithmetic_of(EncoderSettings("pocket", device="cpu")).quantize == "none"


def test_experts_that_cannot_be_integers_stay_as_they_are(fast: pytest.MonkeyPatch) -> None:
    transposed = shape_of("gpt_oss", num_local_experts=8, intermediate_size=64, head_dim=32)
    assert "gpt_oss" in choose(*transposed, CPU, torch.float32).why
    most = shape_of("olmoe", num_experts=4, intermediate_size=64)
    assert "most of its experts" in choose(*most, CPU, torch.float32).why


def test_products_are_counted_as_a_token_meets_them() -> None:
    found = products_of(*shape_of("olmoe", num_experts=8, intermediate_size=96))
    # In two layers: queries, keys, values and output, and two experts.
    assert found == ({(128, 128): 2 * 4}, {(128, 96): 2 * 2})
    assert found.matrices == {(128, 128), (128, 96), (192, 128), (96, 128)}


def test_a_model_is_timed_by_its_own_shapes(kind: Integer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "TIMED_SIZE", 64)  # what is beyond is reckoned
    products = Products({(192, 64): 4}, {(64, 96): 2})
    found = arithmetic.times_as_fast(kind, torch.float32, products)
    linear = arithmetic._seconds(arithmetic._linear, kind, torch.float32, 192, 64, torch.get_num_threads())
    expert = arithmetic._seconds(arithmetic._experts, kind, torch.float32, 64, 96, torch.get_num_threads())
    plain, integer = (4 * linear[place] + 2 * expert[place] for place in (0, 1))
    assert found == plain / integer > 0


def test_on_a_gpu_four_bits_are_taken_where_sixteen_find_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    config, shape = shape_of("olmoe", num_experts=8, intermediate_size=64)
    size, layers = arithmetic.size_of(shape, torch.bfloat16), [type(module) for module in shape.modules()]
    for free, lacking, expected in (
        (size * 2, "", "none"),
        (size, "", "fp8"),
        (size, "too old", "nf4"),
        (size // 2, "", "nf4"),
    ):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, free))
        monkeypatch.setattr(float8_checks, "lacking", lambda *_, lacking=lacking: lacking)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
        assert choose(config, shape, torch.device("cuda"), torch.bfloat16).quantize == expected
    assert [type(module) for module in shape.modules()] == layers  # to choose replaces none of them
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, 0))
    alone = shape_of("jetmoe", num_local_experts=4)
    assert choose(*alone, torch.device("cuda"), torch.bfloat16).quantize == "none"


@pytest.mark.parametrize(("capability", "failed"), [((8, 0), False), ((9, 0), True)])
def test_four_bits_say_why_they_are_not_float8_and_a_self_test_that_failed_is_a_warning(
    capability: tuple[int, int], failed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, shape = shape_of("olmoe", num_experts=8, intermediate_size=64)
    free = arithmetic.size_of(shape, torch.bfloat16)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, free))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(float8_checks, "lacking", lambda *_: "its numbers are off by 0.050")
    chosen = choose(config, shape, torch.device("cuda"), torch.bfloat16)
    assert (chosen.quantize, chosen.inexact) == ("nf4", failed)
    assert "not in fp8" in chosen.why and "its numbers are off by 0.050" in chosen.why

    def missing() -> None:
        raise ModelError("pip install bitsandbytes")

    monkeypatch.setattr(arithmetic.bitsandbytes_blocks, "bitsandbytes", missing)
    chosen = choose(config, shape, torch.device("cuda"), torch.bfloat16)
    assert (chosen.quantize, chosen.inexact) == ("none", failed)
    assert "off by 0.050" in chosen.why and chosen.why.endswith("; not in nf4: pip install bitsandbytes")


def test_a_model_that_is_rounded_in_memory_is_the_one_that_is_loaded_so(
    tiny_olmoe: Path, fast: pytest.MonkeyPatch, kind: Integer
) -> None:
    fast.setattr(arithmetic, "LEAST_COSINE", 0.9)
    chosen, _ = load_model(auto(tiny_olmoe, dtype="float32"))
    named, _ = load_model(auto(tiny_olmoe, dtype="float32", quantize=kind))
    assert torch.equal(last_states(chosen), last_states(named))
    assert chosen.config.quantization_config.kind == kind and "a cosine of 0.9" in str(chosen.arithmetic)
    assert named.arithmetic == Arithmetic(kind, torch.float32, "it was named")


def test_a_model_whose_states_are_lost_is_loaded_in_sixteen_bits_and_says_so(
    tiny_olmoe: Path, fast: pytest.MonkeyPatch, kind: Integer, caplog: pytest.LogCaptureFixture
) -> None:
    fast.setattr(arithmetic, "LEAST_COSINE", 1.1)
    with caplog.at_level(logging.WARNING):
        model, _ = load_model(auto(tiny_olmoe, dtype="float32"))
    plain, _ = load_model(auto(tiny_olmoe, dtype="float32", quantize="none"))
    assert torch.equal(last_states(model), last_states(plain))
    assert f"in {kind} its states have a cosine of" in caplog.text and model.arithmetic.quantize == "none"


def test_without_room_for_both_nothing_is_compared(tiny_olmoe: Path, fast: pytest.MonkeyPatch, kind: Integer) -> None:
    fast.setattr(arithmetic, "fits", lambda *_: False)
    model, _ = load_model(auto(tiny_olmoe, dtype="float32"))
    assert model.arithmetic.quantize == kind and "not compared with float32" in model.arithmetic.why
