"""What a mixture learns from: how far it is from its parent, and how well it tells the passages of texts apart.

Targets are what the parent makes of the same tokens: the last hidden states, their mean over a text with each dimension
brought to deviation 1 (cosines of raw means are near 1 whatever is lost), and a few layers between.

The parent was made to write, not to compare texts. For a last share of the way the mixture may therefore learn without
labels that two passages of one text belong together: their means are to be nearer to each other than to those of all
other passages of the step (InfoNCE; for decoders and encoders as in arXiv 2006.03659, 2112.09118 and 2308.03281).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from moee_topics.encode.mixtures.passages import Passages


class Outputs:
    """The last hidden states of a model and its residual stream after some layers."""

    def __init__(self, model: Any, layers: tuple[int, ...]) -> None:
        self.model, self.device = model, next(model.parameters()).device
        self.middle: dict[int, Tensor] = {}
        for index in layers:
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
    """Deviations of the parent's states, by which errors are divided: last, between, and means by length of text."""

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
