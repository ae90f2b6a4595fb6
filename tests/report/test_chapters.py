from __future__ import annotations

from pathlib import Path

import pytest
from small_run import bare_run, small_run

from moee_topics.report.chapters import (
    EXCERPT,
    excerpt,
    expert_rows,
    label_chapter,
    label_counts,
    main_label,
    manifest_tables,
    outlier_chapter,
    topic_rows,
)
from moee_topics.run_folder import RunFolder


@pytest.fixture
def folder(run: Path) -> RunFolder:
    return RunFolder.read(run)


def test_the_table_of_topics_has_every_topic_with_its_planted_expert_and_its_main_label(folder: RunFolder) -> None:
    counts = label_counts(folder)
    rows = topic_rows(folder, counts)
    assert [row.topic for row in rows] == folder.ranked_topics
    assert all(row.expert == f"L2 E{row.topic.topic}" for row in rows)
    assert all((row.label, row.purity) == (f"label {row.topic.topic % 2}", 1.0) for row in rows)
    assert sum(row.share for row in rows) == pytest.approx(1 - folder.result.outlier_share)


def test_labels_are_counted_once_and_go_to_the_topic_that_holds_most_of_them(folder: RunFolder) -> None:
    counts = label_counts(folder)
    assert sum(of_topic.total() for of_topic in counts.values()) == len(folder.result)
    assert main_label({}, 3) == ("", 0.0)
    chapter = label_chapter(folder, counts)
    assert chapter is not None and chapter["count"] == 2 and chapter["mixed"] == []
    for label, size, home, share in chapter["homes"]:
        assert size == sum(of == label for of in folder.labels or [])
        assert share == pytest.approx(counts[home][label] / size)


def test_outliers_are_shown_evenly_and_their_labels_as_a_share_of_the_label(folder: RunFolder) -> None:
    chapter = outlier_chapter(folder, label_counts(folder))
    assert chapter is not None and len(chapter["samples"]) == 6
    assert chapter["count"] == (folder.result.topics == -1).sum()
    assert sum(count for _, count, _ in chapter["by_label"]) == chapter["count"]


def test_a_run_without_labels_outliers_or_experts_has_none_of_their_chapters(tmp_path: Path) -> None:
    plain = RunFolder.read(bare_run(tmp_path, ["one", "two"]))
    assert label_counts(plain) == {}
    assert (label_chapter(plain, {}), outlier_chapter(plain, {}), expert_rows(plain)) == (None, None, [])
    assert [row.excerpt for row in topic_rows(plain, {})] == [""]


def test_experts_stand_strongest_first_with_every_topic_they_serve(folder: RunFolder) -> None:
    rows = expert_rows(folder)
    assert {row["name"] for row in rows} >= {f"L2 E{topic}" for topic in range(4)}
    lifts = [float(row["topics"].split(" × ")[1].split(";")[0]) for row in rows]
    assert lifts == sorted(lifts, reverse=True) and all(row["user"] for row in rows[:4])


def test_an_excerpt_is_one_line_and_never_much_longer_than_it_may_be(tmp_path: Path) -> None:
    folder = RunFolder.read(bare_run(tmp_path, ["two\n lines", "long " * 100]))
    assert excerpt(folder, 0) == "two lines"
    assert len(excerpt(folder, 1)) <= EXCERPT + 1 and excerpt(folder, 1).endswith("…")
    assert excerpt(folder, 7) == ""


def test_the_tables_of_the_manifest_leave_out_what_the_run_does_not_say(tmp_path: Path) -> None:
    tables = dict(manifest_tables(RunFolder.read(small_run(tmp_path))))
    assert dict(tables["Run"]) == {"name": "small", "created": "2026-01-01", "seed": "0"}
    assert ("max tokens", "64") in tables["Encoder"] and "Hashes" not in tables
