"""``moee-topics models``, ``doctor`` and ``store``: what there is and whether it is sound."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Adds the commands to the application."""
