"""Weights that learn to bear four bits are stored as they were while they learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from carved_models import TRAINING, dense, rows, texts, trainer

from moee_topics.encode.mixtures import carving
from moee_topics.encode.mixtures.carving import CarveSettings
from moee_topics.encode.mixtures.dense_mixture import undensified
from moee_topics.encode.mixtures.distillation import Trainer
from moee_topics.encode.quantization import int4_blocks
from moee_topics.errors import InputError, ModelError


def test_rounded_weights_are_stored_with_the_scales_they_learned(tmp_path: Path) -> None:
    model, _ = carving.carve(dense(), rows(), CarveSettings(groups=2, group_size=24, active=1, strength=0.3))
    one = Trainer(
        model.requires_grad_(True), dense(), texts(), tmp_path, replace(TRAINING, four_bits=True, round_after=0.0)
    )
    one.run(lambda numbers: None)
    assert one.rounding is not None
    with one.rounding():
        rounded = {name: weight.clone() for name, weight in undensified(one.student).items()}
    exact, scales = undensified(one.student), one.rounding.stored_scales(one.student)
    for name, weight in exact.items():
        as_stored = int4_blocks.rounded(weight, scales[name]) if name in scales else weight
        assert torch.equal(as_stored, rounded[name]), name
    assert len(scales) == 2 * (4 + 3 + 2)


def test_four_bits_are_refused_where_weights_could_not_be_stored_as_they_learned(tmp_path: Path) -> None:
    """Before anything is learned: blocks that do not divide rows would mix scales, or end in an error of torch."""
    with pytest.raises(ModelError, match="rows of 12 weights"):
        trainer(tmp_path, replace(TRAINING, four_bits=True))
    model, _ = carving.carve(dense(), rows(), CarveSettings(groups=2, group_size=24, active=1, strength=0.3))
    with pytest.raises(InputError, match="learn='routers_and_norms'"):
        Trainer(model, dense(), texts(), tmp_path, replace(TRAINING, four_bits=True, learn="routers_and_norms"))
