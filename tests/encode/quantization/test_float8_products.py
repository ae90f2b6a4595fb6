"""Float8 rounds each row by itself, multiplies what it rounded, and is refused where a device lacks it.

The products of torch for processors stand in for those of a GPU, which `make test-gpu` tests.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from encoders import documents, encoder_of
from quantized_models import last_states, load
from tiny_families import tiny_config, tiny_model
from torch import Tensor, nn
from transformers import AutoModel, OlmoeConfig

from moee_topics.encode import EncoderSettings, load_model
from moee_topics.encode.models import experts, quantizer
from moee_topics.encode.models.families import FAMILIES
from moee_topics.encode.quantization import float8_products
from moee_topics.encode.quantization.float8_products import Float8Linear, Float8Weight
from moee_topics.errors import ModelError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def had(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this processor were a GPU that has float8."""
    monkeypatch.setattr(float8_products, "lacking", lambda *_: "")


def expanded(weight: Float8Weight) -> Tensor:
    return weight.codes.float() * weight.scales[..., None]


def test_a_row_is_rounded_by_its_own_largest_number_whatever_stands_beside() -> None:
    states = torch.randn(9, 64, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 6, 9)[:, None]
    states[4] = 0
    codes, scales = float8_products.rounded(states)
    numbers = expanded(Float8Weight(codes, scales))
    assert torch.allclose(numbers.abs().amax(1), states.abs().amax(1), rtol=1e-6)
    # Three bits of mantissa; below a row's largest by more than 2^14 numbers have fewer.
    assert bool(((numbers - states).abs() <= states.abs() / 16 + scales[:, None] / 512).all())
    assert not numbers[4].any()
    alone = float8_products.rounded(states[3:4])
    assert torch.equal(alone[0].view(torch.uint8), codes[3:4].view(torch.uint8)) and alone[1] == scales[3]


def test_a_gated_product_is_rounded_after_its_gate() -> None:
    product = torch.randn(7, 96, generator=torch.Generator().manual_seed(0), dtype=torch.bfloat16)
    gate, up = product.float().chunk(2, dim=1)
    found, known = float8_products.gated_and_rounded(product), float8_products.rounded(nn.functional.silu(gate) * up)
    assert torch.equal(found[0].view(torch.uint8), known[0].view(torch.uint8)) and torch.equal(found[1], known[1])


@torch.no_grad()
def test_a_linear_layer_multiplies_what_it_rounded_and_keeps_its_bias() -> None:
    torch.manual_seed(0)
    plain = nn.Linear(96, 80)
    linear = Float8Linear(plain)
    quantizer.round_weights(linear, ["weight"], "fp8")
    states = torch.randn(2, 7, 96)
    numbers = expanded(Float8Weight(*float8_products.rounded(states.view(-1, 96))))
    known = numbers @ expanded(float8_products.weight_of(linear, "weight")).T + plain.bias
    torch.testing.assert_close(linear(states), known.view(2, 7, 80), rtol=0.01, atol=0.01)
    assert torch.cosine_similarity(linear(states).flatten(), plain(states).flatten(), dim=0) > 0.998


@torch.no_grad()
def test_experts_are_the_sum_written_out(had: None, olmoe: Path) -> None:
    layer = next(module for _, module in experts.experts_modules(load(olmoe, "fp8")))
    up, down = (expanded(float8_products.weight_of(layer, name)) for name in experts.weight_names(layer))
    torch.manual_seed(0)
    states, index, weights = torch.randn(40, 128), torch.randint(8, (40, 1)), torch.rand(40, 1)
    gate, value = torch.einsum("ti,toi->to", states, up[index[:, 0]]).chunk(2, dim=-1)
    known = torch.einsum("ti,toi->to", nn.functional.silu(gate) * value, down[index[:, 0]]) * weights
    found = experts.experts_forward(layer, states, index, weights)
    assert float((found - known).norm() / known.norm()) < 0.06
    layer._apply_gate = type(layer)._apply_gate.__get__(layer)
    silu, layer.act_fn = layer.act_fn, nn.Sequential(layer.act_fn)  # a gate that has no pass of its own
    try:
        by_its_own = experts.experts_forward(layer, states, index, weights)
    finally:
        layer.act_fn = silu
        del layer._apply_gate
    assert float((by_its_own - found).norm() / found.norm()) < 0.03


@torch.no_grad()
def test_all_experts_at_once_and_one_after_the_other_are_the_same(
    had: None, olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_once(codes: Tensor, scales: Tensor, weight: Float8Weight, ends: Tensor) -> Tensor:
        chosen = torch.bucketize(torch.arange(len(codes)), ends, right=True)
        output = torch.full((len(codes), weight.codes.shape[1]), torch.nan)
        known = chosen < len(ends)
        numbers = codes.float() * scales[:, None]
        output[known] = torch.einsum("ti,toi->to", numbers[known], expanded(weight)[chosen[known]])
        return output.bfloat16()

    layer = next(module for _, module in experts.experts_modules(load(olmoe, "fp8")))
    torch.manual_seed(0)
    index = torch.randint(9, (30, 2))  # some models choose numbers beyond their experts
    given = layer, torch.randn(30, 128), index, torch.rand(30, 2)
    in_turn = experts.experts_forward(*given)
    monkeypatch.setattr(float8_products, "_all_experts", at_once)
    monkeypatch.setattr(float8_products, "groups", lambda _: True)
    torch.testing.assert_close(experts.experts_forward(*given), in_turn, rtol=0.02, atol=2e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_in_float8_gives_nearly_what_the_plain_one_gives(
    had: None, checkpoint: Path, dtype: torch.dtype
) -> None:
    if "gpt_oss" in str(checkpoint):
        pytest.skip("its experts are transposed, and refused")
    plain = last_states(AutoModel.from_pretrained(checkpoint, dtype=torch.float32))
    model = load(checkpoint, "fp8", dtype)
    assert torch.cosine_similarity(last_states(model).float(), plain, dim=-1).mean() > 0.99
    report = quantizer.check_quantized(model, "fp8")
    assert 1 < report.bytes_per_expert_weight < 1.05
    # Attention, routers, norms and embeddings stay, and gates of one output, which no kernel takes.
    linear = {name: type(module) is Float8Linear for name, module in model.named_modules() if hasattr(module, "bias")}
    assert not any(held for name, held in linear.items() if "attn" in name or "shared_expert_gate" in name)
    assert all(held for name, held in linear.items() if name.endswith(("gate_proj", "up_proj", "down_proj")))
    kept = {name for name, weight in model.named_parameters() if weight.dtype == dtype}
    assert any("norm" in name for name in kept) and any("embed" in name for name in kept)
    assert any(".mlp.gate.weight" in name or "router.weight" in name for name in kept)


def test_saved_and_loaded_again_gives_identical_states(had: None, olmoe: Path, tmp_path: Path) -> None:
    model = load(olmoe, "fp8")
    folder = quantizer.save_quantized(model, tmp_path / "saved")
    again = AutoModel.from_pretrained(folder, dtype=torch.float32)
    assert quantizer.stored_kind(again.config) == "fp8"
    assert torch.equal(last_states(again), last_states(model))


def test_an_encoder_says_float8_in_the_key_of_its_store(had: None, tiny_olmoe: Path) -> None:
    plain, encoder = (encoder_of(tiny_olmoe, dtype="bfloat16", device="cpu", quantize=kind) for kind in ("none", "fp8"))
    assert encoder.spec.quantize == "fp8" and encoder.spec.key() != plain.spec.key()
    found, known = (torch.from_numpy(each.encode(documents(8)).hidden_states) for each in (encoder, plain))
    assert torch.cosine_similarity(found, known, dim=-1).mean() > 0.95  # of 64 numbers, and of experts near a tie


def test_a_checkpoint_in_transformers_own_fp8_is_taken_as_it_is() -> None:
    foreign = OlmoeConfig(quantization_config={"quant_method": "fp8"})
    assert quantizer.quantized_as(foreign) == "fp8"
    assert quantizer.quantization_config(foreign, "fp8", "its/name") is None
    with pytest.raises(ModelError, match="is quantized already"):
        quantizer.quantization_config(foreign, "nf4", "its/name")


def test_experts_that_no_kernel_takes_are_refused(had: None, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "gpt_oss" in str(checkpoint):
        with pytest.raises(ModelError, match=r"'gpt_oss' cannot be quantized to fp8.*transposed.*Use quantize: int8"):
            load(checkpoint, "fp8")
        return
    monkeypatch.setattr(float8_products, "MULTIPLE", 1024)
    with pytest.raises(ModelError, match=r"their experts are \d+ x \d+, no multiples of 1024\. Use quantize: int8"):
        load.__wrapped__(checkpoint, "fp8")


@pytest.mark.slow
@pytest.mark.parametrize("model_type", sorted(FAMILIES.keys() - {"deepseek"}))
@torch.no_grad()
def test_experts_of_every_model_type_are_near_themselves_in_float8_or_refused(
    had: None, model_type: str, tmp_path: Path
) -> None:
    plain = tiny_model(tiny_config(model_type))
    plain.save_pretrained(tmp_path)
    try:
        model = load(tmp_path, "fp8")
        quantizer.check_quantized(model, "fp8")
    except ModelError as error:
        assert "cannot be quantized" in str(error) or "could not be found" in str(error)
        return
    # Layer by layer: of models so small a token that goes elsewhere has other states.
    layers = dict(experts.experts_modules(plain))
    for name, layer in experts.experts_modules(model):
        count, width, _ = layer.quantized_shapes["down_proj"]
        states, index, weights = torch.randn(20, width), torch.randint(count, (20, 2)), torch.rand(20, 2)
        found, known = (experts.experts_forward(each, states, index, weights) for each in (layer, layers[name]))
        assert float((found - known).norm() / known.norm()) < 0.1, name


def test_a_device_without_float8_says_what_it_has(olmoe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"fp8 is arithmetic of GPUs, and this is cpu\. For cpu there are w8a8, "):
        load_model(EncoderSettings(str(olmoe), quantize="fp8", device="cpu"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100")
    monkeypatch.setattr(float8_products, "lacking", float8_products.lacking.__wrapped__)
    with pytest.raises(
        ModelError, match=r"needs compute capability 8\.9, while NVIDIA A100 has 8\.0\. .*int8, nf4, none"
    ):
        float8_products.check_kernel("fp8", GPU)
    float8_products.check_kernel("nf4", GPU)


def test_the_rest_of_the_model_is_in_the_type_of_its_products(had: None, olmoe: Path) -> None:
    with pytest.raises(ModelError, match=r"gives bfloat16, and encoder\.dtype is float32\. Leave encoder\.dtype out"):
        load_model(EncoderSettings(str(olmoe), quantize="fp8", device="cpu", dtype="float32"))


def test_what_was_saved_in_float8_is_refused_where_it_cannot_be_read(
    olmoe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as had:
        had.setattr(float8_products, "lacking", lambda *_: "")
        folder = quantizer.save_quantized(load(olmoe, "fp8"), tmp_path / "saved")
    with pytest.raises(ModelError, match="arithmetic of GPUs"):
        load_model(EncoderSettings(str(folder), device="cpu"))


def test_products_and_weights_that_are_wrong_are_seen(had: None, olmoe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    float8_products.check_product(CPU, 80, 96)
    right = float8_products.product
    monkeypatch.setattr(float8_products, "product", lambda *given: right(*given) * 1.05)
    with pytest.raises(ValueError, match=r"off by 0\.05"):
        float8_products.check_product(CPU, 80, 96)
    monkeypatch.setattr(float8_products, "lacking", lambda *_: "this device is off by 0.050")
    with pytest.raises(ModelError, match=r"cannot be read in fp8: this device is off by 0\.050\. Use int8"):
        float8_products.check_weights(load(olmoe, "fp8"))


def test_without_triton_states_are_rounded_by_torch(caplog: pytest.LogCaptureFixture) -> None:
    assert float8_products.passes_for(CPU).name == "torch" and not caplog.text
