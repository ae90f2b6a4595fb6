"""Layers of a carving that were finished: read back whole, or not at all, and never those of another carving."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from carved_models import SETTINGS, dense, rows
from failing_disks import fail_from

from moee_topics.encode.mixtures import carving
from moee_topics.encode.mixtures.finished_layers import FinishedLayers
from moee_topics.errors import ResourceError


def test_a_layer_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    layers = FinishedLayers(tmp_path / "new")
    assert layers.read("one") is None
    layers.write("one", {"groups": torch.arange(6).view(2, 3), "explained": 0.25})
    read = layers.read("one")
    assert read is not None and read["explained"] == 0.25 and torch.equal(read["groups"], torch.arange(6).view(2, 3))
    nowhere = FinishedLayers()
    nowhere.write("one", read)
    assert nowhere.read("one") is None


@pytest.mark.parametrize("damage", ["short", "empty", "no", "other"])
def test_a_layer_that_is_not_whole_is_made_again(tmp_path: Path, damage: str) -> None:
    layers = FinishedLayers(tmp_path)
    whole, _ = carving.carve(dense(), rows(), SETTINGS, finished=layers)
    path = tmp_path / "cut-0001.safetensors"
    blob = path.read_bytes()
    path.write_bytes(
        {"short": blob[:-5], "empty": b"", "no": b"no tensors", "other": blob.replace(b"numbers", b"nombres")}[damage]
    )
    assert layers.read("cut-0001") is None
    again, _ = carving.carve(dense(), rows(), SETTINGS, finished=layers)
    assert all(torch.equal(weight, again.state_dict()[name]) for name, weight in whole.state_dict().items())
    assert path.read_bytes() == blob


def test_another_donor_text_or_shape_has_other_layers(tmp_path: Path) -> None:
    donor = dense()
    same = [FinishedLayers.of(tmp_path, dense(), rows(), SETTINGS).folder for _ in range(2)]
    other = dense()
    other.layers[1].mlp.up_proj.weight.data[3, 4] += 1e-3
    others = [
        FinishedLayers.of(tmp_path, other, rows(), SETTINGS).folder,
        FinishedLayers.of(tmp_path, donor, rows(23), SETTINGS).folder,
        FinishedLayers.of(tmp_path, donor, rows(), replace(SETTINGS, seed=1)).folder,
    ]
    assert same[0] == same[1] and len({same[0], *others}) == 4


def test_a_full_disk_keeps_the_layers_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = FinishedLayers(tmp_path)
    with monkeypatch.context() as patch:
        fail_from(patch, 2, 28)
        with pytest.raises(ResourceError, match="disk is full"):
            carving.carve(dense(), rows(), SETTINGS, finished=layers)
    assert [path.name for path in tmp_path.iterdir()] == ["cut-0000.safetensors"]
