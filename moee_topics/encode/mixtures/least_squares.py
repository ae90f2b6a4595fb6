"""Down projections of a carved mixture, fitted anew layer by layer, to make up for the groups that are idle.

What idle groups would have added is no longer there, and later layers read what is left. The active neurons say much of
it: each layer's down projections are those with which the residual stream comes nearest to the dense model's, by
ridge regression from what the mixture itself has at that layer, the errors of the layers before it included.

The mean of the idle groups would be a bias, which no layer of ``Glm4MoeModel`` has (docs/decisions/11): neurons that
are always active, the shared ones, take over what of it they can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from moee_topics.encode.mixtures.finished_layers import FinishedLayers

RIDGE = 0.1
"""Weight that keeps a projection as it was, in units of the mean square of a neuron over tokens."""

# Of SmolLM2-135M in k-means groups, 12 of 24 active, fitted on 16,384 tokens: the error of texts' means against the
# dense model falls from 0.30 to 0.19 of their variance, that of the last states from 0.49 to 0.40 (8,192 other tokens).


@torch.no_grad()
def fit_down_projections(
    model: PreTrainedModel,
    dense: PreTrainedModel,
    rows: Sequence[Sequence[int]],
    *,
    finished: FinishedLayers | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Changes the down projections of every mixture of a model in place, the first layer first.

    Args:
        model: the mixture, with the donor's layers in their order.
        dense: its donor.
        rows: token ids of the calibration texts. All of a layer's tokens are in memory together.
        finished: changes of layers that were computed before, to which the others are added.
        progress: called with the layers done.

    Raises:
        ResourceError: the disk of the finished layers is full.
    """
    finished, done = finished or FinishedLayers(), count(1)
    length = max(map(len, rows))
    # Padded on the right, where no token of the text can see it.
    ids = torch.tensor([[*row, *[row[0]] * (length - len(row))] for row in rows])
    real = torch.arange(length) < torch.tensor([len(row) for row in rows])[:, None]
    streams = _Streams(dense, ids)

    def fit(index: int, mixture: Any, arguments: tuple[Tensor]) -> None:
        if stored := finished.read(f"down-{index:04}"):
            change = stored["change"]
        else:
            active = active_neurons(mixture, arguments[0][real])
            lacking = (streams.dense - streams.mixture)[real] - active @ _down(mixture)
            # The first token of a text, an attention sink of another order, is no part of the scale; but it is fitted,
            # since later layers need what its neurons write as it was.
            change = ridge(active, lacking, float(active[~_first(real)].square().mean()) * RIDGE)
            finished.write(f"down-{index:04}", {"change": change})
        _add(mixture, change)
        progress(next(done))

    with streams.followed(model, fit):
        model(input_ids=ids, use_cache=False)


class _Streams:
    """The residual streams of a mixture and of its donor at one layer, (texts, tokens, hidden), as the mixture runs.

    Attributes:
        dense: the donor's behind the layer.
        mixture: the mixture's before its feed-forward, which is to make up for the rest.
    """

    mixture: Tensor

    def __init__(self, donor: Any, ids: Tensor) -> None:
        self.layers, self.dense = donor.layers, donor.get_input_embeddings()(ids)

    @contextmanager
    def followed(self, model: Any, fit: Callable[[int, Any, tuple[Tensor]], None]) -> Iterator[None]:
        """While open, each layer of the model moves both on, and its mixture is fitted before it computes."""
        handles = []
        for index, layer in enumerate(model.layers):
            handles.append(layer.register_forward_pre_hook(partial(self._enter, index), with_kwargs=True))
            if hasattr(layer.mlp, "experts"):
                handles.append(layer.post_attention_layernorm.register_forward_pre_hook(self._keep))
                handles.append(layer.mlp.register_forward_pre_hook(partial(fit, index)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, index: int, _layer: Any, _arguments: Any, options: dict[str, Any]) -> None:
        self.dense = self.layers[index](self.dense, **options)

    def _keep(self, _norm: Any, arguments: tuple[Tensor]) -> None:
        self.mixture = arguments[0]


def ridge(inputs: Tensor, targets: Tensor, per_row: float) -> Tensor:
    """The matrix (n, m) by which inputs (rows, n) come nearest to targets (rows, m), with a penalty on its square."""
    gram = (inputs.T @ inputs).double()
    gram.diagonal().add_(per_row * len(inputs) + 1e-9)
    solution: Tensor = torch.linalg.solve(gram, (inputs.T @ targets).double())
    return solution.float()


def active_neurons(mixture: Any, inputs: Tensor) -> Tensor:
    """What each neuron of a mixture holds, the shared ones first, those of idle groups 0: (tokens, neurons)."""
    experts, shared = mixture.experts, mixture.shared_experts
    _, weights, chosen = mixture.gate(inputs)
    spread = weights.new_zeros(len(inputs), experts.num_experts).scatter_(1, chosen, weights)
    both = nn.functional.linear(inputs, experts.gate_up_proj.flatten(0, 1)).view(len(inputs), experts.num_experts, -1)
    gate, up = both.chunk(2, dim=-1)
    routed = experts.act_fn(gate) * up * spread[:, :, None]
    always = shared.act_fn(shared.gate_proj(inputs)) * shared.up_proj(inputs)
    return torch.cat([always, routed.flatten(1)], dim=1)


def _down(mixture: Any) -> Tensor:
    """The down projections of a mixture, (neurons, hidden), the shared neurons first."""
    routed = mixture.experts.down_proj.transpose(1, 2).flatten(0, 1)
    return torch.cat([mixture.shared_experts.down_proj.weight.T, routed])


def _add(mixture: Any, change: Tensor) -> None:
    shared, routed = mixture.shared_experts.down_proj.weight, mixture.experts.down_proj
    count = shared.shape[1]
    shared += change[:count].T
    routed += change[count:].view(len(routed), -1, routed.shape[1]).transpose(1, 2)


def _first(real: Tensor) -> Tensor:
    """Which of the real tokens, one after the other, are the first of their text."""
    starts = torch.zeros_like(real)
    starts[:, 0] = True
    return starts[real]
