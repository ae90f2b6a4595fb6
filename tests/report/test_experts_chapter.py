"""Experts stand strongest first, each with the topics it serves."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from small_run import bare_run

from moee_topics.evaluate.topic_experts import ExpertSettings, find_experts
from moee_topics.report.experts_chapter import CHAPTER, alike_in_routing_only, expert_rows, experts, layer_chart
from moee_topics.run_folder import RunFolder
from moee_topics.topics.result import Topic, TopicResult


def test_experts_stand_strongest_first_with_every_topic_they_serve(folder: RunFolder) -> None:
    rows = expert_rows(folder)
    assert {row["name"] for row in rows} >= {f"L2 E{topic}" for topic in range(4)}
    lifts = [row["topics"][0][1] for row in rows]
    assert lifts == sorted(lifts, reverse=True) and all(row["user"] for row in rows[:4])


def test_topics_that_were_found_by_routing_are_said_to_be(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for method, is_circular in (("weighted_sum", True), ("hidden_states", False), ("of_an_older_version", False)):
        monkeypatch.setattr(RunFolder, "section", lambda run, name, method=method: {"method": method})
        chapter = experts(folder)
        assert chapter is not None and chapter["is_circular"] is is_circular, method


def test_a_run_without_experts_has_no_chapter_of_them(tmp_path: Path) -> None:
    plain = RunFolder.read(bare_run(tmp_path, ["one", "two"]))
    assert (experts(plain), expert_rows(plain)) == (None, [])


def test_topics_alike_in_routing_but_not_in_words_are_found(tmp_path: Path) -> None:
    rng, topics = np.random.default_rng(0), np.repeat(np.arange(4), 60)
    weights = rng.dirichlet(np.full(8, 2.0), (240, 2))
    for topic, expert in {0: 1, 1: 6, 2: 1, 3: 6}.items():
        weights[topics == topic, 1, expert] += 1
    words = {0: ["alpha", "beta"], 1: ["gamma", "delta"], 2: ["eta", "theta"], 3: ["gamma", "delta"]}
    info = [Topic(t, 60, f"{t}_x", [(word, 1.0) for word in words[t]]) for t in range(4)]
    positions = rng.normal(size=(240, 2)).astype(np.float32)
    ids = [str(i) for i in range(240)]
    TopicResult(ids, ids, topics, np.ones(240, np.float32), positions, info).save(tmp_path)
    experts = find_experts(weights, topics, rng=rng, settings=ExpertSettings(resamples=5))
    pairs = alike_in_routing_only(RunFolder.read(tmp_path), experts)
    assert [(a, b, shared) for a, b, _, shared in pairs] == [(0, 2, 0.0)]  # 1 and 3 share their words
    assert pairs[0][2] > 0.8


def test_every_layer_has_a_bar_and_its_control_without_a_script(folder: RunFolder) -> None:
    assert folder.experts is not None
    chart = ElementTree.fromstring(str(layer_chart(folder.experts)))
    bars = [bar.get("class") for bar in chart.iter("rect")]
    assert bars == ["bar-value", "bar-control"] * folder.experts.layers
    assert "Layer 2 tells most" in " ".join(str(CHAPTER.html(folder)).split())  # where an expert was planted
