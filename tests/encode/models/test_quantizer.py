"""A mixture in 4 or 8 bits: what its experts take, and that it is the stock model on the expanded weights."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from quantized_models import SMALL, expanded_state, last_states, load
from tiny_families import tiny_config, tiny_model
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, BitsAndBytesConfig

from moee_topics.encode.models import families, quantizer
from moee_topics.encode.quantization import bitsandbytes_blocks
from moee_topics.encode.quantization.bitsandbytes_blocks import KINDS
from moee_topics.encode.settings import Kind
from moee_topics.errors import InputError, ModelError


@pytest.mark.parametrize("kind", KINDS)
def test_forward_is_the_stock_eager_one_on_the_expanded_weights(checkpoint: Path, kind: Kind) -> None:
    quantized = load(checkpoint, kind)
    stock = AutoModel.from_pretrained(checkpoint, dtype=torch.float32, experts_implementation="eager")
    stock.load_state_dict(expanded_state(quantized))
    torch.testing.assert_close(last_states(quantized), last_states(stock), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_expanded_weights_are_near_the_given_ones(checkpoint: Path, kind: Kind) -> None:
    plain = AutoModel.from_pretrained(checkpoint, dtype=torch.float32).state_dict()
    for name, weight in expanded_state(load(checkpoint, kind)).items():
        error = (weight - plain[name]).norm() / plain[name].norm()
        assert error < {"nf4": 0.12, "int8": 0.01}[kind], name


@pytest.mark.parametrize(("kind", "most"), [("nf4", 0.53), ("int8", 1.07)])
def test_experts_take_the_bytes_that_the_kind_allows(checkpoint: Path, kind: Kind, most: float) -> None:
    report = quantizer.check_quantized(load(checkpoint, kind), kind)
    assert report.expert_weights > 0
    assert bitsandbytes_blocks.BYTES_PER_WEIGHT[kind] <= report.bytes_per_expert_weight <= most


@pytest.mark.parametrize("kind", KINDS)
def test_linear_layers_are_quantized_and_routers_norms_and_small_gates_are_not(checkpoint: Path, kind: Kind) -> None:
    model = load(checkpoint, kind, torch.bfloat16)
    sixteen_bit = {name for name, p in model.named_parameters() if p.dtype == torch.bfloat16}
    assert any("norm" in name for name in sixteen_bit)
    assert any(".mlp.gate.weight" in name or "router.weight" in name for name in sixteen_bit)
    assert not any(name.endswith("_proj.weight") for name in sixteen_bit)
    assert all("shared_expert_gate" in n for n, m in model.named_modules() if type(m) is torch.nn.Linear)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_again_gives_identical_states(checkpoint: Path, kind: Kind, tmp_path: Path) -> None:
    model = load(checkpoint, kind)
    folder = quantizer.save_quantized(model, tmp_path / "saved")
    again = AutoModel.from_pretrained(folder, dtype=torch.float32)
    assert quantizer.stored_kind(again.config) == kind
    assert quantizer.check_quantized(again, kind) == quantizer.check_quantized(model, kind)
    assert torch.equal(last_states(again), last_states(model))


def test_a_saved_checkpoint_is_safetensors_alone(olmoe: Path, tmp_path: Path) -> None:
    folder = quantizer.save_quantized(load(olmoe, "nf4"), tmp_path / "saved")
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_saving_refuses_a_folder_that_exists_and_a_plain_model(olmoe: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        quantizer.save_quantized(load(olmoe, "nf4"), tmp_path)
    with pytest.raises(ModelError, match=r"not quantized by this package.* quantize: int8, nf4 or fp8"):
        quantizer.save_quantized(AutoModel.from_pretrained(olmoe), tmp_path / "new")


def test_stock_load_in_4bit_is_refused(olmoe: Path) -> None:
    stock = AutoModel.from_pretrained(olmoe, quantization_config=BitsAndBytesConfig(load_in_4bit=True))
    with pytest.raises(ModelError, match="not quantized"):
        quantizer.check_quantized(stock, "nf4")


def test_experts_of_a_class_without_a_replaceable_forward_are_refused(tmp_path: Path) -> None:
    config = AutoConfig.for_model("jetmoe", **SMALL, num_local_experts=8, kv_channels=32, intermediate_size=64)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"jetmoe.*cannot be quantized"):
        load(tmp_path, "nf4")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'fp4' is not known\. Known are: auto, none, .*nf4"):
        quantizer.BlockwiseConfig("fp4")  # type: ignore[arg-type]


def test_a_checkpoint_of_other_blocks_is_refused(olmoe: Path, tmp_path: Path) -> None:
    folder = quantizer.save_quantized(load(olmoe, "nf4"), tmp_path / "saved")
    config = folder / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"block": 64', '"block": 32'), encoding="utf-8")
    with pytest.raises(ModelError, match="blocks of 32"):
        AutoModel.from_pretrained(folder)


def test_measure_counts_every_tensor_once(olmoe: Path) -> None:
    model = AutoModel.from_pretrained(olmoe, dtype=torch.bfloat16)
    report = quantizer.measure(model)
    weights = sum(math.prod(p.shape) for n, p in model.named_parameters() if ".experts." in n)
    assert (report.expert_weights, report.bytes_per_expert_weight) == (weights, 2.0)
    buffers = sum(buffer.nbytes for buffer in model.buffers())
    assert report.tensor_bytes == 2 * sum(p.numel() for p in model.parameters()) + buffers


FAMILIES_OF_THE_LIBRARY = families.FAMILIES.keys() - {"deepseek"}
NOT_QUANTIZABLE = {"dbrx", "doge", "jetmoe", "llama4_text", "longcat_flash"}


@pytest.mark.slow
@pytest.mark.parametrize("model_type", sorted(FAMILIES_OF_THE_LIBRARY))
def test_every_model_type_quantizes_exactly_or_says_that_it_cannot(model_type: str, tmp_path: Path) -> None:
    plain = tiny_model(tiny_config(model_type))
    plain.save_pretrained(tmp_path)
    if model_type in NOT_QUANTIZABLE:
        with pytest.raises(ModelError, match=r"cannot be quantized|could not be found"):
            quantizer.check_quantized(load(tmp_path, "nf4"), "nf4")
        return
    quantized = load(tmp_path, "nf4")
    quantizer.check_quantized(quantized, "nf4")
    plain.load_state_dict(expanded_state(quantized))
    torch.testing.assert_close(last_states(quantized), last_states(plain), atol=1e-4, rtol=1e-4)
