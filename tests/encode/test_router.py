from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel
from transformers.utils.output_capturing import OutputRecorder

from moee_topics.encode.router import RouterCapture, find_routers, multi_hot, reading_of
from moee_topics.errors import ModelError


class Gate(nn.Module):
    def __init__(self, experts: int) -> None:
        super().__init__()
        self.experts = experts

    def forward(self, x: Tensor) -> tuple[str, Tensor]:
        return "scores", x[:, : self.experts]


class Outer(nn.Module):
    def __init__(self, experts: int = 2) -> None:
        super().__init__()
        self.gate = Gate(experts)

    def forward(self, x: Tensor) -> tuple[str, Tensor]:
        return self.gate(x)


class Model(nn.Module):
    """A model whose "routers" return the first columns of its input: logits known by eye."""

    _can_record_outputs: Any = {"router_logits": OutputRecorder(Gate, index=1)}  # noqa: RUF012

    def __init__(self, *experts: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Outer(count) for count in experts)

    def forward(self, x: Tensor) -> None:
        for i, layer in enumerate(self.layers):
            layer(x + i)


X = torch.tensor([[0.0, 1.0, 9.0], [2.0, 3.0, 9.0], [4.0, 5.0, 9.0]])


def last(states: Tensor) -> Tensor:
    return states[-1:]


def test_the_experts_with_the_highest_scores_are_ones() -> None:
    assert multi_hot(torch.tensor([[0.1, 3.0, -1.0, 2.0], [5.0, 1.0, 0.0, 2.0]]), 2).tolist() == [
        [0, 1, 0, 1],
        [1, 0, 0, 1],
    ]
    assert multi_hot(torch.tensor([[1.0, 2.0]]), 5).tolist() == [[1, 1]]


def test_logits_are_stacked_over_layers_in_order() -> None:
    model = Model(2, 2)
    with RouterCapture(find_routers(model), last, with_weights=False) as capture:
        model(X)
    assert capture.logits().tolist() == [[[4.0, 5.0], [5.0, 6.0]]]  # type: ignore[union-attr]
    assert capture.weights() is None


def test_pooling_happens_in_the_hook_and_only_its_result_is_kept() -> None:
    model, seen = Model(2, 2), []

    def watched(states: Tensor) -> Tensor:
        seen.append(tuple(states.shape))
        return last(states)

    with RouterCapture(find_routers(model), watched, with_weights=False) as capture:
        model(X)
    assert seen == [(3, 2), (3, 2)]
    assert all(kept.shape == (1, 2) for kept in capture._logits.values())


def test_the_softmax_is_taken_before_the_pooling() -> None:
    model = Model(2)
    with RouterCapture(find_routers(model), lambda states: states.mean(0, keepdim=True), with_weights=True) as capture:
        model(torch.tensor([[0.0, 0.0], [0.0, 100.0]]))
    torch.testing.assert_close(capture.weights(), torch.tensor([[[0.25, 0.75]]]))


def test_hooks_are_gone_after_the_capture_also_after_an_error() -> None:
    model = Model(2)
    with pytest.raises(ZeroDivisionError), RouterCapture(find_routers(model), last, with_weights=False):
        raise ZeroDivisionError
    assert not any(module._forward_hooks for module in model.modules())


def test_a_recorded_module_inside_a_recorded_module_counts_once() -> None:
    class Nested(Model):
        _can_record_outputs = {"router_logits": [OutputRecorder(Outer, index=1), OutputRecorder(Gate, index=1)]}  # noqa: RUF012

    assert [router.name for router in find_routers(Nested(2, 2))] == ["layers.0.gate", "layers.1.gate"]


def test_layers_of_different_width_are_refused() -> None:
    model = Model(2, 3)
    with RouterCapture(find_routers(model), last, with_weights=False) as capture:
        model(X)
    with pytest.raises(ModelError, match="same number of experts"):
        capture.logits()


def test_a_model_without_routers_has_none() -> None:
    assert find_routers(nn.Linear(2, 2)) == []
    with RouterCapture([], last, with_weights=True) as capture:
        pass
    assert capture.logits() is None


def test_recorded_probabilities_become_logits_whose_softmax_they_are() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(reading_of("gemma4_text")(probabilities).softmax(-1), probabilities)


def test_product_keys_become_one_score_for_each_pair() -> None:
    halves = torch.tensor([[[1.0, 2.0]], [[10.0, 20.0]]])
    assert reading_of("doge")(halves).tolist() == [[11.0, 21.0, 12.0, 22.0]]


def test_scores_with_a_batch_dimension_are_flattened() -> None:
    assert reading_of("mixtral")(torch.zeros(2, 3, 8)).shape == (6, 8)


def test_the_capture_equals_what_transformers_records_bit_for_bit(tiny_olmoe: Path) -> None:
    model = AutoModel.from_pretrained(tiny_olmoe, dtype=torch.float32).eval()
    assert AutoConfig.from_pretrained(tiny_olmoe).num_hidden_layers == len(find_routers(model)) == 2
    ids = torch.arange(1, 13).view(2, 6)
    with torch.no_grad(), RouterCapture(find_routers(model), lambda states: states, with_weights=False) as capture:
        recorded = model(ids, use_cache=False, output_router_logits=True).router_logits
    assert torch.equal(capture.logits(), torch.stack(recorded, dim=1))  # type: ignore[arg-type]
