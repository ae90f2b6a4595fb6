"""From a dense folder to a mixture that learned."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from carved_models import SETTINGS, TRAINING, dense, save_donor
from failing_disks import fail_from
from tiny_models import VOCABULARY, tiny_tokenizer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from moee_topics.encode import MoEEncoder
from moee_topics.encode.mixtures import carving, mixture_checkpoints
from moee_topics.encode.mixtures.carving import CarveSettings
from moee_topics.errors import InputError, ModelError, ResourceError


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


SENTENCES = [f"Space probes orbit distant planets {i} and the farmer sleeps while the goalie scores" for i in range(60)]


def test_a_carving_that_was_stopped_goes_on_with_the_next_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save_donor(tmp_path / "dense")
    whole = carved_into(tmp_path / "whole", source)
    cut, numbers = carving.cut_layer, list[int]()

    def counted(*arguments: Any, seed: int) -> Any:
        numbers.append(seed)
        if len(numbers) == 2:
            raise KeyboardInterrupt
        return cut(*arguments, seed=seed)

    monkeypatch.setattr(carving, "cut_layer", counted)
    with pytest.raises(KeyboardInterrupt):
        carved_into(tmp_path / "parts", source)
    assert not (tmp_path / "parts").exists() and (tmp_path / "parts.carving").is_dir()
    assert carved_into(tmp_path / "parts", source) == whole and numbers == [0, 1, 1]
    for name in ("model.safetensors", "config.json", "tokenizer.json", "carving.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dense", "parts", "whole"]


def carved_into(folder: Path, source: Path) -> dict[str, Any]:
    return mixture_checkpoints.carve_checkpoint(source, folder, SENTENCES, SETTINGS, tokens=1000)


def test_near_copies_of_held_out_texts_are_counted_and_not_read(tmp_path: Path) -> None:
    source = save_donor(tmp_path / "dense")
    secret = "A goalie from the far north of the country saved every shot of that long winter evening"
    texts = [*SENTENCES[:30], secret.upper(), *SENTENCES[30:], f"{secret}, they said"]
    report = mixture_checkpoints.carve_checkpoint(
        source, tmp_path / "mixture", texts, SETTINGS, tokens=100_000, held_out=[secret]
    )
    plain = mixture_checkpoints.carve_checkpoint(source, tmp_path / "plain", SENTENCES, SETTINGS, tokens=100_000)
    assert report == plain | {"left_out": 2} and plain["left_out"] == 0
    sources = [texts, SENTENCES, [secret]]
    learned = mixture_checkpoints.distil_checkpoint(
        tmp_path / "mixture", source, tmp_path / "learned", sources, TRAINING, held_out=[secret]
    )
    assert learned["left_out"] == [2, 0, 1] and learned["texts"] == [60, 60, 0]


def test_what_cannot_end_well_is_refused_before_any_layer_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save_donor(tmp_path / "dense")
    monkeypatch.setattr(carving, "feed_forward_inputs", None)
    new = tmp_path / "new"
    with pytest.raises(InputError, match="do not divide"):
        mixture_checkpoints.carve_checkpoint(source, new, SENTENCES, replace(SETTINGS, group_size=7))
    with pytest.raises(InputError, match=r"has \d+ tokens"):
        mixture_checkpoints.carve_checkpoint(source, new, ["a farmer sleeps"], SETTINGS)
    with pytest.raises(InputError, match="exists already"):
        mixture_checkpoints.carve_checkpoint(source, source, SENTENCES, SETTINGS)
    with pytest.raises(InputError, match="cannot be cut to 10 tokens"):
        mixture_checkpoints.carve_checkpoint(source, new, SENTENCES, SETTINGS, vocabulary=10)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(9, 8, 1))
        with pytest.raises(ResourceError, match=r"too full for .*new: about \d+,\d+ bytes are needed, 1 are free"):
            mixture_checkpoints.carve_checkpoint(source, new, SENTENCES, SETTINGS)
    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]")))
    words.save_pretrained(source)
    with pytest.raises(ModelError, match="this one is no BPE"):
        mixture_checkpoints.carve_checkpoint(source, new, SENTENCES, SETTINGS, vocabulary=300)
    for folder, changes in (
        ("biases", {"mlp_bias": True}),
        ("attention of llama", {"attention_bias": True}),
        ("attention of qwen3", {"kind": "qwen3", "attention_bias": True}),
        ("window", {"kind": "qwen2", "use_sliding_window": True, "sliding_window": 8}),
    ):
        with pytest.raises(ModelError, match="cannot be carved"):
            mixture_checkpoints.carve_checkpoint(save_donor(tmp_path / folder, **changes), new, SENTENCES, SETTINGS)
    shape = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=VOCABULARY, **shape)).save_pretrained(tmp_path / "gateless")
    tiny_tokenizer().save_pretrained(tmp_path / "gateless")
    with pytest.raises(ModelError, match="'gpt_neox' cannot be carved"):
        mixture_checkpoints.carve_checkpoint(tmp_path / "gateless", new, SENTENCES, SETTINGS)
    assert not new.exists()


def learned(mixture: Path, parent: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    return mixture_checkpoints.distil_checkpoint(mixture, parent, folder, [SENTENCES], replace(TRAINING, **changes))


def test_a_mixture_is_taught_by_its_own_parent_alone(tmp_path: Path) -> None:
    source, new = save_donor(tmp_path / "dense"), tmp_path / "new"
    carved_into(tmp_path / "mixture", source)
    other = save_donor(tmp_path / "other", num_hidden_layers=1)
    with pytest.raises(ModelError, match=r"was not carved from .*num_hidden_layers is 2, and that of the decoder 1"):
        learned(tmp_path / "mixture", other, new)
    for name, factor in (("other weights", -1.0), ("a little more training", 1.01)):
        changed = dense()
        changed.embed_tokens.weight[7] *= factor
        changed.save_pretrained(tmp_path / name)
        tiny_tokenizer().save_pretrained(tmp_path / name)
        with pytest.raises(ModelError, match=r"was not carved from .*they have other embeddings"):
            learned(tmp_path / "mixture", tmp_path / name, new)
    with pytest.raises(ModelError, match="'glm4_moe' is already a mixture"):
        learned(tmp_path / "mixture", tmp_path / "mixture", new)
    with pytest.raises(ModelError, match="dense is a LlamaModel, and what is taught is a mixture"):
        learned(source, source, new)
    assert not new.exists() and not new.with_name("new.distilling").exists()


def test_a_mixture_in_four_bits_is_known_by_its_parent_and_learns_on(tmp_path: Path) -> None:
    source, packed = save_donor(tmp_path / "dense"), tmp_path / "packed"
    shape = CarveSettings(groups=2, group_size=24, active=1)
    mixture_checkpoints.carve_checkpoint(source, tmp_path / "mixture", SENTENCES, shape, tokens=1000, vocabulary=320)
    learned(tmp_path / "mixture", source, packed, four_bits=True)
    flipped = dense()
    flipped.embed_tokens.weight[7] *= -1
    flipped.save_pretrained(tmp_path / "flipped")
    tiny_tokenizer().save_pretrained(tmp_path / "flipped")
    with pytest.raises(ModelError, match="other embeddings"):
        learned(packed, tmp_path / "flipped", tmp_path / "new")
    for name, four_bits in (("plain", False), ("small", True)):
        report = learned(packed, source, tmp_path / name, four_bits=four_bits)
        assert report["steps"] == 6
        before, after = (MoEEncoder.from_pretrained(tmp_path / n, dtype="float32", prompt="none", pooling="mean")
                         for n in ("packed", name))  # fmt: skip
        ours, theirs = (encoder.encode(SENTENCES[:4]).hidden_states for encoder in (after, before))
        cosines = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
        assert cosines.min() > 0.9, "what it knew before is where it began"


def test_layers_that_the_mixture_has_not_are_refused_and_those_compared_are_told(tmp_path: Path) -> None:
    source = save_donor(tmp_path / "dense")
    carved_into(tmp_path / "mixture", source)
    with pytest.raises(InputError, match="layers are 0 to 1 of this model, which has no 5"):
        learned(tmp_path / "mixture", source, tmp_path / "new", layers=(1, 5, 11))
    assert learned(tmp_path / "mixture", source, tmp_path / "new", layers=None)["settings"]["layers"] == ()


def test_a_mixture_is_made_and_taught_without_a_bar_of_transformers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = save_donor(tmp_path / "dense")
    capfd.readouterr()
    carved_into(tmp_path / "mixture", source)
    learned(tmp_path / "mixture", source, tmp_path / "new")
    assert capfd.readouterr() == ("", "")


def test_a_disk_that_is_full_at_the_end_keeps_every_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save_donor(tmp_path / "dense")
    with monkeypatch.context() as patch:
        fail_from(patch, 3, errno.ENOSPC)  # after both layers
        with pytest.raises(ResourceError, match="disk is full"):
            carved_into(tmp_path / "new", source)
    assert not (tmp_path / "new").exists() and len(list((tmp_path / "new.carving").rglob("cut-*"))) == 2
    monkeypatch.setattr(carving, "cut_layer", None)
    carved_into(tmp_path / "new", source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dense", "new"]
