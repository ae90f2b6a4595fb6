"""Integers are multiplied exactly by every kernel that this machine has, whatever stands beside a token."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import held_kernels
import pytest
import torch
from quantized_models import SMALL, last_states, load
from torch import nn
from transformers import AutoConfig, AutoModel

from moee_topics.encode import EncoderSettings, load_model
from moee_topics.encode.models import experts, quantizer
from moee_topics.encode.quantization import few_bits, integer_products
from moee_topics.encode.settings import Integer
from moee_topics.errors import ModelError

LIMITS = {
    "AVX2": "avx2",
    "AVX2_VNNI": "avx_vnni",
    "AVX512_CORE": "avx512_bw",
    "AVX512_CORE_VNNI": "avx512_vnni",
    "AVX512_CORE_AMX": "amx_int8",
}
"""What oneDNN is held to -> what the processor must be able to do, in torch's names."""
HERE = [limit for limit, ability in LIMITS.items() if torch.cpu.get_capabilities().get(ability)]


@pytest.fixture(scope="module")
def held() -> dict[str, dict[str, dict[str, bool]]]:
    """Of each limit that this processor can be held to what both kinds of integers give."""
    asked = subprocess.run(
        [sys.executable, held_kernels.__file__, *HERE],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return {line["limit"]: line["found"] for line in map(json.loads, asked.stdout.splitlines())}


@pytest.mark.parametrize("limit", LIMITS)
def test_every_kernel_of_this_processor_is_exact_and_alike_in_every_pack(
    limit: str, request: pytest.FixtureRequest
) -> None:
    if limit not in HERE or sys.platform != "linux":
        pytest.skip(f"this processor has no {limit}, or this system no forks")
    found, proven = request.getfixturevalue("held")[limit], {"passes": True, "exact": True, "alike": True}
    assert found["w7a8"] == proven
    assert found["w8a8"] == ({"passes": False} if limit in ("AVX2", "AVX512_CORE") else proven)


@pytest.fixture(params=integer_products.KINDS)
def kind(request: pytest.FixtureRequest) -> Integer:
    if not integer_products.is_exact(request.param):
        pytest.skip(f"this processor has no exact kernel for {request.param}")
    return request.param


def packed_linear(
    kind: Integer, inputs: int = 96, outputs: int = 80
) -> tuple[nn.Linear, integer_products.IntegerLinear]:
    torch.manual_seed(0)
    plain = nn.Linear(inputs, outputs)
    integer = integer_products.IntegerLinear(plain)
    few_bits.round_weights(integer, ["weight"], kind)
    return plain, integer


@torch.no_grad()
def test_a_linear_layer_is_the_product_of_its_integers_bit_for_bit(kind: Integer) -> None:
    plain, integer = packed_linear(kind)
    states = torch.randn(2, 7, 96)
    levels = integer_products.LEVELS[kind]
    absmax, largest = plain.weight.abs().amax(1), states.abs().amax(-1, keepdim=True)
    codes = (plain.weight * (levels / absmax)[:, None]).round().long()
    rows = (states * (127 / largest)).round().long()
    sums = (rows @ codes.T).float() * (absmax / levels)
    assert torch.equal(integer(states), sums * (largest / 127) + plain.bias)
    assert torch.cosine_similarity(integer(states).flatten(), plain(states).flatten(), dim=0) > 0.999


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_a_token_has_the_same_bits_alone_and_among_others(kind: Integer, olmoe: Path, dtype: torch.dtype) -> None:
    layer = next(module for _, module in experts.experts_modules(load(olmoe, kind, dtype)))
    torch.manual_seed(0)
    states, weights = torch.randn(150, 128).to(dtype), torch.rand(150, 2)
    index = torch.stack([torch.randperm(8)[:2] for _ in range(150)])
    together = experts.experts_forward(layer, states, index, weights)
    for rows in (slice(0, 1), slice(149, 150), slice(20, 90)):
        assert torch.equal(experts.experts_forward(layer, states[rows], index[rows], weights[rows]), together[rows])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_a_model_in_integers_gives_nearly_what_the_plain_one_gives(
    kind: Integer, checkpoint: Path, dtype: torch.dtype
) -> None:
    if "gpt_oss" in str(checkpoint):
        pytest.skip("its experts are transposed, and refused")
    plain = last_states(AutoModel.from_pretrained(checkpoint, dtype=torch.float32))
    states = last_states(load(checkpoint, kind, dtype)).float()
    assert torch.cosine_similarity(states, plain, dim=-1).mean() > (0.995 if kind == "w8a8" else 0.99)


@torch.no_grad()
def test_a_gate_of_another_kind_goes_through_the_model_s_own(kind: Integer, olmoe: Path) -> None:
    layer = next(module for _, module in experts.experts_modules(load(olmoe, kind)))
    states, index, weights = torch.randn(9, 128), torch.arange(18).view(9, 2) % 8, torch.rand(9, 2)
    fused = experts.experts_forward(layer, states, index, weights)
    layer._apply_gate = type(layer)._apply_gate.__get__(layer)
    silu, layer.act_fn = layer.act_fn, nn.Sequential(layer.act_fn)
    try:
        torch.testing.assert_close(experts.experts_forward(layer, states, index, weights), fused, rtol=0.02, atol=2e-4)
    finally:
        layer.act_fn = silu
        del layer._apply_gate


def test_weights_take_one_byte_and_are_counted(kind: Integer, olmoe: Path) -> None:
    model = load(olmoe, kind)
    report = quantizer.check_quantized(model, kind)
    assert report.expert_weights == 2 * 8 * 3 * 64 * 128
    assert 1 < report.bytes_per_expert_weight <= 1.1
    assert not any(weight.dtype == torch.int8 for weight in model.parameters())  # packed in their place
    assert report.tensor_bytes > report.expert_bytes
    with pytest.raises(ModelError, match="int8 or nf4"):
        quantizer.save_quantized(model, olmoe.parent / "never")


def test_transposed_experts_are_refused(kind: Integer, tmp_path: Path) -> None:
    config = AutoConfig.for_model("gpt_oss", **SMALL, num_local_experts=8, intermediate_size=64, head_dim=32)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"gpt_oss.*int8"):
        load(tmp_path, kind)


def test_a_processor_without_an_exact_kernel_says_what_it_has(olmoe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integer_products, "is_exact", lambda kind, *shape: kind == "w7a8")
    with pytest.raises(ModelError, match=r"w8a8 exactly\. It has: w7a8, int8, nf4, none"):
        load_model(EncoderSettings(str(olmoe), quantize="w8a8", device="cpu"))
    with pytest.raises(ModelError, match="arithmetic of CPUs"):
        integer_products.check_kernel("w7a8", torch.device("cuda"))
    integer_products.check_kernel("int8", torch.device("cuda"))


def test_sums_that_overflow_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def saturated(codes: torch.Tensor, packed: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        pairs = ((codes.float() * packed.float()[:, None]).unflatten(-1, (-1, 2))).sum(-1).clamp(-32768, 32767)
        return (pairs.sum(-1) - 128 * packed.float().sum(1)[:, None]).T.contiguous() * scales

    monkeypatch.setattr(integer_products, "_prepacked", lambda codes: codes)
    monkeypatch.setattr(integer_products, "_multiplied", saturated)
    # Not through its cache, which is of this processor.
    assert not integer_products.is_exact.__wrapped__("w8a8")
    assert integer_products.is_exact.__wrapped__("w7a8")
