"""All commands of the command line, each file registering its own."""

from __future__ import annotations

from moee_topics.cli import models, recipes, score, topics
from moee_topics.cli.root import app, main

topics.register(app)
recipes.register(app)
models.register(app)
score.register(app)

__all__ = ["app", "main"]
