"""All commands of the command line, each file registering its own."""

from __future__ import annotations

from moee_topics.cli import models, recipes, scoring, topics
from moee_topics.cli.root import app, main

topics.register(app)
recipes.register(app)
models.register(app)
scoring.register(app)

__all__ = ["app", "main"]
