"""Every neuron of a layer has one place, like ones are found, and the router finds the groups that contribute."""

from __future__ import annotations

import numpy as np
import torch
from carved_models import SETTINGS, dense, rows

from moee_topics.encode.mixtures import carving, layer_cuts


def test_every_neuron_is_in_one_place() -> None:
    _, cuts = carving.carve(dense(), rows(), SETTINGS)

    for cut in cuts:
        assert sorted([*cut.shared.tolist(), *cut.groups.flatten().tolist()]) == list(range(96))
        assert cut.groups.shape == (6, 12) and cut.covered <= cut.oracle + 1e-6 <= 1 + 2e-6


def test_neurons_that_are_active_together_are_dealt_to_different_groups() -> None:
    generator = torch.Generator().manual_seed(0)
    # Six kinds of neurons: those of a kind are active on the same tokens and on no others.
    kinds = torch.arange(72) % 6
    active = torch.rand(400, 6, generator=generator) < 0.3
    sizes = active[:, kinds] * (1 + torch.rand(400, 72, generator=generator))
    together = layer_cuts._clusters(sizes, 6, np.random.default_rng(0))
    apart = layer_cuts._clusters(sizes, 12, np.random.default_rng(0)).T

    assert all(len(set(kinds[group].tolist())) == 1 for group in together)
    assert all(len(set(kinds[group].tolist())) >= 5 for group in apart)


def test_decorrelated_logits_are_uncorrelated_over_texts_and_keep_their_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    texts = torch.arange(600) // 10
    inputs = torch.randn(60, 8, generator=generator)[texts] + 0.1 * torch.randn(600, 8, generator=generator)
    router, bias = torch.randn(5, 2, generator=generator) @ torch.randn(2, 8, generator=generator), torch.randn(5)
    router = router + 0.3 * torch.randn(5, 8, generator=generator)  # five logits, most of them of two directions
    old = inputs @ router.T + bias
    new_router, new_bias = layer_cuts.decorrelated(router, bias, inputs, texts, ridge=1e-6)
    new = inputs @ new_router.T + new_bias

    means = new.view(60, 10, 5).mean(1)
    assert torch.allclose(torch.cov(means.T), torch.eye(5), atol=0.01)
    assert torch.allclose(new.mean(0), old.mean(0), atol=1e-4)


def test_the_router_finds_the_groups_that_contribute() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(4000, 16, generator=generator)
    energies = (inputs @ torch.randn(16, 5, generator=generator)).exp()

    weights, bias, explained = layer_cuts.fit_router(inputs, energies)

    assert explained > 0.99
    assert torch.equal((inputs @ weights.T + bias).argmax(1), energies.argmax(1)) or explained > 0.999
