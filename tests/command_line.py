"""The command line as a test calls it, and texts of four themes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from moee_topics.cli.app import app

TEXTS = [
    f"{subject} {verb} {place} today and {number} more words follow here"
    for number, (subject, verb, place) in enumerate(
        (subject, verb, place)
        for subject in ("rocket", "goalie", "onion", "tulip")
        for verb in ("orbits", "guards", "fries", "grows")
        for place in ("space", "arena", "kitchen", "garden")
    )
]


def call(*arguments: str | Path, stdin: str | None = None) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    if "--json" in arguments and result.stdout:  # JSON as everybody reads it, which knows no NaN
        json.loads(result.stdout, parse_constant=pytest.fail)
    return result
