"""Down projections fitted anew: nearer to the donor with idle groups, nothing to do without, the same after a stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from carved_models import KINDS, SETTINGS, dense, rows, states

from moee_topics.encode.mixtures import carving, least_squares
from moee_topics.encode.mixtures.finished_layers import FinishedLayers

FITTED = replace(SETTINGS, least_squares=True)


@torch.no_grad()
def error(model: torch.nn.Module, donor: torch.nn.Module) -> float:
    return float(np.mean([float((states(model, row) - states(donor, row)).square().mean()) for row in rows()]))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_fitted_projections_bring_the_mixture_nearer_to_its_donor(kind: str) -> None:
    donor = dense(kind)
    plain, fitted = (carving.carve(donor, rows(), settings)[0] for settings in (SETTINGS, FITTED))
    assert error(fitted, donor) < 0.9 * error(plain, donor)


def test_where_every_group_is_active_there_is_nothing_to_fit() -> None:
    donor = dense()
    model, _ = carving.carve(donor, rows(), replace(FITTED, active=6, strength=1e-6))
    for row in rows(3):
        assert (states(model, row) - states(donor, row)).abs().max() <= 1e-5


def test_only_down_projections_change() -> None:
    plain, fitted = (carving.carve(dense(), rows(), settings)[0].state_dict() for settings in (SETTINGS, FITTED))
    changed = {name for name, weight in plain.items() if not torch.equal(weight, fitted[name])}
    assert changed == {name for name in plain if "down_proj" in name}


def test_padding_of_short_texts_is_not_seen() -> None:
    """A text alone, and the same text beside a longer one whose tokens are all its own."""
    donor, (text, long) = dense(), rows(2, 40)
    changes: list[torch.Tensor] = []
    for given in ([text[:20]], [text[:20], long]):
        # Not 1e-4, where the sum of a padded batch could choose another group.
        model, _ = carving.carve(donor, rows(), replace(SETTINGS, strength=0.3))
        seen: list[torch.Tensor] = []

        def fit(
            inputs: torch.Tensor, targets: torch.Tensor, per_row: float, to: list[torch.Tensor] = seen
        ) -> torch.Tensor:
            to.append(inputs)
            return torch.zeros(inputs.shape[1], targets.shape[1])

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(least_squares, "ridge", fit)
            least_squares.fit_down_projections(model, donor, given)
        assert [len(inputs) for inputs in seen] == [sum(map(len, given))] * 2
        changes.append(seen[1][:20])
    torch.testing.assert_close(changes[0], changes[1], atol=1e-4, rtol=1e-4)


def test_ridge_is_least_squares_with_a_row_for_each_weight() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(50, 6, generator=generator), torch.randn(50, 3, generator=generator)
    expected = np.linalg.lstsq(
        np.concatenate([inputs.numpy(), np.sqrt(50 * 0.3) * np.eye(6)]),
        np.concatenate([targets.numpy(), np.zeros((6, 3))]),
        rcond=None,
    )[0]
    np.testing.assert_allclose(least_squares.ridge(inputs, targets, 0.3).numpy(), expected, atol=1e-5)


def test_the_active_neurons_and_their_projections_are_what_the_mixture_computes() -> None:
    model, _ = carving.carve(dense(), rows(), replace(SETTINGS, strength=0.3))
    mixture, inputs = model.layers[0].mlp, torch.randn(7, 48)
    ours = least_squares.active_neurons(mixture, inputs) @ least_squares._down(mixture)
    torch.testing.assert_close(ours, mixture(inputs[None])[0], atol=1e-5, rtol=1e-4)


def test_a_fit_that_was_stopped_goes_on_with_the_layers_it_lacks(tmp_path: Path) -> None:
    donor, finished = dense(), FinishedLayers(tmp_path / "work")
    whole, _ = carving.carve(donor, rows(), FITTED)

    def stop(done: int, of: int) -> None:
        assert of == 4
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carving.carve(donor, rows(), FITTED, finished=finished, progress=stop)
    assert sorted(path.stem for path in (tmp_path / "work").iterdir()) == ["cut-0000", "cut-0001", "down-0000"]
    rest, _ = carving.carve(donor, rows(), FITTED, finished=finished)
    assert all(torch.equal(weight, rest.state_dict()[name]) for name, weight in whole.state_dict().items())
