"""Float8 is refused where a device lacks it, and where what it gives is wrong."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from quantized_models import load
from torch import Tensor

from moee_topics.encode import EncoderSettings, kernels, load_model
from moee_topics.encode.models import quantizer
from moee_topics.encode.quantization import float8_checks, float8_weights, integer_products
from moee_topics.errors import KernelError, ModelError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_a_device_without_float8_says_what_it_has(olmoe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for exact in (["w8a8", "w7a8"], ["w7a8"], []):
        monkeypatch.setattr(integer_products, "is_exact", lambda kind, exact=exact: kind in exact)
        there = rf"For cpu there are {', '.join([*exact, 'int8', 'nf4', 'none'])}\."
        with pytest.raises(KernelError, match=rf"fp8 is arithmetic of GPUs, and this is cpu\. {there}"):
            load_model(EncoderSettings(str(olmoe), quantize="fp8", device="cpu"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100")
    monkeypatch.setattr(float8_checks, "lacking", float8_checks.lacking.__wrapped__)
    with pytest.raises(
        ModelError, match=r"needs compute capability 8\.9, while NVIDIA A100 has 8\.0\. .*int8, nf4, none"
    ):
        float8_checks.check_kernel("fp8", GPU)
    float8_checks.check_kernel("nf4", GPU)


def test_the_rest_of_the_model_is_in_the_type_of_its_products(had: None, olmoe: Path) -> None:
    with pytest.raises(ModelError, match=r"gives bfloat16, and encoder\.dtype is float32\. Leave encoder\.dtype out"):
        load_model(EncoderSettings(str(olmoe), quantize="fp8", device="cpu", dtype="float32"))


def test_what_was_saved_in_float8_is_refused_where_it_cannot_be_read(
    olmoe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as had:
        had.setattr(float8_checks, "lacking", lambda *_: "")
        folder = quantizer.save_quantized(load(olmoe, "fp8"), tmp_path / "saved")
    with pytest.raises(ModelError, match="arithmetic of GPUs"):
        load_model(EncoderSettings(str(folder), device="cpu"))


def test_products_and_weights_that_are_wrong_are_seen(had: None, olmoe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    float8_checks.check_product(CPU, 80, 96)
    right = float8_weights.product
    monkeypatch.setattr(float8_weights, "product", lambda *given: right(*given) * 1.05)
    with pytest.raises(ValueError, match=r"off by 0\.05"):
        float8_checks.check_product(CPU, 80, 96)
    monkeypatch.setattr(float8_checks, "lacking", lambda *_: "this device is off by 0.050")
    with pytest.raises(ModelError, match=r"cannot be read in fp8: this device is off by 0\.050\. Use int8"):
        float8_checks.check_weights(load(olmoe, "fp8"))


def test_a_weight_that_triton_cannot_compile_is_a_reason_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class CompilationError(Exception):
        """As Triton's, which is none of Python's own."""

    def rounded(states: Tensor) -> tuple[Tensor, Tensor]:
        if states.shape[1] > 1024:
            raise CompilationError("out of shared memory")
        return float8_weights.rounded_by_torch(states)

    gated = float8_weights.gated_and_rounded_by_torch
    triton = SimpleNamespace(rounded=rounded, gated_and_rounded=gated, ERRORS=(CompilationError,))
    monkeypatch.setattr(kernels, "triton_kernels", triton, raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200")
    states = float8_checks._states
    monkeypatch.setattr(float8_checks, "_states", lambda _, *shape: states(CPU, *shape))
    monkeypatch.setattr(float8_checks, "passes_for", float8_checks.passes_for.__wrapped__)
    assert float8_checks.passes_for(GPU).name == "triton"
    reason = float8_checks.lacking.__wrapped__(GPU, 64, 2048)
    assert reason == "NVIDIA H200 fails with weights of 64 x 2048: out of shared memory"


@pytest.mark.parametrize(
    ("device", "capability", "lacking", "failed"),
    [(CPU, (9, 0), "x", False), (GPU, (8, 0), "x", False), (GPU, (8, 9), "x", True), (GPU, (9, 0), "", False)],
)
def test_a_gpu_that_is_too_old_does_not_fail(
    device: torch.device, capability: tuple[int, int], lacking: str, failed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(float8_checks, "lacking", lambda _: lacking)
    assert float8_checks.fails(device) == failed


def test_without_triton_states_are_rounded_by_torch(caplog: pytest.LogCaptureFixture) -> None:
    assert float8_checks.passes_for(CPU).name == "torch" and not caplog.text
