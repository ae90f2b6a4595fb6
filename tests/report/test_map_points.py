from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_run import bare_run

from moee_topics.report.map_points import sampled_rows, topic_colours
from moee_topics.run_folder import RunFolder


def test_the_sample_of_the_map_keeps_every_topic_s_share() -> None:
    topics = np.repeat([-1, 0, 1, 2], [4000, 3000, 2000, 1000])[np.random.default_rng(0).permutation(10_000)]
    rows = sampled_rows(topics, 1000)
    assert len(set(rows.tolist())) == 1000 and (np.diff(rows) > 0).all()
    assert [int((topics[rows] == t).sum()) for t in (-1, 0, 1, 2)] == pytest.approx([400, 300, 200, 100], abs=2)
    assert sampled_rows(topics, 10_000).tolist() == list(range(10_000))


def test_the_ten_largest_topics_have_colours_of_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    topics = np.sort(rng.choice(30, 3000, p=np.arange(30, 0, -1) / 465))
    colours = topic_colours(run := RunFolder.read(bare_run(tmp_path, ["t"] * 3000, topics.tolist())))
    assert len({colours[topic.topic] for topic in run.ranked_topics[:10]}) == 10
    assert set(colours.values()) == set(range(10))


def test_topics_of_an_updated_run_keep_their_colour_and_new_ones_take_a_free_one(tmp_path: Path) -> None:
    run = RunFolder.read(bare_run(tmp_path, ["t"] * 6, [0, 1, 1, 5, 5, 5]))
    RunFolder.manifest.write(run, {"update": {"colours": {"0": 0, "1": 4, "9": 7}}})
    assert topic_colours(run) == {0: 0, 1: 4, 5: 1}
