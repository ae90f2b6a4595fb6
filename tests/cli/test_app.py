"""The application: its version, by both ways of starting it, and what a signal does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import TEXTS, call

from moee_topics import __version__


def test_the_version_is_told_by_both_ways_of_starting_it() -> None:
    assert call("--version").stdout == f"moee-topics {__version__}\n"
    command = [sys.executable, "-m", "moee_topics", "--version"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == f"moee-topics {__version__}\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_with_6_and_the_next_run_goes_on(tmp_path: Path, recipe: Path, number: int) -> None:
    posts = tmp_path / "many.txt"
    posts.write_text("\n".join(f"{text} {number}" for number in range(100) for text in TEXTS))
    command = [sys.executable, "-m", "moee_topics", "embed", str(recipe), f"corpus.source={posts}"]
    command += ["--output", str(tmp_path / "store")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while not list(tmp_path.rglob("shard-*.safetensors")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 6 and "run the same command again" in stderr
    again = subprocess.run([*command, "--json"], check=True, capture_output=True, text=True)
    assert 0 < json.loads(again.stdout)["encoded"] < 100 * len(TEXTS)
