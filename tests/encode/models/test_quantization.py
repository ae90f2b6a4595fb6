"""Experts in 4 or 8 bits: how many bytes they take, and that the forward is the stock one on the expanded weights."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_families import tiny_config, tiny_model
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, BitsAndBytesConfig

from moee_topics.encode.models import blockwise, deepseek, experts, families, quantization
from moee_topics.encode.models.blockwise import KINDS, Kind
from moee_topics.errors import InputError, ModelError

SMALL = {
    "vocab_size": 97,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "olmoe": {"num_experts": 8, "intermediate_size": 64},
    "qwen2_moe": {
        "num_experts": 8,
        "moe_intermediate_size": 64,
        "shared_expert_intermediate_size": 128,
        "intermediate_size": 128,
    },
    "mixtral": {"num_local_experts": 8, "intermediate_size": 192},
    "gpt_oss": {"num_local_experts": 8, "intermediate_size": 64, "head_dim": 32},
    "deepseek_v2": {
        "n_routed_experts": 8,
        "n_shared_experts": 2,
        "first_k_dense_replace": 1,
        "moe_intermediate_size": 64,
        "intermediate_size": 128,
        "kv_lora_rank": 64,
        "q_lora_rank": None,
        "qk_nope_head_dim": 32,
        "qk_rope_head_dim": 32,
        "v_head_dim": 32,
        "topk_method": "greedy",
    },
    "deepseek": {
        "n_routed_experts": 8,
        "n_shared_experts": 2,
        "first_k_dense_replace": 1,
        "moe_intermediate_size": 64,
        "intermediate_size": 128,
    },
}
IDS = torch.arange(34).view(2, 17) % 97


def make_checkpoint(family: str, folder: Path) -> Path:
    """A random checkpoint in hub layout: one tensor per expert and projection."""
    deepseek.register()
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **SMALL, **FAMILIES[family])
    model = AutoModel.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(std=0.05)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(request.param, tmp_path_factory.mktemp(request.param) / "model")


@pytest.fixture(scope="module")
def olmoe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint("olmoe", tmp_path_factory.mktemp("olmoe") / "model")


@cache
def load(folder: Path, kind: Kind, dtype: torch.dtype = torch.float32) -> Any:
    return AutoModel.from_pretrained(folder, quantization_config=quantization.BlockwiseConfig(kind), dtype=dtype)


def expanded_state(model: torch.nn.Module) -> dict[str, Tensor]:
    """The weights of a quantized model in the layout of the plain one."""
    state = {name: value for name, value in model.state_dict().items() if "_absmax" not in name}
    for path, module in model.named_modules():
        for name, shape in getattr(module, "quantized_shapes", {}).items():
            parts, kind = experts.quantized_parts(module, name), module.quantized_kind
            weight = blockwise.dequantize(parts[""], blockwise.scales(parts, kind), kind, torch.float32)
            state[f"{path}.{name}"] = weight.view(shape)
    return state


@torch.no_grad()
def last_states(model: Any) -> Tensor:
    return model(IDS, use_cache=False).last_hidden_state


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
    report = quantization.check_quantized(load(checkpoint, kind), kind)
    assert report.expert_weights > 0
    assert blockwise.BYTES_PER_WEIGHT[kind] <= report.bytes_per_expert_weight <= most


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
    folder = quantization.save_quantized(model, tmp_path / "saved")
    again = AutoModel.from_pretrained(folder, dtype=torch.float32)
    assert quantization.stored_kind(again.config) == kind
    assert quantization.check_quantized(again, kind) == quantization.check_quantized(model, kind)
    assert torch.equal(last_states(again), last_states(model))


def test_a_saved_checkpoint_is_safetensors_alone(olmoe: Path, tmp_path: Path) -> None:
    folder = quantization.save_quantized(load(olmoe, "nf4"), tmp_path / "saved")
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_saving_refuses_a_folder_that_exists_and_a_plain_model(olmoe: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        quantization.save_quantized(load(olmoe, "nf4"), tmp_path)
    with pytest.raises(ModelError, match="not quantized"):
        quantization.save_quantized(AutoModel.from_pretrained(olmoe), tmp_path / "new")


def test_stock_load_in_4bit_is_refused(olmoe: Path) -> None:
    stock = AutoModel.from_pretrained(olmoe, quantization_config=BitsAndBytesConfig(load_in_4bit=True))
    with pytest.raises(ModelError, match="not quantized"):
        quantization.check_quantized(stock, "nf4")


@pytest.mark.parametrize("kind", KINDS)
def test_the_grouped_forward_of_a_gpu_equals_the_one_by_one(checkpoint: Path, kind: Kind) -> None:
    layer = next(module for _, module in experts.experts_modules(load(checkpoint, kind)))
    torch.manual_seed(0)
    states, scores = torch.randn(50, 128), torch.rand(50, 2)
    chosen = torch.randint(0, 8, (50, 2))
    one_by_one = experts._one_by_one(layer, states, chosen, scores)
    torch.testing.assert_close(experts._grouped(layer, states, chosen, scores), one_by_one, atol=1e-5, rtol=1e-5)


def test_plain_experts_take_the_same_forward(checkpoint: Path) -> None:
    stock = AutoModel.from_pretrained(checkpoint, dtype=torch.float32, experts_implementation="eager")
    expected = last_states(stock)
    assert experts.use(stock) >= 1
    torch.testing.assert_close(last_states(stock), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_an_expert_gives_the_same_rows_whatever_its_neighbours(olmoe: Path, dtype: torch.dtype) -> None:
    layer = next(module for _, module in experts.experts_modules(load(olmoe, "nf4", dtype)))
    torch.manual_seed(0)
    states, scores, chosen = torch.randn(300, 128).to(dtype), torch.rand(300, 2), torch.randint(0, 8, (300, 2))
    together = experts.experts_forward(layer, states, chosen, scores)
    alone = experts.experts_forward(layer, states[:7], chosen[:7], scores[:7])
    torch.testing.assert_close(alone, together[:7], atol=0 if dtype == torch.bfloat16 else 1e-6, rtol=0)


# --- one weight -----------------------------------------------------------------------------------------------------

NF4 = [
    *(-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0),
    *(0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0),
]


def plain_dequantize(parts: dict[str, Tensor], kind: Kind) -> Tensor:
    """Written out: the codes of each block times the scale of the block."""
    absmax = blockwise.scales(parts, kind)[:, None]
    if kind == "int8":
        return parts[""].view(-1, 64).float() * absmax / 127
    codes = torch.stack([parts[""] >> 4, parts[""] & 15], dim=-1).view(-1, 64)
    return torch.tensor(NF4)[codes.long()] * absmax


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("columns", [64, 48, 96, 128])
def test_dequantize_equals_the_plain_one_also_for_odd_last_dimensions(kind: Kind, columns: int) -> None:
    torch.manual_seed(columns)
    weight = torch.randn(4, 64, columns)
    parts = blockwise.quantize(weight, kind)
    expanded = blockwise.dequantize(parts[""], blockwise.scales(parts, kind), kind, torch.float32)
    torch.testing.assert_close(expanded, plain_dequantize(parts, kind), atol=1e-6, rtol=1e-6)
    assert (expanded.view_as(weight) - weight).norm() / weight.norm() < {"nf4": 0.1, "int8": 0.01}[kind]


def test_every_nf4_code_is_the_nearest_value() -> None:
    torch.manual_seed(0)
    weight = torch.randn(64, 256)
    blocks = weight.view(-1, 64)
    scaled = blocks / blocks.abs().amax(dim=1, keepdim=True)
    nearest = (scaled[..., None] - torch.tensor(NF4)).abs().min(dim=-1).values
    codes = blockwise.quantize(weight, "nf4")[""]
    chosen = torch.tensor(NF4)[torch.stack([codes >> 4, codes & 15], dim=-1).view(-1, 64).long()]
    torch.testing.assert_close((scaled - chosen).abs(), nearest, atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_have_the_lengths_and_types_that_stored_as_says(kind: Kind) -> None:
    weight = torch.randn(3, 64, 80)
    parts = blockwise.quantize(weight, kind)
    layout = {ending: (len(part), part.dtype) for ending, part in parts.items()}
    assert layout == blockwise.stored_as(kind, weight.numel())


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_of_zeros_stays_zero(kind: Kind) -> None:
    weight = torch.randn(64, 64)
    weight[3] = 0
    parts = blockwise.quantize(weight, kind)
    expanded = blockwise.dequantize(parts[""], blockwise.scales(parts, kind), kind, torch.float32)
    assert torch.isfinite(expanded).all()
    assert not expanded.view(64, 64)[3].any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_matrix_that_is_no_whole_number_of_blocks_is_refused(kind: Kind) -> None:
    with pytest.raises(ModelError, match="multiple of 64"):
        blockwise.quantize(torch.randn(4, 3, 40), kind)


def test_experts_of_a_class_without_a_replaceable_forward_are_refused(tmp_path: Path) -> None:
    config = AutoConfig.for_model("jetmoe", **SMALL, num_local_experts=8, kv_channels=32, intermediate_size=64)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"jetmoe.*cannot be quantized"):
        load(tmp_path, "nf4")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ModelError, match="nf4"):
        quantization.BlockwiseConfig("fp4")  # type: ignore[arg-type]


def test_a_checkpoint_of_other_blocks_is_refused(olmoe: Path, tmp_path: Path) -> None:
    folder = quantization.save_quantized(load(olmoe, "nf4"), tmp_path / "saved")
    config = folder / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace('"block": 64', '"block": 32'), encoding="utf-8")
    with pytest.raises(ModelError, match="blocks of 32"):
        AutoModel.from_pretrained(folder)


def test_measure_counts_every_tensor_once(olmoe: Path) -> None:
    model = AutoModel.from_pretrained(olmoe, dtype=torch.bfloat16)
    report = quantization.measure(model)
    weights = sum(math.prod(p.shape) for n, p in model.named_parameters() if ".experts." in n)
    assert (report.expert_weights, report.bytes_per_expert_weight) == (weights, 2.0)
    buffers = sum(buffer.nbytes for buffer in model.buffers())
    assert report.tensor_bytes == 2 * sum(p.numel() for p in model.parameters()) + buffers


# --- every mixture in the library -----------------------------------------------------------------------------------

FAMILIES_OF_THE_LIBRARY = families.FAMILIES.keys() - {"deepseek"}
NOT_QUANTIZABLE = {"dbrx", "doge", "jetmoe", "llama4_text", "longcat_flash"}


@pytest.mark.slow
@pytest.mark.parametrize("model_type", sorted(FAMILIES_OF_THE_LIBRARY))
def test_every_model_type_quantizes_exactly_or_says_that_it_cannot(model_type: str, tmp_path: Path) -> None:
    plain = tiny_model(tiny_config(model_type))
    plain.save_pretrained(tmp_path)
    if model_type in NOT_QUANTIZABLE:
        with pytest.raises(ModelError, match=r"cannot be quantized|could not be found"):
            quantization.check_quantized(load(tmp_path, "nf4"), "nf4")
        return
    quantized = load(tmp_path, "nf4")
    quantization.check_quantized(quantized, "nf4")
    plain.load_state_dict(expanded_state(quantized))
    torch.testing.assert_close(last_states(quantized), last_states(plain), atol=1e-4, rtol=1e-4)
