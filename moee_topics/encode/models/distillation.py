"""Distillation of a carved mixture against its own dense parent.

Every neuron of the parent is still there, only not always used: what has to be learned is which groups to take and how
to make do without the others. Targets are what the parent makes of the same tokens: the last hidden states, their mean
over a text with each dimension brought to deviation 1 (cosines of raw means are near 1 whatever is lost), and a few
layers between.

All neurons are computed and those of idle groups multiplied by 0, which is the same sum and lets the router see what an
idle group would have given.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from moee_topics.encode.models import fourbit
from moee_topics.encode.models.settings import DistilSettings
from moee_topics.errors import InputError
from moee_topics.store import atomic_path

CHECKPOINT = "state.safetensors"


@dataclass
class Texts:
    """Token ids of many texts, one after the other, and where each ends."""

    tokens: np.ndarray
    ends: np.ndarray
    starts: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.starts = np.concatenate([[0], self.ends[:-1]])

    def check(self, settings: DistilSettings) -> None:
        """Refuses texts of which too few are as long as a length of the settings.

        Raises:
            InputError: one step could not be filled without a text coming twice.
        """
        for length in settings.lengths:
            long = int((self.ends - self.starts >= length).sum())
            if long < settings.batch // length:
                raise InputError(
                    f"Only {long} of the {len(self.ends)} texts have {length} tokens; a step of {settings.batch} "
                    f"takes {settings.batch // length}. Give more or longer texts, smaller lengths or a smaller batch."
                )

    def pieces(self, length: int, seed: int) -> Iterator[np.ndarray]:
        """Stretches of ``length`` tokens without end: half of them a text's beginning, half from anywhere in it."""
        sizes = self.ends - self.starts
        fit = np.flatnonzero(sizes >= length)
        for turn in range(1_000_000):  # the passes over all texts, each in an order of its own
            rng = np.random.default_rng([seed, length, turn])
            for text in rng.permutation(fit):
                offset = 0 if rng.random() < 0.5 else int(rng.integers(0, sizes[text] - length + 1))
                start = self.starts[text] + offset
                yield self.tokens[start : start + length]


class DenseMixture(nn.Module):
    """The feed-forward of a ``Glm4MoeMoE`` with every neuron computed: the shared ones first, then group by group."""

    def __init__(self, moe: Any) -> None:
        super().__init__()
        self.size = moe.config.moe_intermediate_size
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
        with torch.autocast("cpu", enabled=False):
            scores = functional.linear(flat.float(), self.gate.weight.float()).sigmoid()
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
        self.model = model
        self.middle: dict[int, Tensor] = {}
        for index in (layer for layer in layers if layer < len(model.layers)):
            model.layers[index].register_forward_hook(partial(self._keep, index))

    def _keep(self, index: int, _module: Any, _inputs: Any, output: Any) -> None:
        self.middle[index] = output[0] if isinstance(output, tuple) else output

    def __call__(self, ids: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Of token ids (texts, tokens), computed in bfloat16."""
        self.middle = {}
        with torch.autocast("cpu", dtype=torch.bfloat16):
            last = self.model(input_ids=ids, use_cache=False).last_hidden_state
        return last.float(), dict(self.middle)


@dataclass
class Scales:
    """Deviations of the parent's states, by which errors are divided, and the mean and deviation of its means."""

    hidden: Tensor
    middle: dict[int, Tensor]
    pooled: dict[int, Tensor]


@torch.no_grad()
def measure_scales(teacher: Outputs, texts: Texts, settings: DistilSettings, *, texts_each: int = 256) -> Scales:
    """Deviation of each dimension over tokens (the first of a text left out), and of means over texts by length."""
    hidden: list[Tensor] = []
    middle: dict[int, list[Tensor]] = {}
    pooled: dict[int, Tensor] = {}
    for length in settings.lengths:
        means = []
        pieces = texts.pieces(length, settings.seed + 1)
        for _ in range(max(1, texts_each * length // settings.batch)):
            ids = torch.from_numpy(np.stack([next(pieces) for _ in range(settings.batch // length)]).astype(np.int64))
            last, between = teacher(ids)
            means.append(last.mean(1))
            # Without the first token of a text, an attention sink whose states are of another order.
            hidden.append(last[:, 1:].flatten(0, 1).var(0))
            for index, states in between.items():
                middle.setdefault(index, []).append(states[:, 1:].float().flatten(0, 1).var(0))
        pooled[length] = torch.cat(means).std(0)
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
    middle = [
        ((between[i][:, 1:].float() - targets[i][:, 1:].float()) / scales.middle[i]).square().mean() for i in between
    ]
    return {"pooled": pooled, "hidden": hidden, "middle": torch.stack(middle).mean() if middle else pooled * 0}


def learning_rate(step: int, done: float, warm_up: int) -> float:
    """Share of the peak rate when a share of the way is ``done``: up in a line, down along a cosine to a twentieth."""
    return min(1.0, (step + 1) / max(1, warm_up)) * (0.05 + 0.475 * (1 + float(np.cos(np.pi * min(1.0, done)))))


class Rounding:
    """Weights as they are in four bits while a step is computed; their gradients go to the exact ones."""

    def __init__(self, model: nn.Module, scales: dict[str, Tensor] | None = None) -> None:
        # A rounded router would choose other groups, which costs more than its few bytes save.
        matrices = {n: p for n, p in model.named_parameters() if p.dim() == 2 and p.requires_grad}
        self.weights = {name: weight for name, weight in matrices.items() if not name.endswith("mlp.gate.weight")}
        self.scales = scales or {name: fourbit.block_scales(weight) for name, weight in self.weights.items()}

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Rounds, and puts the exact weights back."""
        exact = {name: weight.data for name, weight in self.weights.items()}
        for name, weight in self.weights.items():
            weight.data = fourbit.rounded(weight.data, self.scales[name])
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
        self.student, self.teacher = student, Outputs(teacher, settings.layers)
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
        self.scales: Scales | None = None
        self.rounding: Rounding | None = None

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
            self.scales = measure_scales(self.teacher, self.texts, self.settings)
        pieces = {length: self.texts.pieces(length, self.settings.seed) for length in self.settings.lengths}
        for step in range(self.step):  # the texts go on where the checkpoint stopped
            self._batch(pieces, step)
        saved = time.monotonic()
        while self.done < 1:
            report(self._learn(self._batch(pieces, self.step)))
            if time.monotonic() - saved > self.settings.checkpoint_seconds:
                self.save()
                saved = time.monotonic()
        self.save()

    def _batch(self, pieces: dict[int, Iterator[np.ndarray]], step: int) -> Tensor:
        length = self.settings.lengths[step % len(self.settings.lengths)]
        rows = [next(pieces[length]) for _ in range(max(1, self.settings.batch // length))]
        return torch.from_numpy(np.stack(rows).astype(np.int64))

    def _learn(self, ids: Tensor) -> dict[str, Any]:
        began = time.monotonic()
        assert self.scales is not None
        with torch.no_grad():
            target = self.teacher(ids)
        s = self.settings
        if self.rounding is None and self.done >= s.round_after:
            # Weights that bear rounding are bad without it (error 0.31 for 0.08, benchmarks/LOG.md): keep the others.
            self.save("before_rounding.safetensors")
            self.rounding = Rounding(self.student)
        self.optimizer.zero_grad(set_to_none=True)
        with self.rounding() if self.rounding else nullcontext():
            parts = errors(self.outputs(ids), target, self.scales)
            loss = s.pooled * parts["pooled"] + s.hidden * parts["hidden"] + s.middle * parts["middle"]
            loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], 1.0)
        for group, factor in zip(self.optimizer.param_groups, self.factors, strict=True):
            group["lr"] = s.rate * factor * learning_rate(self.step, self.done, s.warm_up)
        self.optimizer.step()
        self.step += 1
        took = time.monotonic() - began
        self.seconds += took
        numbers = {name: round(float(value.detach()), 5) for name, value in parts.items()}
        return {
            "step": self.step,
            "length": ids.shape[1],
            **numbers,
            "norm": round(float(norm), 3),
            "took": round(took, 2),
        }

    def save(self, name: str = CHECKPOINT) -> None:
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
        place = {"step": self.step, "seconds": self.seconds, "settings": asdict(self.settings)}
        with atomic_path(self.folder / name) as unfinished:
            contiguous = {key: value.contiguous() for key, value in tensors.items()}
            save_file(contiguous, unfinished, metadata={"place": json.dumps(place)})

    def resume(self) -> None:
        """Takes up the checkpoint of the folder if there is one.

        Raises:
            InputError: it is damaged, or was written with other settings.
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
        if place["settings"] != json.loads(json.dumps(asdict(self.settings))):  # JSON has no tuples
            raise InputError(
                f"The checkpoint in {self.folder} was written with other settings ({place['settings']}). Use those, or "
                "another folder."
            )
        self._take(tensors)
        self.step, self.seconds = place["step"], place["seconds"]

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


def tokenized(tokenizer: Any, texts: Iterable[str], *, longest: int = 1024) -> Texts:
    """Texts as one row of token ids, each cut at ``longest``."""
    rows = [tokenizer(text, truncation=True, max_length=longest)["input_ids"] for text in texts]
    rows = [row for row in rows if row]
    if not rows:
        raise InputError("There is no text to learn from. Give a corpus with at least some hundred texts.")
    return Texts(np.concatenate([np.array(row, np.int32) for row in rows]), np.cumsum([len(row) for row in rows]))
