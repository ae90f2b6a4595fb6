"""Progress on stderr: bars in a terminal, plain lines elsewhere, nothing where nothing is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import call

from moee_topics.cli.progress_bars import Lines


def test_progress_is_plain_lines_where_stderr_is_no_terminal(finished: Path, recipe: Path) -> None:
    stderr = call("run", recipe, "--output", finished).stderr
    assert stderr and "\x1b" not in stderr and "\r" not in stderr


def test_quiet_says_nothing_on_stderr(finished: Path, recipe: Path) -> None:
    assert call("run", recipe, "--output", finished, "--quiet").stderr == ""


def test_lines_tell_each_stage_once(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.begin("embed", "pocket")
    for done in range(1000):
        lines.advance(done, 1000)
    lines.end("embed", 1.25, "fine")
    assert capsys.readouterr().err == "embed     pocket …\nembed     done in 1.2 s: fine\n"
