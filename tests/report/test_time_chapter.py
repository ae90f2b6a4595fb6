"""The place where the script draws topics over time."""

from __future__ import annotations

from pathlib import Path

from small_run import bare_run

from moee_topics.report.time_chapter import CHAPTER
from moee_topics.run_folder import RunFolder


def test_only_a_run_with_times_has_the_chapter(folder: RunFolder, tmp_path: Path) -> None:
    assert 'id="time-charts"' in str(CHAPTER.html(folder))
    assert CHAPTER.html(RunFolder.read(bare_run(tmp_path, ["one", "two"]))) is None
