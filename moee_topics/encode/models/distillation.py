"""Distillation of a carved mixture against its own dense parent, and after it learning from pairs of passages.

Every neuron of the parent is still there, only not always used: what has to be learned is which groups to take and how
to make do without the others. Targets are what the parent makes of the same tokens: the last hidden states, their mean
over a text with each dimension brought to deviation 1 (cosines of raw means are near 1 whatever is lost), and a few
layers between.

The parent was made to write, not to compare texts. For a last share of the way the mixture may therefore learn without
labels that two passages of one text belong together: their means are to be nearer to each other than to those of all
other passages of the step (InfoNCE; for decoders and encoders as in arXiv 2006.03659, 2112.09118 and 2308.03281).

All neurons are computed and those of idle groups multiplied by 0, which is the same sum and lets the router see what an
idle group would have given.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from moee_topics.encode.models import int4_blocks
from moee_topics.encode.models.passages import Passages, Texts
from moee_topics.encode.models.settings import DistilSettings
from moee_topics.errors import InputError, ModelError
from moee_topics.store import atomic_path

CHECKPOINT = "state.safetensors"

_NOT_ROUNDED = ("embed_tokens.weight", "mlp.gate.weight")
"""Embeddings are kept in eight bits; a rounded router would choose other groups, for a few bytes."""

_REFIT_STEPS = 50
_REFIT_UNTIL = 0.85
"""How often, and until what share of the way, the scales of rounded weights are looked for anew."""


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


class Outputs:
    """The last hidden states of a model and its residual stream after some layers."""

    def __init__(self, model: Any, layers: tuple[int, ...]) -> None:
        self.model, self.device = model, next(model.parameters()).device
        self.middle: dict[int, Tensor] = {}
        for index in (layer for layer in layers if layer < len(model.layers)):
            model.layers[index].register_forward_hook(partial(self._keep, index))

    def _keep(self, index: int, _module: Any, _inputs: Any, output: Any) -> None:
        self.middle[index] = output[0] if isinstance(output, tuple) else output

    def __call__(self, ids: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Of token ids (texts, tokens), computed in bfloat16."""
        self.middle = {}
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            last = self.model(input_ids=ids.to(self.device), use_cache=False).last_hidden_state
        return last.float(), dict(self.middle)


@dataclass
class Scales:
    """Deviations of the parent's states, by which errors are divided, and the mean and deviation of its means."""

    hidden: Tensor
    middle: dict[int, Tensor]
    pooled: dict[int, Tensor]


@torch.no_grad()
def measure_scales(teacher: Outputs, passages: Passages, *, texts_each: int = 256) -> Scales:
    """Deviation of each dimension over tokens (the first of a text left out), and of means over texts by length."""
    hidden: list[Tensor] = []
    middle: dict[int, list[Tensor]] = {}
    means: dict[int, list[Tensor]] = {}
    settings = passages.settings
    steps = {length: max(1, texts_each * length // settings.batch) for length in settings.lengths}
    for step in range(len(settings.lengths) * max(steps.values())):
        length = settings.lengths[step % len(settings.lengths)]
        if step // len(settings.lengths) >= steps[length]:
            continue
        last, between = teacher(torch.from_numpy(passages.stretches(step)))
        means.setdefault(length, []).append(last.mean(1))
        # Without the first token of a text, an attention sink whose states are of another order.
        hidden.append(last[:, 1:].flatten(0, 1).var(0))
        for index, states in between.items():
            middle.setdefault(index, []).append(states[:, 1:].float().flatten(0, 1).var(0))
    pooled = {length: torch.cat(parts).std(0) for length, parts in means.items()}
    deviations = {index: torch.stack(variances).mean(0).sqrt() for index, variances in middle.items()}
    return Scales(torch.stack(hidden).mean(0).sqrt(), deviations, pooled)


def errors(
    student: tuple[Tensor, dict[int, Tensor]], parent: tuple[Tensor, dict[int, Tensor]], scales: Scales
) -> dict[str, Tensor]:
    """Mean squared errors in units of the parent's own variance: of means, last states and layers between."""
    (last, between), (target, targets) = student, parent
    length = last.shape[1]
    pooled = ((last.mean(1) - target.mean(1)) / scales.pooled[length]).square().mean()
    hidden = ((last[:, 1:] - target[:, 1:]) / scales.hidden).square().mean()
    parts = {"pooled": pooled, "hidden": hidden}
    if between:
        parts["middle"] = middle_error(between, targets, scales)
    return parts


def middle_error(between: dict[int, Tensor], targets: dict[int, Tensor], scales: Scales) -> Tensor:
    """Mean squared error of the layers between, the first token of a text left out."""
    layers = [
        ((between[i][:, 1:].float() - targets[i][:, 1:].float()) / scales.middle[i]).square().mean() for i in between
    ]
    return torch.stack(layers).mean()


def contrast(vectors: Tensor, temperature: float) -> Tensor:
    """InfoNCE of the cosines of (2 * pairs, dimensions), a pair's passages in row i of either half.

    All other passages of the step are what a passage is told from, those of its own half too.
    """
    rows = functional.normalize(vectors.float(), dim=1)
    cosines = (rows @ rows.T / temperature).fill_diagonal_(float("-inf"))
    partners = torch.arange(len(rows), device=rows.device).roll(len(rows) // 2)
    return functional.cross_entropy(cosines, partners)


def learning_rate(step: int, done: float, warm_up: int) -> float:
    """Share of the peak rate when a share of the way is ``done``: up in a line, down along a cosine to a twentieth."""
    return min(1.0, (step + 1) / max(1, warm_up)) * (0.05 + 0.475 * (1 + float(np.cos(np.pi * min(1.0, done)))))


def check_four_bits(model: nn.Module, settings: DistilSettings) -> None:
    """Refuses what cannot be stored as it learned.

    Raises:
        InputError: the matrices do not learn, and would be rounded all the same.
        ModelError: a matrix has rows that blocks do not divide.
    """
    if settings.learn != "all":
        raise InputError(
            f"four_bits rounds the matrices, which learn={settings.learn!r} is to leave as they are. Give one of both."
        )
    for name, weight in model.named_parameters():
        if weight.dim() >= 2 and weight.shape[-1] % int4_blocks.BLOCK and not name.endswith(_NOT_ROUNDED):
            raise ModelError(
                f"{name} has rows of {weight.shape[-1]} weights, and four bits are stored in blocks of "
                f"{int4_blocks.BLOCK}. Learn without four_bits, or carve groups whose size is a multiple of it."
            )


class Rounding:
    """Weights as they are in four bits while a step is computed; their gradients go to the exact ones."""

    def __init__(self, model: nn.Module, scales: dict[str, Tensor] | None = None) -> None:
        matrices = {n: p for n, p in model.named_parameters() if p.dim() == 2}
        self.weights = {name: weight for name, weight in matrices.items() if not name.endswith(_NOT_ROUNDED)}
        self.scales = scales or {}
        if not scales:
            self.fit_scales()

    def fit_scales(self) -> None:
        """Looks for the scales anew: weights that learn for long leave the grid they began on."""
        self.scales = {name: int4_blocks.block_scales(weight) for name, weight in self.weights.items()}

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Rounds, and puts the exact weights back."""
        rounded = {name: int4_blocks.rounded(weight.data, self.scales[name]) for name, weight in self.weights.items()}
        with self.shown(rounded):
            yield

    @contextmanager
    def shown(self, values: dict[str, Tensor]) -> Iterator[None]:
        """Values in the place of the weights, and the weights back."""
        exact = {name: weight.data for name, weight in self.weights.items()}
        for name, weight in self.weights.items():
            weight.data = values[name].view(weight.shape)
        try:
            yield
        finally:
            for name, weight in self.weights.items():
                weight.data = exact[name]


class Trainer:
    """One distillation: model, optimizer, texts and where it stands."""

    def __init__(self, student: Any, teacher: Any, texts: Texts, folder: Path, settings: DistilSettings) -> None:
        texts.check(settings)
        self.settings, self.folder, self.texts = settings, folder, texts
        self.device = next(student.parameters()).device
        self.student, self.teacher = student, Outputs(teacher, settings.layers)
        if settings.four_bits:
            check_four_bits(student, settings)
        densify(student)
        student.embed_tokens.requires_grad_(False)
        if settings.learn == "routers_and_norms":
            for name, weight in student.named_parameters():
                weight.requires_grad_(weight.dim() == 1 or name.endswith("mlp.gate.weight"))
        self.outputs = Outputs(student, settings.layers)
        routers = [p for name, p in student.named_parameters() if name.endswith("mlp.gate.weight")]
        numbers = {id(p) for p in routers}  # tensors have no truth value, so none is looked for in a list
        rest = [p for p in student.parameters() if p.requires_grad and id(p) not in numbers]
        self.factors = (1.0, settings.router_rate)
        self.optimizer = torch.optim.AdamW(
            [{"params": rest}, {"params": routers}], lr=settings.rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
        )
        self.step, self.seconds = 0, 0.0
        self.pairs_from: int | None = None
        self.passages = Passages(texts, settings)
        self.scales: Scales | None = None
        self.rounding: Rounding | None = None

    def stored_scales(self) -> dict[str, Tensor]:
        """The scale of each block of the rounded weights, under the names that the mixture's class saves."""
        assert self.rounding is not None
        with self.rounding.shown(
            {n: s.float().repeat_interleave(int4_blocks.BLOCK) for n, s in self.rounding.scales.items()}
        ):
            # Spread over their blocks the scales go the way of the weights they belong to.
            spread = undensified(self.student)
        matrices = {n: w for n, w in spread.items() if w.dim() >= 2 and not n.endswith(_NOT_ROUNDED)}
        return {name: spread[..., :: int4_blocks.BLOCK].reshape(-1).half().cpu() for name, spread in matrices.items()}

    @property
    def steps(self) -> int:
        """Steps of the whole distillation."""
        return max(1, self.settings.tokens // self.settings.batch)

    @property
    def done(self) -> float:
        """Share of the way, by tokens or by hours, whichever is further."""
        hours = self.settings.hours
        return max(self.step / self.steps, self.seconds / (3600 * hours) if hours else 0.0)

    def run(self, report: Callable[[dict[str, Any]], None]) -> None:
        """Learns until the tokens or the hours are used up; goes on from the folder's checkpoint."""
        self.resume()
        if self.scales is None:
            self.scales = measure_scales(self.teacher, Passages(self.texts, self.settings, seed=self.settings.seed + 1))
        for step in range(self.step):  # the texts go on where the checkpoint stopped
            self._batch(step)
        saved = time.monotonic()
        while self.done < 1:
            if self.pairs_from is None and self.done >= 1 - self.settings.pairs:
                self.pairs_from = self.step
                self.optimizer.state.clear()  # moments of other errors would misguide the first steps
            report(self._learn(self._batch(self.step)))
            if time.monotonic() - saved > self.settings.checkpoint_seconds:
                self.save()
                saved = time.monotonic()
        self.save()

    def _batch(self, step: int) -> Tensor:
        in_pairs = self.pairs_from is not None and step >= self.pairs_from
        ids = self.passages.pairs(step) if in_pairs else self.passages.stretches(step)
        return torch.from_numpy(ids).to(self.device)

    def _learn(self, ids: Tensor) -> dict[str, Any]:
        began = time.monotonic()
        s = self.settings
        if s.four_bits and self.rounding is None and self.done >= s.round_after:
            self.rounding = Rounding(self.student)
        elif self.rounding and self.step % _REFIT_STEPS == 0 and self.done < _REFIT_UNTIL:
            self.rounding.fit_scales()
        self.optimizer.zero_grad(set_to_none=True)
        with self.rounding() if self.rounding else nullcontext():
            parts = self._parent_errors(ids) if self.pairs_from is None else self._pair_errors(ids)
            loss = torch.stack([weight * error for weight, error in parts.values()]).sum()
            loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], 1.0)
        for group, factor in zip(self.optimizer.param_groups, self.factors, strict=True):
            group["lr"] = factor * self._rate()
        self.optimizer.step()
        self.step += 1
        took = time.monotonic() - began
        self.seconds += took
        numbers = {name: round(float(error.detach()), 5) for name, (_, error) in parts.items()}
        return {
            "step": self.step,
            "length": ids.shape[1],
            **numbers,
            "norm": round(float(norm), 3),
            "took": round(took, 2),
        }

    def _parent_errors(self, ids: Tensor) -> dict[str, tuple[float, Tensor]]:
        """Weight and value of each error against the parent."""
        assert self.scales is not None
        with torch.no_grad():
            target = self.teacher(ids)
        parts = errors(self.outputs(ids), target, self.scales)
        return {name: (getattr(self.settings, name), error) for name, error in parts.items()}

    def _pair_errors(self, ids: Tensor) -> dict[str, tuple[float, Tensor]]:
        """Weight and value of the errors of pairs, of means and of routing, and of the layers between."""
        assert self.scales is not None
        s = self.settings
        with logits_of(self.student) as logits:
            last, between = self.outputs(ids)
        parts = {"pairs": (1.0, contrast(last.mean(1), s.temperature))}
        if s.pair_routing:
            routing = torch.cat([layer.view(*ids.shape, -1).mean(1) for layer in logits], dim=1)
            # As it is read: each logit standardized over texts, here over those of the step.
            center, deviation = routing.mean(0).detach(), routing.std(0).detach().clamp_min(1e-6)
            parts["routing"] = (s.pair_routing, contrast((routing - center) / deviation, s.temperature))
        if s.pair_middle and between:
            with torch.no_grad():
                _, targets = self.teacher(ids)
            parts["middle"] = (s.pair_middle, middle_error(between, targets, self.scales))
        return parts

    def _rate(self) -> float:
        """Each of the two stages warms up and is let down by itself."""
        s = self.settings
        if self.pairs_from is None:
            return s.rate * learning_rate(self.step, self.done / max(1 - s.pairs, 1e-9), s.warm_up)
        done = (self.done - (1 - s.pairs)) / s.pairs
        return s.pair_rate * learning_rate(self.step - self.pairs_from, done, s.warm_up)

    def save(self) -> None:
        """Writes weights, optimizer and place, so that a kill at any moment leaves a whole checkpoint.

        Raises:
            ResourceError: the disk is full.
        """
        tensors = {f"model {key}": weight for key, weight in self.student.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer {number} {key}": value for key, value in moments.items()}
        if self.scales:
            tensors["scales hidden"] = self.scales.hidden
            tensors |= {f"scales middle {layer}": value for layer, value in self.scales.middle.items()}
            tensors |= {f"scales pooled {length}": value for length, value in self.scales.pooled.items()}
        if self.rounding:
            tensors |= {f"rounding {key}": value for key, value in self.rounding.scales.items()}
        place = {
            "step": self.step,
            "seconds": self.seconds,
            "pairs_from": self.pairs_from,
            "settings": asdict(self.settings),
            "texts": self.texts.digest,
        }
        with atomic_path(self.folder / CHECKPOINT) as unfinished:
            contiguous = {key: value.contiguous() for key, value in tensors.items()}
            save_file(contiguous, unfinished, metadata={"place": json.dumps(place)})

    def resume(self) -> None:
        """Takes up the checkpoint of the folder if there is one.

        Raises:
            InputError: it is damaged, or was written with other settings or texts.
        """
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        try:
            with safe_open(path, "pt") as file:
                place = json.loads(file.metadata()["place"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"The checkpoint {path} is damaged ({error}). Delete it, and the distillation starts anew."
            ) from error
        now = json.loads(json.dumps(asdict(self.settings)))  # JSON has no tuples
        # How often the place is kept changes nothing that is learned.
        if place["settings"] | {"checkpoint_seconds": now["checkpoint_seconds"]} != now:
            raise InputError(
                f"The checkpoint in {self.folder} was written with other settings ({place['settings']}). Use those, or "
                "another folder."
            )
        if place.get("texts", self.texts.digest) != self.texts.digest:
            raise InputError(
                f"The checkpoint in {self.folder} was written with other texts, or in another order. Use those, or "
                "another folder."
            )
        self._take({key: tensor.to(self.device) for key, tensor in tensors.items()})
        self.step, self.seconds, self.pairs_from = place["step"], place["seconds"], place["pairs_from"]

    def _take(self, tensors: dict[str, Tensor]) -> None:
        """Puts the tensors of a checkpoint back to where :meth:`save` had them."""
        self.student.load_state_dict(_below("model", tensors))
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _below("optimizer", tensors).items():
            number, name = key.split(" ")
            moments.setdefault(int(number), {})[name] = value
        # The rates of the groups are set anew at every step.
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        if scales := _below("scales", tensors):
            middle, pooled = _below("middle", scales), _below("pooled", scales)
            self.scales = Scales(
                scales["hidden"],
                {int(layer): value for layer, value in middle.items()},
                {int(length): value for length, value in pooled.items()},
            )
        if rounding := _below("rounding", tensors):
            self.rounding = Rounding(self.student, rounding)


def _below(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of one part of a checkpoint, under their names in it."""
    return {key.removeprefix(f"{part} "): value for key, value in tensors.items() if key.startswith(f"{part} ")}
