"""The page of a run, written by the stage or again by itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from moee_topics.errors import InputError
from moee_topics.run import report
from moee_topics.run_folder import RunFolder


def test_a_page_written_again_has_the_settings_of_the_run(measured: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(measured / "run", tmp_path / "run"))
    run = RunFolder(folder)
    section = {**run.manifest["recipe"]["report"], "title": "Posts & <b>people</b>", "a_key_of_another_version": 1}
    RunFolder.manifest.write(run, {**run.manifest, "recipe": {**run.manifest["recipe"], "report": section}})
    page = report(folder)
    assert page == RunFolder.report.path(run) and "Posts &amp; &lt;b&gt;people" in page.read_text(encoding="utf-8")
    assert RunFolder(folder).whole([RunFolder.report]) and json.loads((folder / "stages.json").read_text())["report"]


def test_a_folder_without_a_run_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished run"):
        report(tmp_path)
