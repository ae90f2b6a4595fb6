"""A mixture taught by its parent: it comes nearer, and a stopped distillation goes on as if it was not."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from carved_models import TRAINING, texts, trainer
from tiny_models import VOCABULARY

from moee_topics.encode.mixtures import distillation
from moee_topics.encode.mixtures.carving import CarveSettings
from moee_topics.encode.mixtures.dense_mixture import undensified
from moee_topics.encode.mixtures.passages import Texts
from moee_topics.encode.mixtures.settings import DistilSettings
from moee_topics.errors import InputError, ModelError, ResourceError


def test_distillation_brings_the_mixture_nearer_to_its_parent(tmp_path: Path) -> None:
    settings = replace(TRAINING, tokens=20 * 256, rate=0.03, learn="routers_and_norms", checkpoint_seconds=math.inf)
    one = trainer(tmp_path, settings)
    one.student.norm.weight.data *= 0.5
    matrices = {name: w.clone() for name, w in one.student.state_dict().items() if name.endswith("_proj")}
    found: list[dict[str, float]] = []
    one.run(found.append)

    assert found[-2]["hidden"] < 0.9 * found[0]["hidden"]  # of texts of the same length
    assert all(torch.equal(one.student.state_dict()[name], weight) for name, weight in matrices.items())


@pytest.mark.parametrize(
    "changes", [{}, {"four_bits": True, "round_after": 0.5}, {"pairs": 0.5}, {"pairs": 1.0, "four_bits": True}]
)
def test_a_distillation_that_was_stopped_goes_on_as_if_it_was_not(tmp_path: Path, changes: dict[str, float]) -> None:
    settings, shape = replace(TRAINING, **changes), CarveSettings(groups=2, group_size=24, active=1)
    whole = trainer(tmp_path / "whole", settings, shape=shape)
    whole.run(lambda numbers: None)

    class Stop(Exception):
        pass

    def stop(numbers: dict[str, float]) -> None:
        if numbers["step"] == 5:
            raise Stop

    with pytest.raises(Stop):
        trainer(tmp_path / "parts", settings, shape=shape).run(stop)
    rest = trainer(tmp_path / "parts", settings, shape=shape)
    rest.run(lambda numbers: None)

    assert rest.step == whole.step == 6
    for name, weight in undensified(whole.student).items():
        assert torch.equal(weight, undensified(rest.student)[name]), name


def test_passages_of_a_text_come_together_in_states_and_routing(tmp_path: Path) -> None:
    """Texts of few words each: their passages have those in common, which the fresh mixture does not weigh."""
    rng = np.random.default_rng(3)
    tokens = np.concatenate([rng.choice(rng.integers(1, VOCABULARY, 6), 40) for _ in range(60)])
    settings = replace(
        TRAINING, tokens=40 * 256, rate=1e-3, pair_rate=3e-3, pairs=1.0, pair_lengths=(8,), pair_routing=1.0
    )
    one = trainer(tmp_path, settings, Texts(tokens, np.arange(40, 2401, 40)))
    heard: list[dict[str, float]] = []
    one.run(heard.append)
    for name in ("pairs", "routing"):
        first, last = (np.mean([numbers[name] for numbers in part]) for part in (heard[:5], heard[-5:]))
        assert last < 0.8 * first, name


def test_other_settings_or_too_little_text_are_refused(tmp_path: Path) -> None:
    trainer(tmp_path).run(lambda numbers: None)
    with pytest.raises(InputError, match="other settings"):
        trainer(tmp_path, replace(TRAINING, rate=0.5)).run(lambda numbers: None)
    with pytest.raises(InputError, match="other texts"):
        trainer(tmp_path, given=texts(41)).run(lambda numbers: None)
    with pytest.raises(InputError, match="texts have 100 tokens"):
        trainer(tmp_path / "new", replace(TRAINING, lengths=(100,), batch=200))


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = trainer(tmp_path)
    one.run(lambda numbers: None)
    kept = (tmp_path / distillation.CHECKPOINT).read_bytes()

    def full(tensors: object, path: Path, **options: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(distillation, "save_file", full)
    with pytest.raises(ResourceError, match="The disk is full"):
        one.save()
    assert (tmp_path / distillation.CHECKPOINT).read_bytes() == kept and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("damaged", [b"", b"no", None])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, damaged: bytes | None) -> None:
    trainer(tmp_path).run(lambda numbers: None)
    path = tmp_path / distillation.CHECKPOINT
    path.write_bytes(path.read_bytes()[:-7] if damaged is None else damaged)
    with pytest.raises(InputError, match="is damaged"):
        trainer(tmp_path).run(lambda numbers: None)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *((name, (0.0, -1.0, math.nan, math.inf)) for name in ("rate", "pair_rate", "temperature")),
        *((name, (-1.0, math.nan, math.inf)) for name in ("hours", "router_rate", "pooled", "hidden", "middle")),
        *((name, (-0.1, math.nan, math.inf)) for name in ("pairs", "pair_routing", "pair_middle")),
        ("round_after", (-0.1, 1.1, math.nan)),
        ("seed", (-1,)),
        ("lengths", ((), (16, 1))),
        ("pair_lengths", ((), (8, 0))),
        ("layers", ((0, 2), (5, 11), (-1,))),
    ],
)
def test_a_setting_that_nothing_can_be_learned_by_is_refused_by_its_name(
    tmp_path: Path, name: str, values: tuple[Any, ...]
) -> None:
    for value in values:
        with pytest.raises(InputError, match=f"^{name} (is|are) "):
            trainer(tmp_path, replace(TRAINING, **{name: value}))


def test_without_layers_those_of_the_default_that_are_there_are_compared() -> None:
    expected = {1: (), 6: (5,), 22: (5, 11, 17), 30: (5, 11, 17, 23)}
    assert {depth: distillation.settled(DistilSettings(), depth).layers for depth in expected} == expected


@pytest.mark.parametrize("pairs", [0.0, 1.0])
def test_a_loss_that_is_no_number_stops_before_a_weight_changes(tmp_path: Path, pairs: float) -> None:
    one = trainer(tmp_path, replace(TRAINING, pairs=pairs))
    one.student.norm.weight.data[3] = math.nan
    before = {name: weight.clone() for name, weight in one.student.state_dict().items()}
    with pytest.raises(ModelError, match="At step 0 the loss is nan"):
        one.run(lambda numbers: None)
    assert not list(tmp_path.iterdir()), "a checkpoint of it would be no use"
    for name, weight in one.student.state_dict().items():
        assert torch.equal(weight.nan_to_num(), before[name].nan_to_num()), name
