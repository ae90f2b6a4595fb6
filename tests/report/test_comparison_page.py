from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_run import write_json

from moee_topics.errors import InputError
from moee_topics.report import write_comparison
from moee_topics.report.comparison_page import compare_runs
from moee_topics.topics.result import Topic, TopicResult


def test_a_run_compared_with_itself_agrees_in_everything(run: Path, tmp_path: Path) -> None:
    comparison = compare_runs(run, run)
    assert comparison.agreement.ami == pytest.approx(1) and comparison.settings == []
    assert all(pair.first == pair.second and pair.jaccard == 1 for pair in comparison.matching.pairs)
    page = write_comparison(run, run, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "4 of the first are found again" in page and "4 topics stand against 4" in page


def test_a_merged_topic_is_told_as_absorbed_on_one_side(run: Path, tmp_path: Path) -> None:
    result, other = TopicResult.load(run), tmp_path / "other"
    merged = np.where(result.topics == 3, 2, result.topics)
    info = [topic for topic in result.topic_info if topic.topic != 3]
    TopicResult(result.ids[::-1], result.texts[::-1], merged[::-1], *_rest(result), info).save(other)
    write_json(other / "run.json", {"name": "merged", "recipe": {"seed": 2}})
    comparison = compare_runs(run, other)
    assert {fate.topic: fate.fate for fate in comparison.matching.second_fates}[2] in ("split", "matched")
    assert ("seed", "0", "2") in comparison.settings
    text = write_comparison(run, other, tmp_path / "two.md").read_text(encoding="utf-8")
    assert "# small and merged" in text and "| hockey, goal, team |" in text
    assert re.search(r"- (disk, drive, cable|bread, flour, oven) \(\d+\): absorbed", text)


def _rest(result: TopicResult) -> tuple[Any, Any]:
    return result.probabilities[::-1], result.positions[::-1]


def test_runs_of_different_corpora_cannot_be_compared(run: Path, tmp_path: Path) -> None:
    TopicResult(["else"], ["text"], np.zeros(1, int), np.ones(1), np.zeros((1, 2)), [Topic(0, 1, "a", [])]).save(
        tmp_path
    )
    with pytest.raises(InputError, match="share no document id"):
        compare_runs(run, tmp_path)
