"""Distillation of a carved mixture against its own dense parent, and after it learning from pairs of passages.

Every neuron of the parent is still there, only not always used: what has to be learned is which groups to take and how
to make do without the others.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from moee_topics.encode.mixtures.dense_mixture import densify, logits_of
from moee_topics.encode.mixtures.distillation_errors import (
    Outputs,
    Scales,
    contrast,
    errors,
    measure_scales,
    middle_error,
)
from moee_topics.encode.mixtures.passages import Passages, Texts
from moee_topics.encode.mixtures.rounding import Rounding, check_four_bits
from moee_topics.encode.mixtures.settings import DistilSettings
from moee_topics.errors import InputError, ModelError
from moee_topics.store import atomic_path

CHECKPOINT = "state.safetensors"

_REFIT_STEPS = 50
_REFIT_UNTIL = 0.85
"""How often, and until what share of the way, the scales of rounded weights are looked for anew."""


def learning_rate(step: int, done: float, warm_up: int) -> float:
    """Share of the peak rate when a share of the way is ``done``: up in a line, down along a cosine to a twentieth."""
    return min(1.0, (step + 1) / max(1, warm_up)) * (0.05 + 0.475 * (1 + float(np.cos(np.pi * min(1.0, done)))))


_DEFAULT_LAYERS = (5, 11, 17, 23)

_ABOVE_ZERO = ("rate", "pair_rate", "temperature")
_NOT_NEGATIVE = (
    *("hours", "router_rate", "pooled", "hidden", "middle", "pairs", "pair_routing", "pair_middle"),
    *("round_after", "warm_up", "seed"),
)


def settled(settings: DistilSettings, depth: int) -> DistilSettings:
    """The settings for a mixture of so many layers, with the layers that are compared.

    Raises:
        InputError: a setting is not a number, or out of the range that can be learned with; or there is no such layer.
    """
    for name in _ABOVE_ZERO:
        if not 0 < getattr(settings, name) < math.inf:
            raise InputError(f"{name} is above 0 and finite, got {getattr(settings, name)}.")
    for name in _NOT_NEGATIVE:
        if not 0 <= (getattr(settings, name) or 0) < math.inf:
            raise InputError(f"{name} is 0 or more and finite, got {getattr(settings, name)}.")
    if settings.round_after > 1:
        raise InputError(f"round_after is a share of the way from 0 to 1, got {settings.round_after}.")
    for name, least in (("lengths", 2), ("pair_lengths", 1)):
        if min(getattr(settings, name), default=0) < least:
            raise InputError(f"{name} are tokens of a text, at least {least} each, got {getattr(settings, name)}.")
    if settings.layers is None:
        return replace(settings, layers=tuple(layer for layer in _DEFAULT_LAYERS if layer < depth))
    if unknown := [layer for layer in settings.layers if not 0 <= layer < depth]:
        raise InputError(f"layers are 0 to {depth - 1} of this model, which has no {unknown[0]}. Leave it out.")
    return settings


class Trainer:
    """One distillation: model, optimizer, texts and where it stands."""

    def __init__(self, student: Any, teacher: Any, texts: Texts, folder: Path, settings: DistilSettings) -> None:
        settings = settled(settings, len(student.layers))
        assert settings.layers is not None
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
        """Learns until the tokens or the hours are used up; goes on from the folder's checkpoint.

        Raises:
            ModelError: the loss or its gradient is no finite number.
            InputError: the checkpoint is damaged, or was made with other settings or texts.
        """
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
        self._check_finite(loss, norm)
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

    def _check_finite(self, loss: Tensor, norm: Tensor) -> None:
        """Stops before a weight is changed by what is no number: no more than the last checkpoint would be whole."""
        if not (loss.isfinite() and norm.isfinite()):
            raise ModelError(
                f"At step {self.step} the loss is {float(loss.detach())} and its gradient has the length "
                f"{float(norm)}: there is nothing to learn from that. Distil with a lower rate into another folder; if "
                "it happens at step 0, the weights of the mixture or of its parent are damaged."
            )

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
