"""Labels are counted once, and each goes to the topic that holds most of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import bare_run

from moee_topics.report.labels_chapter import label_counts, labels, main_label
from moee_topics.run_folder import RunFolder


def test_labels_are_counted_once_and_go_to_the_topic_that_holds_most_of_them(folder: RunFolder) -> None:
    counts = label_counts(folder)
    assert sum(of_topic.total() for of_topic in counts.values()) == len(folder.result)
    assert main_label({}, 3) == ("", 0.0)
    chapter = labels(folder)
    assert chapter is not None and len(chapter["homes"]) == 2 and chapter["mixed"] == []
    for label, size, home, share in chapter["homes"]:
        assert size == sum(of == label for of in folder.labels or [])
        assert share == pytest.approx(counts[home][label] / size)


def test_a_run_without_labels_has_no_chapter_of_them(tmp_path: Path) -> None:
    plain = RunFolder.read(bare_run(tmp_path, ["one", "two"]))
    assert label_counts(plain) == {} and labels(plain) is None
