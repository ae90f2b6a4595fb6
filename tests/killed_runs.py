"""A change to a run, killed at its syncs to disk in a child process, and what readers are given then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

KILLED = """
import json, os, sys
from pathlib import Path
from moee_topics import run as pipeline
from moee_topics.run_folder import RunFolder
from moee_topics.topics import Decision
folder, new, policy = Path({folder!r}), {new!r}, {policy!r}
def update(kill_at):
    calls, sync = [0], os.fsync
    def counted(descriptor):
        calls[0] += 1
        if calls[0] == kill_at:
            os._exit(9)
        sync(descriptor)
    os.fsync = counted
    {call}
    return calls[0]
RunFolder(folder).model, pipeline.Predictor.load(folder)  # once for all children
for kill_at in {moments!r}:
    if (child := os.fork()) == 0:
        update(kill_at)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    current = RunFolder.read(folder)
    for file in (RunFolder.result, RunFolder.model, RunFolder.scores, RunFolder.encoder, RunFolder.manifest):
        file.check(current)
    print(json.dumps([kill_at, code, current.path.name, len(current.result)]), flush=True)
    if current.path != folder:  # also by a kill after the list of versions was replaced
        break
"""


def killed(
    folder: Path, new: str, policy: str, moments: list[int], call: str = "pipeline.update(folder, [new], policy)"
) -> list[list[Any]]:
    """What readers are given after a change was killed at each of some syncs to disk; the last one may end it."""
    program = KILLED.format(folder=str(folder), new=new, policy=policy, moments=moments, call=call)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert {code for _, code, _, _ in outcomes} <= {0, 9}, done.stderr  # killed or finished, and not failed
    return outcomes
