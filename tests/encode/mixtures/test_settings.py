"""How a dense decoder is carved and taught: what is described here are the options of the commands, and once."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from typer.main import get_command

from moee_topics.cli.app import app
from moee_topics.encode.mixtures.settings import CALIBRATION_TOKENS, CarveSettings, DistilSettings


@pytest.mark.parametrize(
    ("name", "settings", "silent"),
    [
        ("carve", CarveSettings, set()),
        (
            "distil",
            DistilSettings,
            {"lengths", "router_rate", "warm_up", "pooled", "hidden", "middle", "layers", "round_after"}
            | {"pair_lengths", "pair_rate", "temperature", "pair_routing", "pair_middle", "checkpoint_seconds"},
        ),
    ],
)
def test_a_command_has_the_options_and_the_defaults_of_its_settings(name: str, settings: Any, silent: set[str]) -> None:
    models: Any = get_command(app)
    options = {option.name: option for option in models.commands["models"].commands[name].params}
    expected = {item.name: item.default for item in fields(settings) if item.name not in silent}
    assert {name: options[name].default for name in expected} == expected and not silent & options.keys()
    assert all(options[name].help.endswith(".") for name in expected)
    assert options["tokens"].default == (CALIBRATION_TOKENS if settings is CarveSettings else DistilSettings.tokens)
