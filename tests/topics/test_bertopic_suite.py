"""BERTopic's own tests with ``MoEEBackend`` in the place of its embedding model.

They are in BERTopic's repository alone (its distributions lack the fixtures), so a folder of it at the tag of the
installed version is looked for::

    git clone --branch v0.17.4 --depth 1 https://github.com/MaartenGr/BERTopic
    BERTOPIC_REPOSITORY=BERTopic SCIKIT_LEARN_DATA=FOLDER pytest -m slow tests/topics/test_bertopic_suite.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import pytest

TESTS = Path(__file__).parents[1]
REPOSITORY = os.environ.get("BERTOPIC_REPOSITORY")
NEWSGROUPS = Path(os.environ.get("SCIKIT_LEARN_DATA", TESTS.parents[1] / "shared/data/scikit_learn_data"))
WIDTHS = {"tests/test_sub_models/test_embeddings.py": ("384", "1296")}
"""Where the suite names the dimensions of all-MiniLM-L6-v2, the embedded model has 576 and 720 of its routing."""
CANNOT_PASS: dict[str, str] = {}
"""Tests that fail, each with the reason why it cannot be otherwise."""
FEWEST_RUN = 270
"""Of 274: a suite that skips nearly all proves nothing."""


@pytest.mark.slow
@pytest.mark.skipif(not REPOSITORY, reason="BERTOPIC_REPOSITORY names no folder of BERTopic's repository")
@pytest.mark.skipif(not NEWSGROUPS.is_dir(), reason="20 Newsgroups is absent (SCIKIT_LEARN_DATA)")
def test_every_test_of_bertopic_passes_or_is_listed_with_its_reason(tmp_path: Path) -> None:
    repository = Path(REPOSITORY or "")
    assert f'version = "{version("bertopic")}"' in (repository / "pyproject.toml").read_text(encoding="utf-8")
    shutil.copytree(repository / "tests", tmp_path / "tests")
    for file, (theirs, ours) in WIDTHS.items():
        place = tmp_path / file
        place.write_text(place.read_text(encoding="utf-8").replace(theirs, ours), encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
        "SCIKIT_LEARN_DATA": str(NEWSGROUPS),
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "bertopic_suite", "--junitxml=results.xml", "tests"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode in (0, 1), ended.stdout[-3000:] + ended.stderr[-3000:]
    failed = failures(tmp_path / "results.xml")
    assert failed == sorted(CANNOT_PASS), ended.stdout[-3000:]
    cases = ElementTree.parse(tmp_path / "results.xml").iter("testcase")
    assert sum(case.find("skipped") is None for case in cases) >= FEWEST_RUN, ended.stdout[-3000:]


def failures(results: Path) -> list[str]:
    """The names of the tests that failed or could not be set up."""
    cases = ElementTree.parse(results).iter("testcase")
    return sorted(
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    )
