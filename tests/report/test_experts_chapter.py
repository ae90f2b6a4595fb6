"""Experts stand strongest first, each with the topics it serves."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import bare_run

from moee_topics.report.experts_chapter import expert_rows, experts
from moee_topics.run_folder import RunFolder


def test_experts_stand_strongest_first_with_every_topic_they_serve(folder: RunFolder) -> None:
    rows = expert_rows(folder)
    assert {row["name"] for row in rows} >= {f"L2 E{topic}" for topic in range(4)}
    lifts = [float(row["topics"].split(" × ")[1].split(";")[0]) for row in rows]
    assert lifts == sorted(lifts, reverse=True) and all(row["user"] for row in rows[:4])


def test_topics_that_were_found_by_routing_are_said_to_be(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for method, is_circular in (("weighted_sum", True), ("hidden_states", False), ("of_an_older_version", False)):
        monkeypatch.setattr(RunFolder, "section", lambda run, name, method=method: {"method": method})
        chapter = experts(folder)
        assert chapter is not None and chapter["is_circular"] is is_circular, method


def test_a_run_without_experts_has_no_chapter_of_them(tmp_path: Path) -> None:
    plain = RunFolder.read(bare_run(tmp_path, ["one", "two"]))
    assert (experts(plain), expert_rows(plain)) == (None, [])
