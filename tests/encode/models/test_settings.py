"""How a dense decoder is carved and taught: the defaults of the commands are those of the settings."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import pytest

from moee_topics.cli import model_commands
from moee_topics.encode.models.settings import CALIBRATION_TOKENS, CarveSettings, DistilSettings


@pytest.mark.parametrize(
    ("command", "settings"),
    [(model_commands.models_carve, CarveSettings), (model_commands.models_distil, DistilSettings)],
)
def test_a_command_has_the_defaults_of_its_settings(command: Any, settings: Any) -> None:
    parameters = inspect.signature(command).parameters
    shared = [field for field in fields(settings) if field.name in parameters and field.name != "hours"]
    assert len(shared) >= 4
    carved = {"tokens": CALIBRATION_TOKENS} if settings is CarveSettings else {}
    for name, default in [*((field.name, field.default) for field in shared), *carved.items()]:
        assert parameters[name].default == default, name
