"""The commands that list, show, copy and check recipes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from command_line import call


def test_recipes_are_listed_shown_and_copied(tmp_path: Path) -> None:
    assert "quickstart" in call("recipes", "ls").stdout
    names = [recipe["name"] for recipe in json.loads(call("recipes", "ls", "--json").stdout)]
    assert {"quickstart", "20newsgroups", "20newsgroups-pocket"} <= set(names)
    shown = call("recipes", "show", "quickstart").stdout
    assert call("recipes", "cp", "quickstart", tmp_path / "my.yaml").exit_code == 0
    assert (tmp_path / "my.yaml").read_text() == shown and shown.startswith("# ")
    assert call("recipes", "cp", "quickstart", tmp_path / "my.yaml").exit_code == 4
    assert call("recipes", "cp", "quickstart", tmp_path / "my.yaml", "--force").exit_code == 0
    changed = yaml.safe_load(call("recipes", "show", "quickstart", "fusion.alpha=0.9").stdout)
    assert changed["fusion"]["alpha"] == 0.9 and changed["encoder"]["model"] == "pocket"


@pytest.mark.parametrize("here", ["cpu", "gpu"])
def test_the_list_says_for_whom_a_recipe_is_and_what_it_costs_on_such_a_machine(
    here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda program: "/usr/bin/nvidia-smi" if here == "gpu" else None)
    listed = call("recipes", "ls").stdout
    for recipe in json.loads(call("recipes", "ls", "--json").stdout):
        (block,) = [part for part in listed.split("\n\n") if part.startswith(f"{recipe['name']}\n")]
        assert all(recipe[key] in block for key in ("summary", "for", "documents", "model"))
        assert f"time, {here}  {recipe[here]}" in block
