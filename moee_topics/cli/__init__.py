"""The command line: one short function for each function of a run."""

from __future__ import annotations

from moee_topics.cli.app import main

__all__ = ["main"]
