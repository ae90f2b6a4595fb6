"""A GPU gives what the processor gives; skipped where there is none (`make test-gpu`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import assert_close, assert_same_bits, documents, encoder_of
from model_families import DECODERS, every
from numpy.typing import NDArray
from quantized_models import IDS, load, make_checkpoint
from tiny_families import tiny_config, tiny_model
from transformers import AutoModel

from moee_topics.encode import EncoderSettings, diagnostics, load_model
from moee_topics.encode.batching import Pack
from moee_topics.encode.layout import last_states
from moee_topics.encode.models import attention, experts, quantizer, small_operators
from moee_topics.encode.models.families import FAMILIES
from moee_topics.encode.quantization import few_bits, float8_checks, float8_products

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
GPU = torch.device("cuda", 0)
FLOAT8 = pytest.mark.skipif(
    not torch.cuda.is_available() or bool(float8_checks.lacking(GPU)), reason="needs a GPU with float8"
)


@pytest.mark.parametrize("head_size", [64, 128])
def test_the_kernel_of_this_gpu_agrees_with_the_loop(head_size: int) -> None:
    assert attention.has_kernel(torch.device("cuda", 0), torch.bfloat16, head_size)


def test_heads_in_groups_go_through_the_kernel_too() -> None:
    assert attention.has_kernel(torch.device("cuda", 0), torch.bfloat16, 64, 4)


def test_float32_is_that_of_the_processor(tiny_olmoe: Path) -> None:
    by_gpu, by_cpu = (encoder_of(tiny_olmoe, device=device).encode(documents(24)) for device in ("cuda", "cpu"))
    assert_close(by_gpu, by_cpu, 1e-3)


@pytest.mark.parametrize(("quantize", "least"), [("none", 0.995), ("int8", 0.99), ("nf4", 0.99)])
def test_sixteen_bits_and_fewer_are_near_those_of_the_processor(
    tiny_qwen2_moe: Path, quantize: str, least: float
) -> None:
    options = {"dtype": "bfloat16", "quantize": quantize}
    by_gpu, by_cpu = (
        encoder_of(tiny_qwen2_moe, device=device, **options).encode(documents(24)) for device in ("cuda", "cpu")
    )
    assert cosines(by_gpu.hidden_states, by_cpu.hidden_states).mean() > least


@FLOAT8
def test_this_gpu_multiplies_with_all_experts_at_once_and_rounds_in_one_pass() -> None:
    at_once = torch.cuda.get_device_capability() in ((9, 0), (10, 0))
    assert float8_checks.groups(GPU) == at_once
    assert float8_checks.passes_for(GPU).name == "triton"
    assert ("all experts in one product" in diagnostics.float8().detail) == at_once


@FLOAT8
@pytest.mark.parametrize("family", ["olmoe", "qwen2_moe", "mixtral", "deepseek_v2", "deepseek"])
def test_float8_is_near_sixteen_bits_in_half_the_memory(family: str, tmp_path: Path) -> None:
    folder = make_checkpoint(family, tmp_path / "model")
    model, plain = load(folder, "fp8", torch.bfloat16), AutoModel.from_pretrained(folder, dtype=torch.bfloat16).cuda()
    report = quantizer.check_quantized(model, "fp8")
    assert model.device.type == "cuda" and 1.0 < report.bytes_per_expert_weight < 1.05
    with torch.no_grad():
        found, known = (each(IDS.cuda(), use_cache=False).last_hidden_state.float() for each in (model, plain))
    assert torch.cosine_similarity(found, known, dim=-1).mean() > 0.98


@FLOAT8
def test_float8_is_quantized_while_it_loads_and_read_again_from_what_was_saved(
    tiny_qwen2_moe: Path, tmp_path: Path
) -> None:
    model, tokenizer = load_model(EncoderSettings(str(tiny_qwen2_moe), quantize="fp8", device="cuda"))
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16, torch.float32, torch.uint8}
    saved = quantizer.save_quantized(model, tmp_path / "saved", tokenizer)
    made, read = (
        encoder_of(folder, device="cuda", dtype="bfloat16", **kind)
        for folder, kind in ((tiny_qwen2_moe, {"quantize": "fp8"}), (saved, {}))
    )
    assert made.spec.quantize == read.spec.quantize == "fp8"
    assert_same_bits(made.encode(documents(24)), read.encode(documents(24)))


@FLOAT8
@pytest.mark.parametrize("outputs", [2048, 64, 512, 1408])
def test_a_product_in_float8_has_the_same_bits_whatever_stands_beside(outputs: int) -> None:
    torch.manual_seed(0)
    layer = float8_products.Float8Linear(torch.nn.Linear(2048, outputs, dtype=torch.bfloat16))
    few_bits.round_weights(layer, ["weight"], "fp8")
    layer.cuda()
    states = torch.randn(4096, 2048, dtype=torch.bfloat16, device="cuda")
    with torch.inference_mode():
        together = layer(states)
        for rows in (64, 128, 320, 1024, 2048):
            assert torch.equal(layer(states[:rows]), together[:rows]), rows


@FLOAT8
def test_experts_in_float8_give_a_token_the_same_bits_whatever_stands_beside(tiny_olmoe: Path) -> None:
    encoder = encoder_of(tiny_olmoe, device="cuda", dtype="bfloat16", quantize="fp8")
    assert encoder.packed and encoder.shortens
    layer = next(module for _, module in experts.experts_modules(encoder.model))
    torch.manual_seed(0)
    states = torch.randn(3000, encoder.spec.hidden_size, dtype=torch.bfloat16, device="cuda")
    index = torch.stack([torch.randperm(encoder.spec.experts)[:2] for _ in range(3000)]).cuda()
    weights = torch.rand(3000, 2, device="cuda")
    together = experts.experts_forward(layer, states, index, weights)
    for rows in (slice(0, 1), slice(2999, 3000), slice(20, 90), slice(64, 1100)):
        assert torch.equal(experts.experts_forward(layer, states[rows], index[rows], weights[rows]), together[rows])


def test_the_same_pack_gives_the_same_bits(tiny_olmoe: Path) -> None:
    encoder = encoder_of(tiny_olmoe, device="cuda", dtype="bfloat16")
    assert_same_bits(encoder.encode(documents(24)), encoder.encode(documents(24)))


@pytest.mark.parametrize("model_type", every(DECODERS))
def test_a_family_gives_what_it_gives_on_a_processor(model_type: str) -> None:
    attention.register()
    model = tiny_model(tiny_config(model_type))
    is_packed = FAMILIES[model_type].layout == "packed"
    pack = Pack((0, 1), (tuple(range(5, 40)), tuple(range(7, 30))), packed=is_packed)
    rows = slice(sum(pack.lengths) if is_packed else None)
    with torch.inference_mode():
        known = last_states(model, pack)[rows]
        model.to("cuda")
        experts.use(model)
        small_operators.use(model, torch.float32)
        found = last_states(model, pack)[rows].cpu()
    assert float((found - known).norm() / known.norm()) < 1e-3


@pytest.mark.parametrize("pooling", ["mean", "weighted_mean", "last_token"])
def test_a_pooling_is_that_of_the_processor_and_depends_on_no_neighbours(tiny_olmoe: Path, pooling: str) -> None:
    by_gpu = encoder_of(tiny_olmoe, device="cuda", pooling=pooling)
    found = by_gpu.encode(documents(24))
    assert_close(found, encoder_of(tiny_olmoe, device="cpu", pooling=pooling).encode(documents(24)), 1e-3)
    assert_close(by_gpu.encode(documents(24)[7]), found[np.array([7])], 1e-4)


def cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    one, other = one.astype(np.float64), other.astype(np.float64)
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
