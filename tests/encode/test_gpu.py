"""A GPU gives what the processor gives; skipped where there is none (`make test-gpu`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import assert_close, assert_same_bits, documents, encoder_of
from model_families import DECODERS, every
from numpy.typing import NDArray
from tiny_families import tiny_config, tiny_model

from moee_topics.encode.batching import Pack
from moee_topics.encode.layout import last_states
from moee_topics.encode.models import attention, experts, small_operators
from moee_topics.encode.models.families import FAMILIES

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


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
