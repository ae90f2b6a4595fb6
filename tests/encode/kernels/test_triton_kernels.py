"""Each kernel gives what torch's operators give, whatever its shapes; skipped where no GPU is (`make test-gpu`)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from moee_topics.encode.models.small_operators import TORCH, operators_for
from moee_topics.encode.quantization import float8_checks, float8_weights

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)


def random(dtype: torch.dtype, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(dtype).cuda()


def assert_near(ours: Tensor, known: Tensor) -> None:
    assert ours.dtype == known.dtype
    tolerance = 1e-5 if known.dtype == torch.float32 else 0.02
    torch.testing.assert_close(ours.float(), known.float(), atol=tolerance * 4, rtol=tolerance)


@DTYPES
def test_all_are_used_on_a_gpu(dtype: torch.dtype) -> None:
    found = operators_for(torch.device("cuda", 0), dtype)
    assert found.passes == ("gated", "weighted_sum", "rotated", "rms_norm")


@DTYPES
@pytest.mark.parametrize("width", [48, 1024, 1536, 2816])
def test_gates_of_one_product_and_of_two(dtype: torch.dtype, width: int) -> None:
    from moee_topics.encode.kernels import triton_kernels

    product = random(dtype, 33, 2 * width)
    halves = product.chunk(2, dim=-1)
    assert_near(triton_kernels.gated(*halves), TORCH.gated(*halves))
    apart = [half.reshape(1, 33, width).contiguous() for half in halves]
    assert torch.equal(triton_kernels.gated(*apart)[0], triton_kernels.gated(*halves))


@DTYPES
@pytest.mark.parametrize(("size", "k"), [(64, 2), (2048, 8), (2880, 4), (100, 1)])
def test_sums_of_experts(dtype: torch.dtype, size: int, k: int) -> None:
    from moee_topics.encode.kernels import triton_kernels

    rows, weights = random(dtype, 50 * k, size), random(dtype, 50, k)
    places = torch.randperm(50 * k, generator=torch.Generator().manual_seed(0)).view(50, k).cuda()
    computed = torch.tensor([50 * k - 3], dtype=torch.int32, device="cuda")
    rows[-3:] = torch.nan
    found = triton_kernels.weighted_sum(rows, places, weights, computed)
    assert_near(found, TORCH.weighted_sum(rows, places, weights, computed))
    # Alone a token has the bits that it has among others.
    assert torch.equal(triton_kernels.weighted_sum(rows, places[7:8], weights[7:8], computed), found[7:8])


@DTYPES
@pytest.mark.parametrize(("heads", "size"), [(16, 128), (3, 96), (1, 64), (28, 80)])
def test_rotations(dtype: torch.dtype, heads: int, size: int) -> None:
    from moee_topics.encode.kernels import triton_kernels

    states, angles = random(dtype, 1, 41, heads, size).transpose(1, 2), random(torch.float32, 1, 41, size)
    turned = triton_kernels.rotated(states, angles.cos().to(dtype), angles.sin().to(dtype))
    assert_near(turned, TORCH.rotated(states, angles.cos().to(dtype), angles.sin().to(dtype)))


@DTYPES
@pytest.mark.parametrize("width", [48, 1024, 1536, 2880, 14336])
def test_rounding_to_float8_with_and_without_a_gate(dtype: torch.dtype, width: int) -> None:
    from moee_topics.encode.kernels import triton_kernels

    if float8_checks.lacking(torch.device("cuda", 0)):
        pytest.skip("this GPU has no float8")
    product = random(dtype, 33, 2 * width)
    product[5] = 0
    for ours, known in (
        (triton_kernels.rounded, float8_weights.rounded_by_torch),
        (triton_kernels.gated_and_rounded, float8_weights.gated_and_rounded_by_torch),
    ):
        (codes, scales), (expected, its_scales) = ours(product), known(product)
        assert_near(scales, its_scales)
        # A number near the middle of two may fall to either side.
        assert float((codes.float() != expected.float()).float().mean()) < 0.02
        assert not codes[5].float().any()
        alone = ours(product[7:8])
        assert torch.equal(alone[0].view(torch.uint8), codes[7:8].view(torch.uint8)) and alone[1] == scales[7]
