"""A dense decoder carved into experts: nothing is lost but what is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from carved_models import KINDS, SETTINGS, dense, rows, states
from tiny_models import tiny_tokenizer
from transformers import AutoModel

from moee_topics.encode import MoEEncoder
from moee_topics.encode.models import carving
from moee_topics.errors import InputError, ModelError


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("grouping", ["kmeans", "spread", "random"])
def test_with_every_group_active_the_mixture_is_the_dense_model(kind: str, grouping: str) -> None:
    donor = dense(kind)
    model, _ = carving.carve(donor, rows(), replace(SETTINGS, active=6, strength=1e-6, grouping=grouping))

    for row in rows(3):
        assert (states(model, row) - states(donor, row)).abs().max() <= 1e-5


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
    together = carving._clusters(sizes, 6, np.random.default_rng(0))
    apart = carving._clusters(sizes, 12, np.random.default_rng(0)).T

    assert all(len(set(kinds[group].tolist())) == 1 for group in together)
    assert all(len(set(kinds[group].tolist())) >= 5 for group in apart)


def test_decorrelated_logits_are_uncorrelated_over_texts_and_keep_their_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    texts = torch.arange(600) // 10
    inputs = torch.randn(60, 8, generator=generator)[texts] + 0.1 * torch.randn(600, 8, generator=generator)
    router, bias = torch.randn(5, 2, generator=generator) @ torch.randn(2, 8, generator=generator), torch.randn(5)
    router = router + 0.3 * torch.randn(5, 8, generator=generator)  # five logits, most of them of two directions
    old = inputs @ router.T + bias
    new_router, new_bias = carving.decorrelated(router, bias, inputs, texts, ridge=1e-6)
    new = inputs @ new_router.T + new_bias

    means = new.view(60, 10, 5).mean(1)
    assert torch.allclose(torch.cov(means.T), torch.eye(5), atol=0.01)
    assert torch.allclose(new.mean(0), old.mean(0), atol=1e-4)


def test_first_layers_can_stay_dense() -> None:
    donor = dense()
    model, cuts = carving.carve(donor, rows(), replace(SETTINGS, active=6, strength=1e-6, dense_layers=1))

    assert len(cuts) == 1 and not hasattr(model.layers[0].mlp, "experts")
    assert (states(model, rows(1)[0]) - states(donor, rows(1)[0])).abs().max() <= 1e-5


def test_carving_twice_gives_the_same() -> None:
    once, twice = (carving.carve(dense(), rows(), SETTINGS)[0].state_dict() for _ in range(2))

    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_the_router_finds_the_groups_that_contribute() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(4000, 16, generator=generator)
    energies = (inputs @ torch.randn(16, 5, generator=generator)).exp()

    weights, bias, explained = carving.fit_router(inputs, energies)

    assert explained > 0.99
    assert torch.equal((inputs @ weights.T + bias).argmax(1), energies.argmax(1)) or explained > 0.999


def test_what_is_read_of_a_router_is_the_logarithm_of_the_contributions_it_predicts(tmp_path: Path) -> None:
    for strength in (1e-4, 0.01):
        donor = dense()
        model, cuts = carving.carve(donor, rows(), replace(SETTINGS, strength=strength))
        carving.write_carved(tmp_path / str(strength), model, tiny_tokenizer(), cuts, {})
        encoder = MoEEncoder.from_pretrained(tmp_path / str(strength), dtype="float32", prompt="none", pooling="mean")
        logits = encoder.encode(["a farmer sleeps"]).router_logits[0]

        ids = torch.tensor([encoder.tokenizer("a farmer sleeps")["input_ids"]])
        inputs: list[torch.Tensor] = []
        model.layers[0].mlp.register_forward_pre_hook(lambda module, given, to=inputs: to.append(given[0][0]))
        model(input_ids=ids, use_cache=False)
        expected = (inputs[0] @ cuts[0].router.T + cuts[0].bias).mean(0).detach()
        np.testing.assert_allclose(logits[0], expected.numpy(), atol=0.01)


def test_a_carved_checkpoint_is_an_ordinary_mixture(tmp_path: Path) -> None:
    model, cuts = carving.carve(dense(), rows(), SETTINGS)
    carving.write_carved(tmp_path / "carved", model, tiny_tokenizer(), cuts, {"donor": "tiny"})

    again = AutoModel.from_pretrained(tmp_path / "carved", dtype=torch.float32)
    assert type(again).__name__ == "Glm4MoeModel"
    assert torch.equal(states(again, rows(1)[0]), states(model, rows(1)[0]))
    with pytest.raises(InputError, match="exists already"):
        carving.write_carved(tmp_path / "carved", model, tiny_tokenizer(), cuts, {})


def test_an_embedding_does_not_depend_on_its_pack(tmp_path: Path) -> None:
    model, cuts = carving.carve(dense(), rows(), SETTINGS)
    carving.write_carved(tmp_path / "carved", model, tiny_tokenizer(), cuts, {})
    texts = ["Space probes orbit planets", "the goalie saves the puck and the court heard", "a farmer sleeps"]

    encoder = MoEEncoder.from_pretrained(tmp_path / "carved", dtype="float32", prompt="none", pooling="mean")
    together = encoder.encode(texts)
    alone = [encoder.encode([text]) for text in texts]

    for position, one in enumerate(alone):
        np.testing.assert_allclose(together.hidden_states[position], one.hidden_states[0], atol=2e-5)
        np.testing.assert_allclose(together.router_logits[position], one.router_logits[0], atol=2e-5)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"groups": 5, "group_size": 13}, InputError, "do not divide"),
        ({"groups": 8}, InputError, "do not divide"),
        ({"group_size": 0}, InputError, "do not divide"),
        ({"strength": 0.0}, InputError, "strength is"),
        ({"active": 7}, InputError, "active must be"),
        ({"dense_layers": 2}, InputError, "dense_layers"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(changes: dict[str, int], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        carving.carve(dense(), rows(), replace(SETTINGS, **changes))


def test_what_cannot_be_carved_is_refused() -> None:
    with pytest.raises(InputError, match="calibration text has 64 tokens"):
        carving.carve(dense(), rows(2), SETTINGS)
    with pytest.raises(ModelError, match="have biases"):
        carving.carve(dense(mlp_bias=True), rows(), SETTINGS)
    gateless = dense()
    del gateless.layers[1].mlp.gate_proj
    with pytest.raises(ModelError, match="has no gated feed-forward"):
        carving.carve(gateless, rows(), SETTINGS)
    other = dense()
    other.config.model_type = "gpt_neox"
    with pytest.raises(ModelError, match="'gpt_neox' cannot be carved"):
        carving.carve(other, rows(), SETTINGS)
