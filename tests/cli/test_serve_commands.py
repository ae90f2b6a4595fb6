"""The command that serves a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from moee_topics import serve
from moee_topics.cli.app import app
from moee_topics.serve import ServeSettings


def test_options_are_the_settings_and_the_address_goes_to_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {}

    def instead(folder: Path, settings: ServeSettings, *, device: str | None, ready: object) -> None:
        told.update(folder=folder, settings=settings, device=device)
        assert callable(ready)
        ready("http://127.0.0.1:1")

    monkeypatch.setattr(serve, "serve", instead)
    answer = CliRunner().invoke(app, ["serve", str(tmp_path), "--port", "0", "--queue", "5", "--device", "cpu"])
    assert answer.exit_code == 0 and answer.stdout == ""
    assert answer.stderr == "Serving at http://127.0.0.1:1 (Ctrl-C ends it)\n"
    assert told == {"folder": tmp_path, "settings": ServeSettings(port=0, queue=5), "device": "cpu"}


def test_other_machines_without_a_token_are_an_error_in_one_line(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["serve", str(tmp_path), "--host", "0.0.0.0"])
    assert answer.exit_code == 4 and "MOEE_TOPICS_TOKEN" in answer.stderr and answer.stderr.count("\n") == 1
