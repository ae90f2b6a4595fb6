"""The command line: one short function per function of the pipeline."""

from __future__ import annotations

from moee_topics.cli.app import main

__all__ = ["main"]
