"""A mixture with every neuron computed is the mixture itself, and its router hears of idle groups."""

from __future__ import annotations

from dataclasses import replace

import torch
from carved_models import SETTINGS, dense, rows, states

from moee_topics.encode.mixtures import carving
from moee_topics.encode.mixtures.dense_mixture import densify, undensified


def test_computing_every_neuron_is_the_mixture_itself() -> None:
    model, _ = carving.carve(dense(), rows(), replace(SETTINGS, strength=0.3))
    row = rows(1)[0]
    plain, names = states(model, row), model.state_dict()
    densify(model)

    assert (states(model, row) - plain).abs().max() < 1e-5
    folded = undensified(model)
    assert folded.keys() == names.keys() and all(torch.equal(folded[name], names[name]) for name in names)


def test_an_idle_group_has_no_weight_and_a_gradient() -> None:
    model, _ = carving.carve(dense(), rows(), replace(SETTINGS, strength=0.3))
    densify(model)
    weights = model.layers[0].mlp.group_weights(torch.randn(5, 48).requires_grad_())

    assert ((weights > 0).sum(1) == 3).all() and torch.allclose(weights.sum(1), torch.tensor(3.0))
    assert model.layers[0].mlp.gate.weight.grad_fn is None and weights.grad_fn is not None
