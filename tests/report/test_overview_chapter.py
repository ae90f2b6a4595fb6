"""The numbers that a report begins with."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import bare_run

from moee_topics.report.overview_chapter import LARGEST, overview
from moee_topics.run_folder import RunFolder


def test_the_overview_counts_topics_labels_and_outliers(folder: RunFolder) -> None:
    chapter = overview(folder)
    assert chapter["topics_total"] == len(folder.ranked_topics)
    assert chapter["largest"] == folder.ranked_topics[:LARGEST] and chapter["label_count"] == 2
    assert chapter["outlier_share"] == pytest.approx((folder.result.topics == -1).mean())


def test_a_run_of_a_method_that_is_gone_has_an_overview(tmp_path: Path) -> None:
    plain = RunFolder.read(bare_run(tmp_path, ["one", "two"]))
    chapter = overview(plain)
    assert (chapter["method"], chapter["label_count"], chapter["outlier_share"]) == (None, 0, None)
