"""Runs with equal inputs write equal bytes, whatever the machine has chosen for hashes, threads, places and words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import contents, write_corpus

MACHINES: list[tuple[dict[str, str], str]] = [
    ({"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}, "."),
    (
        {"PYTHONHASHSEED": "4711", "TZ": "Asia/Kolkata", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        "/",
    ),
    ({"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}, "/tmp"),
    ({"PYTHONHASHSEED": "2", "TZ": "America/Los_Angeles", "PYTHONOPTIMIZE": "1"}, "."),
]
RUN = """
import sys
sys.path[:0] = sys.argv[4:]
from pathlib import Path
from moee_topics import run
from moee_topics.report import export_report
from tiny_runs import recipe_of
corpus, model, output = map(Path, sys.argv[1:4])
recipe = recipe_of(corpus, model, "report.html=true", "stability.seeds=2", "stability.bootstraps=1")
run(recipe, output / "run", output / "store")
export_report(output / "run", ["csv", "markdown", "svg", "parquet"])
"""


@pytest.mark.slow
def test_equal_runs_are_equal_byte_by_byte_on_every_machine(tiny_olmoe: Path, tmp_path: Path) -> None:
    corpus, tests = write_corpus(tmp_path / "posts.jsonl", 140), Path(__file__).parents[1]
    written: list[dict[str, Any]] = []
    for number, (environment, place) in enumerate(MACHINES):
        output = tmp_path / str(number)
        arguments = [corpus, tiny_olmoe, output, tests.parent, tests]
        subprocess.run(
            [sys.executable, "-c", RUN, *map(str, arguments)],
            env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
            cwd=place,
            check=True,
            capture_output=True,
        )
        files = contents(output)
        assert "run/report.html" in files and json.loads((output / "run" / "run.json").read_text())["finished"]
        del files["run/report.html"]  # it says times
        written.append(files)
    for files in written[1:]:
        assert not {name for name in files.keys() | written[0].keys() if files.get(name) != written[0].get(name)}
