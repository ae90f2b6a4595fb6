"""A run served until it is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from served_runs import Client

from moee_topics.errors import InputError, MissingExtraError
from moee_topics.serve import ServeSettings, serve
from moee_topics.serve.server import listening


def test_a_port_in_use_is_told_before_the_model_is_loaded(tmp_path: Path) -> None:
    with listening(ServeSettings(port=0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port}: Address already in use"):
            serve(tmp_path, ServeSettings(port=port))


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(InputError, match=r"Nothing can be served at 192\.0\.2\.1"):
        listening(ServeSettings("192.0.2.1", 0, token="x" * 16))


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished run"):
        serve(tmp_path, ServeSettings(port=0))


def test_without_its_packages_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtraError, match=r"moee-topics\[serve\]"):
        serve(tmp_path, ServeSettings(port=0))


@pytest.mark.slow
def test_the_command_says_its_address_answers_and_ends_by_ctrl_c(run_folder: Path) -> None:
    command = [sys.executable, "-m", "moee_topics", "serve", str(run_folder), "--port", "0", "--offline"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stderr is not None
    address = next(line for line in process.stderr if line.startswith("Serving at "))
    client = Client(int(address.split()[2].rpartition(":")[2]))
    assert client.get("/health").json["status"] == "ok"
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0 and "stopped" not in process.stderr.read()
