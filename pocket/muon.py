"""Muon and AdamW with fp32 master weights behind one ``step``, for a model whose parameters live in bf16."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

# Quintic coefficients of K. Jordan's Muon (https://kellerjordan.github.io/posts/muon, 2024).
QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Push the singular values of each matrix towards one by Newton-Schulz steps.

    Args:
        matrices: ``[batch, rows, columns]``.
        steps: iterations of the quintic.

    Returns:
        bf16 tensor of the same shape, singular values roughly in ``[0.7, 1.2]``.
    """
    a, b, c = QUINTIC
    wide = matrices.size(-2) <= matrices.size(-1)
    x = (matrices if wide else matrices.mT).to(torch.bfloat16)
    x = x / (x.float().norm(dim=(-2, -1), keepdim=True) + 1e-7).to(x.dtype)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide else x.mT


def orthogonalise_together(matrices: Tensor) -> Tensor:
    """``orthogonalise``, each of the running workers doing its share of the batch."""
    if not dist.is_initialized() or len(matrices) % dist.get_world_size():
        return orthogonalise(matrices)
    mine = orthogonalise(matrices.chunk(dist.get_world_size())[dist.get_rank()]).contiguous()
    whole = mine.new_empty(matrices.shape)
    dist.all_gather_single(whole.view(torch.uint8), mine.view(torch.uint8))
    return whole


@dataclass
class Slot:
    """A parameter, its fp32 master copy and its moments."""

    name: str
    parameter: nn.Parameter
    master: Tensor = field(init=False)
    first: Tensor = field(init=False)
    second: Tensor | None = None

    def __post_init__(self) -> None:
        """Copy the parameter to fp32 and start with empty moments."""
        self.master = self.parameter.detach().float().clone()
        self.first = torch.zeros_like(self.master)

    def write_back(self) -> None:
        """Round the master weights into the model and drop the gradient."""
        self.parameter.detach().copy_(self.master)
        self.parameter.grad = None


def is_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon takes this parameter: attention projections and experts, but no embedding, router or gain."""
    return parameter.ndim >= 2 and "embed" not in name and "lm_head" not in name and ".gate.weight" not in name


def as_matrices(name: str, tensor: Tensor) -> Tensor:
    """View a weight as ``[batch, rows, columns]``; the fused gate and up projections become two matrices."""
    if name.endswith("gate_up_proj"):
        experts, rows, columns = tensor.shape
        return tensor.view(2 * experts, rows // 2, columns)
    return tensor if tensor.ndim == 3 else tensor.unsqueeze(0)


class MuonAdamW:
    """Muon for matrices, AdamW for the rest.

    Args:
        model: its parameters may be bf16; the optimizer keeps the fp32 copies.
        muon_lr: peak learning rate of the matrices, before the factor ``sqrt(max(1, rows / columns))``.
        adam_lr: peak learning rate of embeddings, routers and gains.
        momentum: Nesterov momentum of Muon.
        betas: AdamW's.
        decay: decoupled weight decay of the matrices, times their learning rate.
    """

    def __init__(
        self,
        model: nn.Module,
        muon_lr: float = 0.02,
        adam_lr: float = 3e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.98),
        decay: float = 0.02,
    ) -> None:
        self.muon_lr, self.adam_lr, self.momentum, self.betas, self.decay = muon_lr, adam_lr, momentum, betas, decay
        slots = [Slot(name, parameter) for name, parameter in model.named_parameters()]
        self.matrices = [slot for slot in slots if is_matrix(slot.name, slot.parameter)]
        self.others = [slot for slot in slots if not is_matrix(slot.name, slot.parameter)]
        for slot in self.others:
            slot.second = torch.zeros_like(slot.master)
        self.steps = 0

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """Update every parameter at ``scale`` times its peak learning rate and clear the gradients."""
        self.steps += 1
        for slot in self.others:
            self._adam(slot, self.adam_lr * scale)
        for group in self._by_shape().values():
            self._muon(group, self.muon_lr * scale)
        for slot in self.matrices + self.others:
            slot.write_back()

    def _by_shape(self) -> dict[torch.Size, list[Slot]]:
        groups: dict[torch.Size, list[Slot]] = defaultdict(list)
        for slot in self.matrices:
            groups[as_matrices(slot.name, slot.master).shape[1:]].append(slot)
        return groups

    def _adam(self, slot: Slot, lr: float) -> None:
        gradient = slot.parameter.grad
        if gradient is None or slot.second is None:
            return
        gradient, (b1, b2) = gradient.float(), self.betas
        slot.first.lerp_(gradient, 1 - b1)
        slot.second.mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
        spread = (slot.second / (1 - b2**self.steps)).sqrt_().add_(1e-8)
        slot.master.addcdiv_(slot.first, spread, value=-lr / (1 - b1**self.steps))

    def _muon(self, slots: list[Slot], lr: float) -> None:
        updates = []
        for slot in slots:
            gradient = slot.parameter.grad
            gradient = torch.zeros_like(slot.master) if gradient is None else gradient.float()
            slot.first.lerp_(gradient, 1 - self.momentum)
            updates.append(as_matrices(slot.name, gradient.lerp_(slot.first, self.momentum)))
        whole = orthogonalise_together(torch.cat(updates)).float()
        factor = max(1.0, whole.size(-2) / whole.size(-1)) ** 0.5
        for slot, part in zip(slots, whole.split([len(update) for update in updates]), strict=True):
            slot.master.mul_(1 - lr * self.decay).sub_(part.reshape(slot.master.shape), alpha=lr * factor)

    def state_dict(self) -> dict[str, Any]:
        """Return master weights and moments by parameter name, and the step count."""
        slots = self.matrices + self.others
        return {"steps": self.steps, "slots": {s.name: (s.master, s.first, s.second) for s in slots}}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned and write it into the model."""
        self.steps = state["steps"]
        for slot in self.matrices + self.others:
            master, first, second = state["slots"][slot.name]
            slot.master.copy_(master)
            slot.first.copy_(first)
            if slot.second is not None:
                slot.second.copy_(second)
            slot.write_back()
