"""One pass over a row gives what torch's operators give, and no row sees another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from moee_topics.encode.kernels import numba_kernels
from moee_topics.encode.models import small_operators

CPU = torch.device("cpu")
TOKENS, HEADS, EXPERTS = 37, 3, 5


def random(dtype: torch.dtype, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def norm(states: Tensor) -> Tensor:
    return numba_kernels.rms_norm(states, torch.linspace(0.5, 2.0, states.shape[-1]), 1e-5)


def gate_of_halves(product: Tensor) -> Tensor:
    return numba_kernels.gated(*product.chunk(2, dim=-1))


def gate_by_expert(product: Tensor) -> Tensor:
    weights = torch.linspace(-1.0, 2.0, EXPERTS).clamp_min(0).expand(len(product), -1).contiguous()
    return numba_kernels.gated_by_expert(product.view(len(product), EXPERTS, -1), weights).flatten(1)


def rotation(states: Tensor) -> Tensor:
    angles = torch.linspace(0.0, 3.0, 14).repeat(2).expand(1, len(states), -1)  # every token at the same place
    by_head = states.view(1, len(states), HEADS, -1).transpose(1, 2)
    return numba_kernels.rotated(by_head, angles.cos(), angles.sin())[0].transpose(0, 1).flatten(1)


def attention(documents: Tensor) -> Tensor:
    """Documents of five tokens, each with two queries, a key and a value of 20 numbers."""
    by_token = documents.view(len(documents), 5, 4, 20).transpose(1, 2)
    return numba_kernels.attended(*by_token.split([2, 1, 1], dim=1)).transpose(1, 2).flatten(1)


def routing(logits: Tensor) -> Tensor:
    """The weight of each expert, of which two are taken."""
    weights, experts = numba_kernels.routed(logits.float(), torch.linspace(0.2, 0.0, logits.shape[1]), 2, True, 3.0)
    return torch.zeros(logits.shape).scatter_(1, experts, weights)


def rows_added(rows: Tensor) -> Tensor:
    weights, total = torch.full((len(rows),), 0.3), torch.ones(len(rows), rows.shape[-1])
    return numba_kernels.with_rows_added(total, rows, weights, torch.arange(len(rows)))


PASSES: tuple[tuple[Callable[[Tensor], Tensor], int], ...] = (
    *((norm, 83), (gate_of_halves, 2 * 83)),
    *((gate_by_expert, EXPERTS * 2 * 21), (rotation, HEADS * 28), (attention, 5 * 4 * 20), (rows_added, 83)),
    (routing, 7),
)
every_pass = pytest.mark.parametrize(("run", "width"), PASSES, ids=lambda value: getattr(value, "__name__", ""))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_all_passes_agree_with_torch(dtype: torch.dtype) -> None:
    found = small_operators.checked("numba", numba_kernels, CPU, dtype)
    assert set(found.passes) == {"gated", "gated_by_expert", "with_rows_added", "rotated", "attended"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_norm_is_that_of_the_formula(dtype: torch.dtype) -> None:
    states = random(dtype, 2, TOKENS, 83)
    plain = states.float() * (states.float().pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt() * torch.linspace(0.5, 2, 83)
    torch.testing.assert_close(norm(states), plain.to(dtype))


@pytest.mark.parametrize("is_normed", [True, False])
def test_experts_are_chosen_by_sigmoid_and_bias_and_weighted_without_it(is_normed: bool) -> None:
    logits, bias = random(torch.float32, TOKENS, 24), torch.linspace(-0.2, 0.2, 24)
    weights, experts = numba_kernels.routed(logits, bias, 5, is_normed, 2.5)
    chosen = (logits.sigmoid() + bias).topk(5).indices
    assert torch.equal(experts, chosen.sort().values)
    plain = logits.sigmoid().gather(1, experts)
    torch.testing.assert_close(weights, 2.5 * plain / (plain.sum(1, keepdim=True) if is_normed else 1))


def test_of_experts_with_equal_scores_the_first_are_chosen() -> None:
    _, experts = numba_kernels.routed(torch.zeros(2, 6), torch.zeros(6), 4, True, 1.0)
    assert experts.tolist() == [[0, 1, 2, 3]] * 2


def test_attention_is_that_of_the_formula_with_another_scale_and_narrower_values() -> None:
    query, key, value = (random(torch.float32, 3, heads, 7, size) for heads, size in ((4, 33), (2, 33), (2, 12)))
    scores = query @ key.repeat_interleave(2, dim=1).transpose(2, 3) * 0.3 + torch.full((7, 7), -torch.inf).triu(1)
    plain = scores.softmax(dim=-1) @ value.repeat_interleave(2, dim=1)
    torch.testing.assert_close(numba_kernels.attended(query, key, value, 0.3), plain)


def test_numbers_are_rounded_to_the_nearest_even() -> None:
    up = torch.tensor([[1.0, -1.0, 1.0, 3.0]]).bfloat16()
    gate = torch.tensor([[1.0, 2.0, 1e30, torch.inf]]).bfloat16()
    torch.testing.assert_close(numba_kernels.gated(gate, up), (gate.float().sigmoid() * gate.float() * up).bfloat16())


def test_rows_are_added_where_their_tokens_lie_and_fillers_nowhere() -> None:
    total, rows = torch.zeros(4, 2), torch.tensor([[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]).bfloat16()
    found = numba_kernels.with_rows_added(total, rows, torch.tensor([2.0, 0.5]), torch.tensor([3, 1]))
    assert found is total and total.tolist() == [[0, 0], [1.5, 2], [0, 0], [2, 4]]


@every_pass
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_row_has_the_same_bits_among_others_and_in_threads(
    run: Callable[[Tensor], Tensor], width: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, threads: None
) -> None:
    states = random(dtype, TOKENS, width)
    expected = run(states)
    assert torch.equal(run(states[20:23]), expected[20:23])
    monkeypatch.setattr(numba_kernels, "NUMBERS_PER_THREAD", 16)
    assert torch.equal(run(states), expected)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@every_pass
def test_a_row_that_is_not_finite_spoils_itself_alone(run: Callable[[Tensor], Tensor], width: int) -> None:
    states = random(torch.bfloat16, 4, width)
    expected = run(states)
    states[1] = torch.nan
    found = run(states)
    assert torch.isnan(found[1]).any() and torch.equal(found[[0, 2, 3]], expected[[0, 2, 3]])
