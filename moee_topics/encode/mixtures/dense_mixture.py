"""A carved mixture as it learns: with every neuron computed.

Those of idle groups are multiplied by 0, which is the same sum and lets the router see what an idle group would have
given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class DenseMixture(nn.Module):
    """The feed-forward of a ``Glm4MoeMoE`` with every neuron computed: the shared ones first, then group by group."""

    def __init__(self, moe: Any) -> None:
        super().__init__()
        self.size = moe.config.moe_intermediate_size
        self.heard: list[Tensor] | None = None
        self.gate, shared, experts = moe.gate, moe.shared_experts, moe.experts
        gate_up = experts.gate_up_proj.detach()
        self.gate_proj = nn.Parameter(
            torch.cat([shared.gate_proj.weight, gate_up[:, : self.size].flatten(0, 1)]).detach()
        )
        self.up_proj = nn.Parameter(torch.cat([shared.up_proj.weight, gate_up[:, self.size :].flatten(0, 1)]).detach())
        down = experts.down_proj.detach().transpose(0, 1).flatten(1)
        self.down_proj = nn.Parameter(torch.cat([shared.down_proj.weight, down], dim=1).detach())

    def forward(self, states: Tensor) -> Tensor:
        """Of (..., hidden) the same shape."""
        flat = states.reshape(-1, states.shape[-1])
        weights = self.group_weights(flat)
        shared = weights.new_ones(len(flat), len(self.gate_proj) // self.size - weights.shape[1])
        gate, up = functional.linear(flat, self.gate_proj), functional.linear(flat, self.up_proj)
        active = functional.silu(gate.float()) * up.float()
        active = active.view(len(flat), -1, self.size) * torch.cat([shared, weights], dim=1)[:, :, None]
        added: Tensor = functional.linear(active.view(gate.shape).to(gate.dtype), self.down_proj).view_as(states)
        return added

    def group_weights(self, flat: Tensor) -> Tensor:
        """Each group's weight, (tokens, groups): 0 for idle ones, whose gradient is that of a chosen one."""
        # The model itself routes in float32: in bfloat16 other groups would be chosen than at work.
        with torch.autocast(flat.device.type, enabled=False):
            logits = functional.linear(flat.float(), self.gate.weight.float())
        if self.heard is not None:
            self.heard.append(logits)
        scores = logits.sigmoid()
        chosen = (scores.detach() + self.gate.e_score_correction_bias).topk(self.gate.top_k, dim=1).indices
        mask = torch.zeros_like(scores).scatter_(1, chosen, 1.0)
        weights = scores * (self.gate.routed_scaling_factor / (scores * mask).sum(1, keepdim=True))
        # Straight-through: forward an idle group has no weight, backward the gradient of a chosen one.
        through: Tensor = weights - weights.detach() * (1 - mask)
        return through

    @torch.no_grad()
    def unfold(self) -> dict[str, Tensor]:
        """The weights under the names of the original mixture."""
        first = len(self.gate_proj) - self.gate.num_experts * self.size
        gate, up = (w[first:].view(-1, self.size, w.shape[1]) for w in (self.gate_proj, self.up_proj))
        down = self.down_proj[:, first:].reshape(len(self.down_proj), -1, self.size).transpose(0, 1)
        return {
            "gate.weight": self.gate.weight,
            "gate.e_score_correction_bias": self.gate.e_score_correction_bias,
            "experts.gate_up_proj": torch.cat([gate, up], dim=1),
            "experts.down_proj": down.contiguous(),
            "shared_experts.gate_proj.weight": self.gate_proj[:first],
            "shared_experts.up_proj.weight": self.up_proj[:first],
            "shared_experts.down_proj.weight": self.down_proj[:, :first].contiguous(),
        }


def densify(model: Any) -> None:
    """Puts ``DenseMixture`` in the place of every mixture."""
    for layer in model.layers:
        if hasattr(layer.mlp, "experts"):
            layer.mlp = DenseMixture(layer.mlp)


@contextmanager
def logits_of(model: Any) -> Iterator[list[Tensor]]:
    """The router logits of a densified model's forward, (tokens, groups) a layer, with their gradients."""
    logits: list[Tensor] = []
    mixtures = [layer.mlp for layer in model.layers if isinstance(layer.mlp, DenseMixture)]
    for mixture in mixtures:
        mixture.heard = logits
    try:
        yield logits
    finally:
        for mixture in mixtures:
            mixture.heard = None


def undensified(model: Any) -> dict[str, Tensor]:
    """The state of a densified model under the names that its class saves."""
    state = {name: weight for name, weight in model.state_dict().items() if ".mlp." not in name}
    for index, layer in enumerate(model.layers):
        parts = layer.mlp.unfold() if isinstance(layer.mlp, DenseMixture) else layer.mlp.state_dict()
        state |= {f"layers.{index}.mlp.{name}": weight for name, weight in parts.items()}
    return state
