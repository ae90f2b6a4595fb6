"""The table of topics, beside what was planted in the run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_run import bare_run

from moee_topics.evaluate import Ballot, count_votes
from moee_topics.report.topics_chapter import CHAPTER, topic_rows, topics
from moee_topics.run_folder import RunFolder


def test_the_table_of_topics_has_every_topic_with_its_planted_expert_and_its_main_label(folder: RunFolder) -> None:
    rows = topic_rows(folder)
    assert [row.topic for row in rows] == folder.ranked_topics
    assert all(row.expert == f"L2 E{row.topic.topic}" for row in rows)
    assert all((row.label, row.purity) == (f"label {row.topic.topic % 2}", 1.0) for row in rows)
    assert sum(row.share for row in rows) == pytest.approx(1 - folder.result.outlier_share)


def test_what_a_judge_said_of_the_names_is_a_column(folder: RunFolder, tmp_path: Path) -> None:
    assert "Name fits" not in str(CHAPTER.html(folder, 0))
    run = RunFolder(shutil.copytree(folder.path, tmp_path / "run"))
    topics = [topic.topic for topic in run.ranked_topics]
    ballots = [Ballot(topic, 0, (topics[0], topics[1])) for topic in topics for _ in range(2)]
    check = count_votes(
        "<it>", ballots, [topics[0]] * len(ballots), dict.fromkeys(topics[:-1], "x") | {topics[-1]: "y"}
    )
    RunFolder.label_check.write(run, check.to_json())
    assert [row.fit for row in topic_rows(run)] == [1.0] + [0.0] * (len(topics) - 1)
    page = str(CHAPTER.html(run, 0))
    assert "Name fits" in page and "&lt;it&gt;" in page and "<it>" not in page


def test_a_run_without_labels_and_experts_has_rows_without_them(tmp_path: Path) -> None:
    plain = RunFolder.read(bare_run(tmp_path, ["one", "two"]))
    assert topics(plain)["has_labels"] is False
    assert [(row.excerpt, row.label, row.expert) for row in topic_rows(plain)] == [("", "", "")]
