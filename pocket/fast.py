"""The training pass of ``OlmoeForCausalLM``, written for speed on a CPU and equal to the one of transformers.

Four things cost the stock pass its time on two cores: fp32 casts of small operations (here fused by ``torch.compile``),
the experts' gather and scatter (here one sort and plain matrix products), autograd's copies inside the experts, and the
loss over the vocabulary (here gradients are made chunk by chunk in the forward pass, so no logits are kept).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import OlmoeForCausalLM


def norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """RMSNorm as ``OlmoeRMSNorm`` computes it."""
    wide = x.float()
    return gain * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of ``[batch, heads, length, head_dim]``."""
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of ``[batch, heads, length, head_dim]``; on a CPU SDPA's backward pass is the slower one."""
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    length = q.size(2)
    ahead = torch.arange(length)[:, None] < torch.arange(length)
    scores = (q @ k.mT).float() * q.size(-1) ** -0.5
    return scores.masked_fill(ahead, float("-inf")).softmax(-1).to(v.dtype) @ v


def attend_and_route(
    x: Tensor, cos: Tensor, sin: Tensor, weights: tuple[Tensor, ...], heads: int, top_k: int, renorm: bool, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """All of a decoder layer before its experts.

    Returns:
        Residual stream, normed expert input, router probabilities ``[tokens, experts]``, chosen experts and their
        weights ``[tokens, top_k]``.
    """
    first, wq, wk, wv, gain_q, gain_k, wo, second, router = weights
    batch, length, width = x.shape
    h = norm(x, first, eps)
    q = norm(F.linear(h, wq), gain_q, eps).view(batch, length, heads, -1).transpose(1, 2)
    k = norm(F.linear(h, wk), gain_k, eps).view(batch, length, heads, -1).transpose(1, 2)
    v = F.linear(h, wv).view(batch, length, heads, -1).transpose(1, 2)
    mixed = attend(rotate(q, cos, sin), rotate(k, cos, sin), v)
    x = x + F.linear(mixed.transpose(1, 2).reshape(batch, length, width), wo)
    h = norm(x, second, eps).view(-1, width)
    probabilities = F.linear(h, router).float().softmax(-1)
    chosen_weights, chosen = probabilities.topk(top_k, dim=-1)
    if renorm:
        chosen_weights = chosen_weights / chosen_weights.sum(-1, keepdim=True)
    return x, h, probabilities, chosen, chosen_weights.to(x.dtype)


def gated(gate_up: Tensor, weight: Tensor) -> Tensor:
    """``silu(gate) * up * weight``: the routing weight goes in before the down projection, which is linear."""
    gate, up = gate_up.float().chunk(2, dim=-1)
    return (F.silu(gate) * up * weight.float()).to(gate_up.dtype)


def gated_backward(gate_up: Tensor, weight: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``gated`` by ``gate_up`` and ``weight``, and its value, recomputed."""
    gate, up = gate_up.float().chunk(2, dim=-1)
    wide, by = upstream.float(), weight.float()
    sigmoid = torch.sigmoid(gate)
    silu = gate * sigmoid
    d_weight = (wide * silu * up).sum(-1, keepdim=True)
    d_up = wide * by * silu
    d_gate = wide * by * up * (sigmoid + silu * (1 - sigmoid))
    both = torch.cat((d_gate, d_up), dim=-1).to(gate_up.dtype)
    return both, d_weight.to(weight.dtype), (silu * up * by).to(gate_up.dtype)


def chunk_loss(logits: Tensor, correction: Tensor, targets: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy of ``[tokens, vocabulary]`` and its gradient times ``scale``."""
    wide = logits.float() + correction
    lse = wide.logsumexp(-1, keepdim=True)
    ids = torch.arange(logits.size(-1), device=logits.device)
    hot = (ids == targets[:, None]).float()
    gradient = ((wide - lse).exp() - hot) * scale
    loss = (lse.squeeze(-1) - wide.gather(-1, targets[:, None]).squeeze(-1)).sum()
    return loss, gradient.to(logits.dtype)


class Kernels:
    """The four element-wise pieces, compiled or plain."""

    attend_and_route = staticmethod(attend_and_route)
    gated = staticmethod(gated)
    gated_backward = staticmethod(gated_backward)
    chunk_loss = staticmethod(chunk_loss)

    @classmethod
    def compile(cls) -> None:
        """Replace the pieces by compiled ones; shapes must then stay the same."""
        for name in ("attend_and_route", "gated", "gated_backward", "chunk_loss"):
            setattr(cls, name, staticmethod(torch.compile(globals()[name], dynamic=False, fullgraph=True)))


class SortedExperts(torch.autograd.Function):
    """SwiGLU experts as plain matrix products over tokens sorted by expert."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, chosen: Tensor, weights: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
        """Map ``h [tokens, hidden]`` to the weighted sum of its chosen experts, same shape."""
        tokens, top_k = chosen.shape
        order = chosen.flatten().argsort(stable=True)
        counts = torch.bincount(chosen.flatten(), minlength=len(gate_up)).tolist()
        inputs = h[order // top_k]
        by = weights.flatten()[order, None]
        inner = h.new_empty(len(order), gate_up.size(1))
        for x, w, out in zip(inputs.split(counts), gate_up, inner.split(counts), strict=True):
            torch.mm(x, w.T, out=out)
        active = Kernels.gated(inner, by)
        outputs = h.new_empty(len(order), h.size(1))
        for x, w, out in zip(active.split(counts), down, outputs.split(counts), strict=True):
            torch.mm(x, w.T, out=out)
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        ctx.save_for_backward(inputs, by, inner, order, back, gate_up, down)
        ctx.counts, ctx.top_k = counts, top_k
        return outputs[back].view(tokens, top_k, -1).sum(1)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Give the gradients of ``h``, ``weights``, ``gate_up`` and ``down``."""
        inputs, by, inner, order, back, gate_up, down = ctx.saved_tensors
        counts, top_k = ctx.counts, ctx.top_k
        d_outputs = upstream[0][order // top_k]
        d_active = inner.new_empty(len(order), down.size(2))
        for d, w, out in zip(d_outputs.split(counts), down, d_active.split(counts), strict=True):
            torch.mm(d, w, out=out)
        d_inner, d_by, active = Kernels.gated_backward(inner, by, d_active)
        d_gate_up, d_down, d_inputs = torch.empty_like(gate_up), torch.empty_like(down), torch.empty_like(inputs)
        parts = (d_outputs, active, d_inner, inputs, d_inputs)
        for e, (d_out, act, d_in, x, d_x) in enumerate(zip(*(part.split(counts) for part in parts), strict=True)):
            torch.mm(d_out.T, act, out=d_down[e])
            torch.mm(d_in.T, x, out=d_gate_up[e])
            torch.mm(d_in, gate_up[e], out=d_x)
        d_h = d_inputs[back].view(-1, top_k, inputs.size(1)).sum(1)
        return d_h, None, d_by.flatten()[back].view(-1, top_k), d_gate_up, d_down


@dataclass(frozen=True)
class Sample:
    """Part of the vocabulary that the softmax is taken over.

    Attributes:
        ids: ``[size]``, every target and a random draw of the rest.
        correction: ``[size]``, what makes each drawn one stand for those that were not: minus the log of its chance.
        targets: ``[tokens]``, places of the targets in ``ids``.
    """

    ids: Tensor
    correction: Tensor
    targets: Tensor

    @classmethod
    def draw(cls, targets: Tensor, vocabulary: int, size: int, seed: int) -> Sample:
        """Draw ``size`` ids; sampled softmax as in Jean et al. (2015, https://arxiv.org/abs/1412.2007)."""
        rest = torch.ones(vocabulary, dtype=torch.bool, device=targets.device)
        rest[targets] = False
        kept, others = (~rest).nonzero().squeeze(1), rest.nonzero().squeeze(1)
        order = torch.randperm(len(others), generator=torch.Generator().manual_seed(seed)).to(targets.device)
        drawn = others[order[: size - len(kept)]]
        ids = torch.cat([kept, drawn])
        correction = torch.zeros(len(ids), device=targets.device)
        correction[len(kept) :] = math.log(len(others) / max(len(drawn), 1)) if len(others) else 0.0
        places = torch.zeros(vocabulary, dtype=torch.long, device=targets.device)
        places[ids] = torch.arange(len(ids), device=targets.device)
        return cls(ids, correction, places[targets])


class VocabularyLoss(torch.autograd.Function):
    """Mean cross-entropy through the tied head; gradients are made in the forward pass, chunk by chunk."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, head: Tensor, correction: Tensor, targets: Tensor, chunk: int) -> Tensor:
        """Return the mean loss of ``h [tokens, hidden]`` against ``targets [tokens]``."""
        d_h, d_head = torch.empty_like(h), torch.zeros(head.shape, dtype=torch.float32, device=head.device)
        total = torch.zeros((), device=h.device)
        for start in range(0, len(h), chunk):
            part = slice(start, start + chunk)
            loss, gradient = Kernels.chunk_loss(h[part] @ head.T, correction, targets[part], 1.0 / len(h))
            total += loss
            torch.mm(gradient, head, out=d_h[part])
            d_head += gradient.T @ h[part]
        ctx.save_for_backward(d_h, d_head.to(head.dtype))
        return total / len(h)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the stored gradients."""
        d_h, d_head = ctx.saved_tensors
        return d_h * upstream[0], d_head * upstream[0], None, None, None


def language_loss(h: Tensor, head: Tensor, targets: Tensor, sample: tuple[int, int] | None, chunk: int) -> Tensor:
    """Next-token loss over the whole vocabulary, or over a sample of it given as ``(size, seed)``."""
    if sample is None or sample[0] >= len(head):
        return VocabularyLoss.apply(h, head, torch.zeros(len(head), device=h.device), targets, chunk)
    drawn = Sample.draw(targets, len(head), *sample)
    return VocabularyLoss.apply(h, F.embedding(drawn.ids, head), drawn.correction, drawn.targets, chunk)


@dataclass(frozen=True)
class Losses:
    """What one pass yields: the losses with gradients, and router statistics without."""

    language: Tensor
    balance: Tensor
    entropy: Tensor
    load: Tensor


def layer_weights(layer: Any) -> tuple[Tensor, ...]:
    """The weights ``attend_and_route`` takes, in its order."""
    a = layer.self_attn
    return (
        layer.input_layernorm.weight,
        a.q_proj.weight,
        a.k_proj.weight,
        a.v_proj.weight,
        a.q_norm.weight,
        a.k_norm.weight,
        a.o_proj.weight,
        layer.post_attention_layernorm.weight,
        layer.mlp.gate.weight,
    )


def losses(model: OlmoeForCausalLM, rows: Tensor, sample: tuple[int, int] | None = None, chunk: int = 2048) -> Losses:
    """Next-token loss and per-layer load-balancing loss of packed rows.

    Args:
        model: the model whose weights are used.
        rows: ``int64 [batch, length + 1]``.
        sample: size and seed of the part of the vocabulary that the loss is taken over; None is all of it.
        chunk: tokens per chunk of the vocabulary loss.

    Returns:
        The losses; ``entropy`` is the mean router entropy in nats per layer, ``load`` the share of choices
        per layer and expert ``[layers, experts]``.
    """
    config, core = model.config, model.model
    x = F.embedding(rows[:, :-1], core.embed_tokens.weight)
    cos, sin = core.rotary_emb(x, torch.arange(x.size(1), device=x.device)[None])
    cos, sin = cos[:, None], sin[:, None]
    balance, entropies, loads = [], [], []
    for layer in core.layers:
        x, h, p, chosen, weights = Kernels.attend_and_route(
            x,
            cos,
            sin,
            layer_weights(layer),
            config.num_attention_heads,
            config.num_experts_per_tok,
            config.norm_topk_prob,
            config.rms_norm_eps,
        )
        experts = layer.mlp.experts
        x = x + SortedExperts.apply(h, chosen, weights, experts.gate_up_proj, experts.down_proj).view_as(x)
        load = torch.bincount(chosen.flatten(), minlength=config.num_experts) / chosen.numel()
        balance.append(config.num_experts * (load * p.mean(0)).sum())
        entropies.append(-(p.detach() * p.detach().clamp_min(1e-9).log()).sum(-1).mean())
        loads.append(load)
    h = norm(x, core.norm.weight, config.rms_norm_eps).view(-1, x.size(-1))
    language = language_loss(h, core.embed_tokens.weight, rows[:, 1:].reshape(-1), sample, chunk)
    return Losses(language, torch.stack(balance).mean(), torch.stack(entropies), torch.stack(loads))
