"""Labels are counted once, and each goes to the topic that holds most of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_run import bare_run

from moee_topics.report.labels_chapter import label_counts, labels, main_label, matrix
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


def test_no_topic_is_both_pure_and_mixed(tmp_path: Path) -> None:
    run = RunFolder(bare_run(tmp_path, ["text"] * 6, [0, 0, 0, 1, 1, 1]))
    RunFolder.result.write(run, replace(run.result, labels=["a", "a", "b", "b", "b", "a"]))
    chapter = labels(RunFolder.read(tmp_path))
    assert chapter is not None
    assert [[topic.topic for topic, _, _ in chapter[kind]] for kind in ("purest", "mixed")] == [[0], [1]]


def test_the_table_of_topics_by_labels_has_shares_of_the_topics(folder: RunFolder) -> None:
    table = matrix(folder, label_counts(folder))
    assert table["labels"] == ["label 0", "label 1"]
    assert {topic.topic: shares for topic, shares in table["lines"]} == {
        -1: ["", "100"], 0: ["100", ""], 1: ["", "100"], 2: ["100", ""], 3: ["", "100"]}  # fmt: skip
