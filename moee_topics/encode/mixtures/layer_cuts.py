"""One feed-forward layer cut: which neurons are shared, which go together, and a router that finds the groups.

The neurons that matter for every token become the shared expert; the others are clustered by when they are active; a
linear router learns from the layer's input which groups will contribute most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from torch import Tensor, nn

from moee_topics.encode.mixtures.settings import CarveSettings

_LAST_SHARE = 0.2
"""Share of the calibration tokens, the last ones, on which the router is judged and not fitted."""


@dataclass(frozen=True)
class LayerCut:
    """One layer's neurons by group, its router, and how well that router predicts.

    Attributes:
        shared: neurons of the shared expert.
        groups: neurons of each routed group, (groups, group_size).
        router: (groups, hidden), and ``bias`` (groups,): together the log of a group's contribution, less its mean.
        explained: R² of that on tokens that were not fitted.
        shared_share: share of the layer's activation that the shared neurons hold.
        covered: share of the routed activation that the chosen groups hold; ``oracle`` if chosen by what is true.
    """

    shared: Tensor
    groups: Tensor
    router: Tensor
    bias: Tensor
    explained: float
    shared_share: float
    covered: float
    oracle: float


@torch.no_grad()
def contributions(mlp: Any, inputs: Tensor) -> Tensor:
    """Size of what each neuron adds for each token, (tokens, neurons): |act(gate) * up| times its column's length."""
    active = mlp.act_fn(mlp.gate_proj(inputs)) * mlp.up_proj(inputs)
    sizes: Tensor = active.abs_().mul_(mlp.down_proj.weight.norm(dim=0))
    return sizes


def cut_layer(mlp: Any, inputs: Tensor, first: Tensor, settings: CarveSettings, *, seed: int = 0) -> LayerCut:
    """Cuts one layer by what its neurons did on the calibration tokens."""
    sizes = contributions(mlp, inputs)
    shares = sizes / sizes.sum(1, keepdim=True).clamp_min(1e-9)
    # The first token of a text carries activations of another order (an attention sink): it is left out of the mean,
    # and what carries it is shared whatever its mean, since no later layer survives its loss.
    mean = torch.where(shares[first].mean(0) > 0.01, shares[~first].mean(0) + 1, shares[~first].mean(0))
    order = mean.argsort(descending=True, stable=True)
    count = sizes.shape[1] - settings.groups * settings.group_size
    shared, routed = order[:count].sort().values, order[count:].sort().values
    texts = first.cumsum(0)[~first] - 1
    sizes, inputs = sizes[~first], inputs[~first]
    rng = np.random.default_rng([settings.seed, seed])
    if settings.grouping == "random":
        groups = routed[torch.from_numpy(rng.permutation(len(routed)))].view(settings.groups, -1)
    elif settings.grouping == "kmeans":
        groups = routed[_clusters(sizes[:, routed], settings.groups, rng)]
    else:  # as many clusters as a group has neurons, of each of which every group gets one
        groups = routed[_clusters(sizes[:, routed], settings.group_size, rng).T]
    energies = torch.stack([sizes[:, group].sum(1) for group in groups], dim=1)
    router, bias, explained = fit_router(inputs, energies)
    if settings.decorrelate:
        router, bias = decorrelated(router, bias, inputs, texts, settings.decorrelate)
    total = energies.sum(1).clamp_min(1e-9)
    chosen = (inputs @ router.T + bias).topk(settings.active, dim=1).indices
    covered = float((energies.gather(1, chosen).sum(1) / total).mean())
    oracle = float((energies.topk(settings.active, dim=1).values.sum(1) / total).mean())
    share = float((sizes[:, shared].sum(1) / sizes.sum(1).clamp_min(1e-9)).mean())
    return LayerCut(shared, groups, router, bias, explained, share, covered, oracle)


def _clusters(sizes: Tensor, groups: int, rng: np.random.Generator) -> Tensor:
    """Positions of the neurons of each cluster, (groups, size): k-means on when they are active, made equal in size."""
    scaled = (sizes / sizes.mean(0).clamp_min(1e-9)).clamp_max(5.0)
    scaled -= scaled.mean(0)
    projection = torch.from_numpy(rng.standard_normal((len(sizes), 256), dtype=np.float32))
    features = nn.functional.normalize(scaled.T @ projection, dim=1).double().numpy()
    means = KMeans(groups, n_init=2, random_state=int(rng.integers(2**31))).fit(features)
    distances = means.transform(features)
    # k-means has clusters of any size; the mixture wants groups of one: the assignment of least total distance.
    _, slots = linear_sum_assignment(np.repeat(distances, len(features) // groups, axis=1))
    return torch.from_numpy(np.argsort(slots, kind="stable")).view(groups, -1)


def fit_router(inputs: Tensor, energies: Tensor) -> tuple[Tensor, Tensor, float]:
    """Ridge regression from the layer's input to the log of each group's contribution, less its mean over the groups.

    Returns:
        Weights (groups, hidden), bias (groups,), and the R² on the last tokens, which are not fitted.
    """
    target = (energies + 1e-6).log()
    target = target - target.mean(1, keepdim=True)  # a token that moves every group chooses none of them
    fitted = int(len(inputs) * (1 - _LAST_SHARE))
    x, y = inputs[:fitted].double(), target[:fitted].double()
    mean, bias = x.mean(0), y.mean(0)
    x = x - mean
    gram = x.T @ x
    gram.diagonal().add_(1e-3 * float(gram.diagonal().mean()) + 1e-9)
    weights = torch.linalg.solve(gram, x.T @ (y - bias)).T
    bias = bias - weights @ mean
    rest = target[fitted:].double()
    error = rest - inputs[fitted:].double() @ weights.T - bias
    explained = 1 - float(error.square().sum() / (rest - rest.mean(0)).square().sum().clamp_min(1e-12))
    return weights.float(), bias.float(), explained


def decorrelated(router: Tensor, bias: Tensor, inputs: Tensor, texts: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """The router whose logits, as means over texts, are uncorrelated and yet as near to the old ones as can be (ZCA).

    Args:
        router: (groups, hidden), with ``bias`` (groups,).
        inputs: (tokens, hidden).
        texts: the number of each token's text, (tokens,).
        ridge: added to the variances, in units of their mean: few texts know the small ones badly.
    """
    logits = inputs @ router.T + bias
    sums = torch.zeros(int(texts.max()) + 1, len(router)).index_add_(0, texts, logits)
    means = sums / texts.bincount().clamp_min(1)[:, None]
    covariance = torch.cov(means.T)
    values, vectors = torch.linalg.eigh(covariance)
    scales = (values.clamp_min(0) + ridge * float(values.mean()) + 1e-12).rsqrt()
    rotation = vectors @ torch.diag(scales) @ vectors.T
    center = logits.mean(0)
    # The mean stays: it says which groups matter most of the time, and chooses better than it tells texts apart.
    return rotation @ router, rotation @ (bias - center) + center
