"""Outliers are shown evenly, with the labels that lost most."""

from __future__ import annotations

from pathlib import Path

from small_run import bare_run

from moee_topics.report.outliers_chapter import outliers
from moee_topics.run_folder import RunFolder


def test_outliers_are_shown_evenly_and_their_labels_as_a_share_of_the_label(folder: RunFolder) -> None:
    chapter = outliers(folder)
    assert chapter is not None and len(chapter["samples"]) == 6
    assert chapter["count"] == (folder.result.topics == -1).sum()
    assert sum(count for _, count, _ in chapter["by_label"]) == chapter["count"]


def test_a_run_without_outliers_has_no_chapter_of_them(tmp_path: Path) -> None:
    assert outliers(RunFolder.read(bare_run(tmp_path, ["one", "two"]))) is None
