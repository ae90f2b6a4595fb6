"""The command line as a test calls it, and texts of four themes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
