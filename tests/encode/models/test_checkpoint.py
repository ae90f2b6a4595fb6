"""What a checkpoint is, from its files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from encoders import encoder_of
from safetensors.torch import load_file, save_file

from moee_topics.encode.models.checkpoint import identity
from moee_topics.encode.settings import POCKET


def test_a_hub_model_is_its_name_and_the_commit_that_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commits = {"main": "a" * 40, "v2": "b" * 40}
    for reference, commit in commits.items():
        folder = tmp_path / "models--some--model"
        (folder / "snapshots" / commit).mkdir(parents=True)
        (folder / "snapshots" / commit / "config.json").write_text("{}")
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / reference).write_text(commit)
    assert identity("some/model") == ("some/model", "a" * 40)
    assert identity("some/model", "v2") == identity("some/model", "b" * 40) == ("some/model", "b" * 40)
    assert identity("other/model") == ("other/model", "unknown")


def test_a_folder_is_its_content_and_the_embedded_model_has_a_name() -> None:
    assert identity("pocket") == identity(POCKET)
    name, revision = identity("pocket")
    assert name == "pocket" and revision.startswith("sha256:")


def test_the_key_follows_the_content_of_a_folder_not_its_place(tiny_olmoe: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(tiny_olmoe, tmp_path / "moved"))
    key = encoder_of(tiny_olmoe).spec.key()
    assert encoder_of(moved).spec.key() == key
    shard = sorted(moved.glob("*.safetensors"))[0]
    tensors = load_file(shard)
    name = next(iter(tensors))
    tensors[name].view(-1)[0] += 1
    save_file(tensors, shard, metadata={"format": "pt"})
    assert encoder_of(moved).spec.key() != key
