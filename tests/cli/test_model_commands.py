"""The commands about models and stores."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from carved_models import save_donor
from command_line import call


def test_models_are_listed_and_inspected(tiny_olmoe: Path) -> None:
    assert "olmoe" in call("models", "ls").stdout
    assert {"olmoe", "qwen2_moe", "deepseek"} <= {
        item["model_type"] for item in json.loads(call("models", "ls", "--json").stdout)
    }
    card = json.loads(call("models", "inspect", tiny_olmoe, "--json").stdout)
    assert (card["family"], card["layers"], card["experts"], card["hidden_size"]) == ("olmoe", 2, 8, 64)
    assert "parameters" in call("models", "inspect", tiny_olmoe).stdout


def test_a_model_is_quantized_once_and_then_loaded_as_it_was_saved(tiny_olmoe: Path, tmp_path: Path) -> None:
    assert "0.516 bytes per expert weight" in call("models", "quantize", tiny_olmoe, tmp_path / "saved").stdout
    assert (
        json.loads((tmp_path / "saved" / "config.json").read_text(encoding="utf-8"))["quantization_config"]["kind"]
        == "nf4"
    )
    assert "parameters" in call("models", "inspect", tmp_path / "saved").stdout
    again = call("models", "quantize", tiny_olmoe, tmp_path / "saved")
    assert again.exit_code == 4


def test_a_store_is_listed_verified_and_mended(finished: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(finished / "store", tmp_path / "store"))
    assert "64 documents" in call("store", "ls", store).stdout
    assert call("store", "verify", store).exit_code == 0
    shard = next(store.glob("*/shard-*"))
    shard.write_bytes(shard.read_bytes()[:-3])
    broken = call("store", "verify", store, "--json")
    assert broken.exit_code == 4 and [damage["name"] for damage in json.loads(broken.stdout)] == [shard.name]
    assert call("store", "verify", store, "--drop").exit_code == 0 and not shard.exists()
    assert call("store", "verify", store).exit_code == 0


def test_stores_are_merged_and_damage_in_one_is_told(finished: Path, recipe: Path, tmp_path: Path) -> None:
    shares = [tmp_path / str(number) for number in (1, 2)]
    for share in shares:
        call("embed", recipe, "--output", share, "--shard", f"{share.name}/2")
    merged = json.loads(call("store", "merge", tmp_path / "all", *shares, "--json").stdout)
    assert [(entry["documents"], entry["new"]) for entry in merged["stores"]] == [(64, 64)] and not merged["damaged"]
    assert call("embed", recipe, "--output", tmp_path / "all", "--json").stdout.count('"encoded": 0') == 1
    shard = next(shares[1].glob("*/shard-*"))
    shard.write_bytes(shard.read_bytes()[:-3])
    broken = call("store", "merge", tmp_path / "rest", *shares)
    assert broken.exit_code == 4 and f"{shard.name}: " in broken.stdout and "left out" in broken.stdout


@pytest.fixture
def texts_file(tmp_path: Path) -> Path:
    """A file of a text a line, each long enough for the longest passage that a distillation reads."""
    rng = random.Random(0)
    words = [f"{subject}{number}" for subject in ("rocket", "goalie", "onion", "tulip") for number in range(9)]
    lines = [" ".join([f"number {line}", *rng.choices(words, k=150)]) for line in range(100)]
    (tmp_path / "texts.txt").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path / "texts.txt"


CARVE = ("--groups", "6", "--group-size", "12", "--active", "3", "--tokens", "2000", "--json")
DISTIL = ("--tokens", "12288", "--json")


def test_a_donor_is_carved_and_taught_and_what_is_left_out_is_counted(tmp_path: Path, texts_file: Path) -> None:
    source = save_donor(tmp_path / "dense")
    held_out, (first, second, *_) = tmp_path / "evaluation.jsonl", texts_file.read_text(encoding="utf-8").splitlines()
    # Of no column whose name is a usual one, and one of them in a list.
    held_out.write_text(json.dumps({"score": 4, "sentence1": first, "sentence2": [second]}), encoding="utf-8")
    options = ("--text", texts_file, "--leave-out", held_out)
    made = call("models", "carve", source, tmp_path / "moe", *options, "--least-squares", *CARVE)
    assert made.exit_code == 0, made.output
    report = json.loads(made.stdout)
    assert report["left_out"] == 2 and report["settings"]["least_squares"] is True
    taught = call("models", "distil", tmp_path / "moe", source, tmp_path / "better", *options, "--tokens", "4096")
    assert taught.exit_code == 0, taught.output
    assert "2 steps" in taught.stdout and "2 near-copies of evaluation texts left out" in taught.stdout
    assert call("models", "carve", source, tmp_path / "moe", *options, *CARVE).exit_code == 4


def test_what_is_no_number_and_what_is_no_parent_is_told_in_one_line(tmp_path: Path, texts_file: Path) -> None:
    source, moe, new = save_donor(tmp_path / "dense"), tmp_path / "moe", tmp_path / "new"
    text = ("--text", texts_file)
    assert call("models", "carve", source, moe, *text, *CARVE).exit_code == 0
    one = tmp_path / "one.txt"
    one.write_text(" ".join(f"onion{number} tulip" for number in range(200)), encoding="utf-8")
    for said, arguments in {
        "'--decorrelate': Input should be": ("carve", source, new, *text, *CARVE, "--decorrelate", "nan"),
        "decorrelate is 0 or more and finite": ("carve", source, new, *text, *CARVE, "--decorrelate", "inf"),
        "strength is above 0": ("carve", source, new, *text, *CARVE, "--strength", "nan"),
        "are all of one text": ("carve", source, new, "--text", one, *CARVE, "--decorrelate", "0.1"),
        "is already a mixture": ("carve", "pocket", new, *text, *CARVE),
        "rate is above 0": ("distil", moe, source, new, *text, *DISTIL, "--rate", "nan"),
        "rate is above 0 and finite, got -1": ("distil", moe, source, new, *text, *DISTIL, "--rate", "-1"),
        "'--hours': Input should be": ("distil", moe, source, new, *text, *DISTIL, "--hours", "nan"),
        "'--pairs': Input should be": ("distil", moe, source, new, *text, *DISTIL, "--pairs", "nan"),
        "already a mixture of experts; give the dense": ("distil", moe, moe, new, *text, *DISTIL),
    }.items():
        told = call("models", *arguments)
        fault = json.loads(told.stdout)["error"]
        assert told.exit_code in (2, 4) and said in fault["message"], (arguments, told.output)
    assert not new.exists()


def test_the_same_commands_go_on_after_they_were_interrupted(
    tmp_path: Path, texts_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each in its middle; what comes out is the same to the bit as without."""
    from moee_topics.cli import model_commands
    from moee_topics.encode.mixtures import carving, distillation

    source = save_donor(tmp_path / "dense")
    # A checkpoint after every step, and not every five minutes.
    monkeypatch.setattr(
        model_commands, "replace", lambda settings, **new: replace(settings, checkpoint_seconds=0, **new)
    )
    cut, learn = carving.cut_layer, distillation.Trainer._learn

    def cut_but_the_last(*arguments: Any, seed: int) -> Any:
        if seed == 1:
            raise KeyboardInterrupt
        return cut(*arguments, seed=seed)

    def learn_but_the_last(trainer: Any, ids: Any) -> Any:
        if trainer.step == 4:
            raise KeyboardInterrupt
        return learn(trainer, ids)

    for name in ("whole", "parts"):
        moe, better = tmp_path / f"{name}-moe", tmp_path / f"{name}-better"
        first = ("models", "carve", source, moe, "--text", texts_file, *CARVE)
        second = ("models", "distil", moe, source, better, "--text", texts_file, *DISTIL)
        if name == "parts":
            with monkeypatch.context() as patch:
                patch.setattr(carving, "cut_layer", cut_but_the_last)
                stopped = call(*first)
                assert stopped.exit_code == 6 and "goes on with the layers" in stopped.output
        assert call(*first).exit_code == 0
        if name == "parts":
            with monkeypatch.context() as patch:
                patch.setattr(distillation.Trainer, "_learn", learn_but_the_last)
                stopped = call(*second)
                assert stopped.exit_code == 6 and "goes on from its last checkpoint" in stopped.output
            assert (tmp_path / "parts-better.distilling").is_dir()
        assert call(*second).exit_code == 0
    for folder in ("moe", "better"):
        weights = [(tmp_path / f"{name}-{folder}" / "model.safetensors").read_bytes() for name in ("whole", "parts")]
        assert weights[0] == weights[1], folder
    assert not [path.name for path in tmp_path.iterdir() if path.suffix in (".carving", ".distilling", ".tmp")]


KILLED = """
import os, signal, sys
from dataclasses import replace
from moee_topics.cli import model_commands
from moee_topics.cli.app import app
from moee_topics.encode.mixtures import carving, distillation
model_commands.replace = lambda settings, **new: replace(settings, checkpoint_seconds=0, **new)
cut, learn = carving.cut_layer, distillation.Trainer._learn
def cut_layer(*arguments, seed):
    if seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return cut(*arguments, seed=seed)
def _learn(trainer, ids):
    if trainer.step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return learn(trainer, ids)
carving.cut_layer, distillation.Trainer._learn = cut_layer, _learn
app(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="no such signal")
def test_commands_that_were_killed_go_on_as_if_they_were_not(tmp_path: Path, texts_file: Path) -> None:
    source = save_donor(tmp_path / "dense")
    for name in ("whole", "parts"):
        moe, better = tmp_path / f"{name}-moe", tmp_path / f"{name}-better"
        for command in (
            ("models", "carve", source, moe, "--text", texts_file, *CARVE),
            ("models", "distil", moe, source, better, "--text", texts_file, *DISTIL),
        ):
            if name == "parts":
                arguments = [sys.executable, "-c", KILLED, *map(str, command)]
                assert subprocess.run(arguments, capture_output=True).returncode == -signal.SIGKILL
                assert not command[3 + (command[1] == "distil")].exists()
            assert call(*command).exit_code == 0
    for folder in ("moe", "better"):
        weights = [(tmp_path / f"{name}-{folder}" / "model.safetensors").read_bytes() for name in ("whole", "parts")]
        assert weights[0] == weights[1], folder
