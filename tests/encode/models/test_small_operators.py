"""What replaces the small operators of a model gives what they give, and is left out where it does not."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from model_families import DECODERS, every
from tiny_families import tiny_config, tiny_model
from torch import Tensor, nn
from transformers import AutoModel, Glm4MoeConfig, LlamaConfig
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.glm4_moe.modeling_glm4_moe import Glm4MoeTopkRouter
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm, apply_rotary_pos_emb

from moee_topics.encode.batching import Pack
from moee_topics.encode.kernels import numba_kernels
from moee_topics.encode.layout import last_states as states_of_pack
from moee_topics.encode.models import small_operators
from moee_topics.encode.models.attention import register
from moee_topics.encode.models.families import FAMILIES
from moee_topics.encode.models.small_operators import TORCH, Operators, operators_for

CPU = torch.device("cpu")


@torch.inference_mode()
def last_states(model: Any) -> Tensor:
    states: Tensor = model(torch.arange(1, 13)[None]).last_hidden_state
    return states


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


def test_a_gate_is_silu_of_the_first_half_times_the_second() -> None:
    product = random(5, 14)
    expected = product[:, :7] * product[:, :7].sigmoid() * product[:, 7:]
    torch.testing.assert_close(TORCH.gated(*product.chunk(2, dim=-1)), expected)


def test_a_sum_is_over_the_rows_of_each_token_and_leaves_out_what_no_expert_computed() -> None:
    rows, places, weights = random(6, 4), torch.tensor([[2, 0], [5, 1], [3, 4]]), random(3, 2)
    rows[5] = torch.nan
    expected = [weights[0, 0] * rows[2] + weights[0, 1] * rows[0], weights[1, 1] * rows[1]]
    expected += [weights[2, 0] * rows[3] + weights[2, 1] * rows[4]]
    torch.testing.assert_close(TORCH.weighted_sum(rows, places, weights, torch.tensor([5])), torch.stack(expected))


def test_rows_are_added_times_their_weights_where_their_tokens_lie() -> None:
    total, rows, weights = random(5, 4), random(4, 4), random(3)  # the last row is filler
    expected = total.clone()
    for row, token in enumerate((4, 0, 2)):
        expected[token] += rows[row] * weights[row]
    found = TORCH.with_rows_added(total, rows, weights, torch.tensor([4, 0, 2]))
    assert found is total
    torch.testing.assert_close(found, expected)


def test_a_rotation_is_that_of_the_families() -> None:
    queries, angles = random(1, 3, 5, 8), random(1, 5, 4).repeat(1, 1, 2)
    expected, _ = apply_rotary_pos_emb(queries, queries, angles.cos(), angles.sin())
    torch.testing.assert_close(TORCH.rotated(queries, angles.cos(), angles.sin()), expected)


def test_gates_of_experts_are_weighted() -> None:
    product, weights = random(5, 3, 14), random(5, 3)
    expected = TORCH.gated(*product.chunk(2, dim=-1)) * weights[..., None]
    torch.testing.assert_close(TORCH.gated_by_expert(product, weights), expected)


def test_a_processor_has_passes_of_its_own() -> None:
    assert set(operators_for(CPU, torch.bfloat16).passes) == {
        *("gated", "gated_by_expert", "with_rows_added", "rotated", "attended", "rms_norm", "routed"),
    }
    assert set(operators_for(CPU, torch.float32).passes) == {"gated", "gated_by_expert"}
    assert operators_for(CPU, torch.float16) is TORCH and TORCH.passes == ()


def test_where_numba_cannot_be_used_torch_computes_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "moee_topics.encode.kernels.numba_kernels", None)
    monkeypatch.delattr("moee_topics.encode.kernels.numba_kernels", raising=False)
    with caplog.at_level(logging.WARNING):
        assert small_operators._on_cpu(torch.float32) is TORCH
    assert len(caplog.messages) == 1 and "numba cannot be used" in caplog.messages[0]


def kernels(**others: Callable[..., Tensor]) -> SimpleNamespace:
    # A function of its own for each, as a module of kernels has them.
    own = {name: partial(getattr(TORCH, name)) for name in ("gated", "weighted_sum", "rotated")}
    return SimpleNamespace(ERRORS=(LookupError,), **{**own, **others})


def test_what_agrees_is_used() -> None:
    assert small_operators.checked("double", kernels(), CPU, torch.bfloat16).passes == (
        "gated",
        "weighted_sum",
        "rotated",
    )


def fails(*_: Tensor) -> Tensor:
    raise LookupError("no C compiler\nand more of it")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (fails, "no C compiler"),
        (lambda gate, up: gate * up, "its numbers are wrong"),
    ],
)
def test_what_fails_or_is_wrong_stays_torchs_with_one_line(
    broken: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = small_operators.checked("double", kernels(gated=broken), CPU, torch.float32)
    assert found.gated is TORCH.gated and found.passes == ("weighted_sum", "rotated")
    assert caplog.messages == [f"The pass gated of double is not used on cpu: {said}."]


def test_a_sum_in_place_that_is_wrong_is_found_out(caplog: pytest.LogCaptureFixture) -> None:
    wrong = kernels(with_rows_added=lambda total, rows, weights, tokens: total.index_add_(0, tokens, rows[:7].float()))
    assert "with_rows_added" not in small_operators.checked("double", wrong, CPU, torch.float32).passes
    assert "with_rows_added of double is not used on cpu: its numbers are wrong" in caplog.text


def with_passes(monkeypatch: pytest.MonkeyPatch, **others: Any) -> list[str]:
    """Gives this processor passes that note which of them was called."""
    called = []

    def noted(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *states: (called.append(name), function(*states))[1]

    norm = noted("rms_norm", small_operators.rms_norm)
    operators = replace(TORCH, name="double", rms_norm=norm, rotated=noted("rotated", TORCH.rotated))
    monkeypatch.setattr(small_operators, "operators_for", lambda *_: replace(operators, **others))
    return called


def test_a_model_gives_the_same_with_them(tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = AutoModel.from_pretrained(tiny_olmoe, dtype=torch.float32)
    expected, layers = last_states(model), model.config.num_hidden_layers
    called = with_passes(monkeypatch)
    assert small_operators.use(model, torch.float32) == {"rms_norm": 4 * layers + 1, "rotated": layers}
    called.clear()
    found = last_states(model)
    assert called.count("rms_norm") == 4 * layers + 1 and called.count("rotated") == 2 * layers
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_whoever_loads_a_model_keeps_the_random_numbers_that_come_next(
    tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = AutoModel.from_pretrained(tiny_olmoe, dtype=torch.float32)
    with_passes(monkeypatch)
    state = torch.get_rng_state()
    small_operators.use(model, torch.float32)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("model_type", every(DECODERS))
def test_a_family_computes_the_same_with_them(model_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    register()
    model = tiny_model(tiny_config(model_type))
    is_packed = FAMILIES[model_type].layout == "packed"
    pack = Pack((0, 1), (tuple(range(5, 40)), tuple(range(7, 30))), packed=is_packed)
    with torch.inference_mode():
        expected = states_of_pack(model, pack)
        with_passes(monkeypatch, routed=numba_kernels.routed)
        small_operators.use(model, torch.float32)
        torch.testing.assert_close(states_of_pack(model, pack), expected, atol=1e-4, rtol=1e-4)


def test_another_model_of_the_family_keeps_its_own(tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (AutoModel.from_pretrained(tiny_olmoe, dtype=torch.float32) for _ in range(2))
    called = with_passes(monkeypatch)
    small_operators.use(one, torch.float32)
    called.clear()
    last_states(other)
    assert called == []


def test_a_norm_or_a_rotation_of_another_formula_stays_and_each_class_is_told_once(
    tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with_passes(monkeypatch)
    norms = nn.ModuleList([LlamaRMSNorm(16), GemmaRMSNorm(16), GemmaRMSNorm(8), nn.RMSNorm(16)])
    assert small_operators.use(norms, torch.float32) == {"rms_norm": 1}
    assert caplog.messages == ["The pass rms_norm of double is not used for GemmaRMSNorm: its numbers are others."]
    model = AutoModel.from_pretrained(tiny_olmoe, dtype=torch.float32)
    with_passes(monkeypatch, rotated=lambda states, cos, sin: states * cos[:, None])
    assert "rotated" not in small_operators.use(model, torch.float32)
    assert "The pass rotated of double is not used for OlmoeAttention: its numbers are others." in caplog.messages


def test_a_norm_that_is_given_float32_computes_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    called = with_passes(monkeypatch)
    norm = LlamaRMSNorm(16).bfloat16()
    small_operators.use(norm, torch.bfloat16)
    called.clear()
    with torch.inference_mode():
        assert norm(random(3, 16)).dtype == torch.float32 and called == []


@pytest.mark.parametrize(("activation", "took"), [("silu", {"gated": 1}), ("gelu", {})])
def test_a_layer_with_a_gate_of_silu_takes_the_pass(
    activation: str, took: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = LlamaMLP(LlamaConfig(hidden_size=32, intermediate_size=24, hidden_act=activation))
    with_passes(monkeypatch, gated=lambda gate, up: TORCH.gated(gate, up))
    states = random(2, 5, 32)
    with torch.inference_mode():
        expected = layer(states)
        assert small_operators.use(layer, torch.float32) == took
        torch.testing.assert_close(layer(states), expected)


def router(groups: int) -> Any:
    """A router of 12 experts in groups, of which it takes half."""
    config = Glm4MoeConfig(hidden_size=16, n_routed_experts=12, num_experts_per_tok=4, n_group=groups)
    config.topk_group = max(1, groups // 2)
    found = Glm4MoeTopkRouter(config)
    nn.init.normal_(found.weight)
    return found


@pytest.mark.parametrize(("groups", "took"), [(1, {"routed": 1}), (2, {})])
def test_a_router_without_groups_takes_the_pass(groups: int, took: dict[str, int]) -> None:
    layer, states = router(groups), random(2, 5, 16).bfloat16()
    with torch.inference_mode():
        logits, weights, experts = layer(states)
        assert small_operators.use(layer, torch.bfloat16) == took
        found = layer(states)
    dense = torch.zeros(10, 12)
    assert torch.equal(found[0], logits)
    torch.testing.assert_close(dense.scatter(1, found[2], found[1]), dense.scatter(1, experts, weights))


def test_a_router_or_a_gate_that_weighs_otherwise_stays_and_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    layer = nn.ModuleList([router(1), LlamaMLP(LlamaConfig(hidden_size=32, intermediate_size=24))])
    plain_weights = {"routed": lambda logits, bias, k, *_: tuple(logits.sigmoid().topk(k))}
    with_passes(monkeypatch, gated=lambda gate, up: gate * up, **plain_weights)
    assert small_operators.use(layer, torch.float32) == {}
    assert [message.split(" is not used for ")[1] for message in caplog.messages] == [
        "LlamaMLP: its numbers are others.",
        "Glm4MoeTopkRouter: its numbers are others.",
    ]


def test_gradients_pass_through_the_modules_own_operators(tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = AutoModel.from_pretrained(tiny_olmoe, dtype=torch.float32)
    called = with_passes(monkeypatch, gated=lambda gate, up: TORCH.gated(gate, up))
    small_operators.use(model, torch.float32)
    called.clear()
    model(torch.arange(1, 13)[None]).last_hidden_state.sum().backward()
    assert called == [] and model.norm.weight.grad is not None


@torch.inference_mode()
def test_a_norm_that_has_moved_to_another_device_computes_there_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    called = with_passes(monkeypatch)
    norm = LlamaRMSNorm(16)
    small_operators.use(norm, torch.float32)
    assert norm(random(3, 16)).shape == (3, 16) and called
    called.clear()
    assert norm.to("meta")(torch.empty(3, 16, device="meta")).device.type == "meta" and called == []


def test_padded_rows_are_turned_by_the_family_itself(tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = AutoModel.from_pretrained(tiny_olmoe, dtype=torch.float32)
    ids = torch.arange(1, 13).view(2, 6)
    expected = model(ids).last_hidden_state
    called = with_passes(monkeypatch)
    small_operators.use(model, torch.float32)
    called.clear()
    torch.testing.assert_close(model(ids).last_hidden_state, expected)
    assert "rotated" not in called


def test_operators_name_what_is_not_torchs() -> None:
    assert Operators("own", rms_norm=small_operators.rms_norm).passes == ("rms_norm",)
