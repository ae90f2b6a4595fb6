"""What a checkpoint is, from its files."""

from __future__ import annotations

from pathlib import Path

import pytest

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
