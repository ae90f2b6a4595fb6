"""From a dense folder to a mixture that learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from carved_models import SETTINGS, TRAINING, dense
from tiny_models import tiny_tokenizer

from moee_topics.encode import MoEEncoder
from moee_topics.encode.models import mixture_checkpoints
from moee_topics.encode.models.carving import CarveSettings
from moee_topics.errors import InputError, ModelError


def test_from_a_dense_folder_to_a_mixture_that_learned(tmp_path: Path) -> None:
    source, mixture = tmp_path / "dense", tmp_path / "mixture"
    dense().save_pretrained(source)
    tiny_tokenizer().save_pretrained(source)
    sentences = [
        f"Space probes orbit distant planets {i} and the farmer sleeps while the goalie scores" for i in range(60)
    ]

    report = mixture_checkpoints.carve_checkpoint(source, mixture, sentences, SETTINGS, tokens=1000, vocabulary=320)
    assert report["settings"]["groups"] == 6 and 0 < report["pooled_cosine"] <= 1
    learned = mixture_checkpoints.distil_checkpoint(mixture, source, tmp_path / "learned", [sentences], TRAINING)
    assert learned["steps"] == 6 and sorted(path.name for path in tmp_path.iterdir()) == ["dense", "learned", "mixture"]

    encoder = MoEEncoder.from_pretrained(tmp_path / "learned", dtype="float32", prompt="none", pooling="mean")
    assert encoder.encode(sentences[:2]).router_logits.shape[0] == 2
    with pytest.raises(InputError, match="exists already"):
        mixture_checkpoints.carve_checkpoint(source, mixture, sentences, SETTINGS)
    with pytest.raises(InputError, match="exists already"):
        mixture_checkpoints.distil_checkpoint(mixture, source, mixture, [sentences], TRAINING)


def test_what_learned_to_bear_four_bits_is_stored_in_four_bits(tmp_path: Path) -> None:
    dense().save_pretrained(tmp_path / "dense")
    tiny_tokenizer().save_pretrained(tmp_path / "dense")
    text = [f"Space probes orbit distant planets {i} and the farmer sleeps while the goalie scores" for i in range(60)]
    shape = CarveSettings(groups=2, group_size=24, active=1)
    mixture_checkpoints.carve_checkpoint(tmp_path / "dense", tmp_path / "mixture", text, shape, tokens=1000)
    settings = replace(TRAINING, four_bits=True, round_after=0.0, pairs=0.5)
    for name, sources in (("one", [text]), ("two", [text[:30], text[30:]])):
        report = mixture_checkpoints.distil_checkpoint(
            tmp_path / "mixture", tmp_path / "dense", tmp_path / name, sources, settings
        )
        assert report["steps"] == 6 and report["errors"].keys() == {"pooled", "pairs"}
    small, large = (sum(p.stat().st_size for p in (tmp_path / n).glob("*.safetensors")) for n in ("one", "mixture"))
    assert small < large / 3
    encoder = MoEEncoder.from_pretrained(tmp_path / "one", dtype="float32", prompt="none", pooling="mean")
    assert encoder.encode(text[:2]).hidden_states.shape == (2, 48)


def test_only_what_distillation_computes_is_distilled(tmp_path: Path) -> None:
    donor = dense(hidden_act="gelu")
    donor.save_pretrained(tmp_path / "dense")
    tiny_tokenizer().save_pretrained(tmp_path / "dense")
    text = ["Space probes orbit distant planets and the farmer sleeps while the goalie scores"] * 60
    mixture_checkpoints.carve_checkpoint(tmp_path / "dense", tmp_path / "mixture", text, SETTINGS, tokens=1000)
    with pytest.raises(ModelError, match="have gelu"):
        mixture_checkpoints.distil_checkpoint(
            tmp_path / "mixture", tmp_path / "dense", tmp_path / "new", [text], TRAINING
        )
