"""The stage of stability: measured, reported, dropped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import STABILITY, Heard, contents, copied, recipe_of

from moee_topics import run as pipeline
from moee_topics.run import refits
from moee_topics.run_folder import RunFolder


def test_stability_asked_of_a_finished_run_is_measured_and_reported(measured: Path) -> None:
    folder = measured / "run"
    summary = json.loads((folder / "stability.json").read_text())
    assert (summary["seeds"]["fits"], summary["bootstrap"]["fits"]) == (3, 2)
    assert np.shape(summary["seeds"]["pairwise_ami"]) == (3, 3) and len(summary["seeds"]["topics"]) == 3
    info = json.loads((folder / "topic_info.json").read_text())
    topics = {str(topic["topic"]) for topic in info if topic["topic"] >= 0}
    assert set(summary["topics"]) == topics
    assert all(0 <= value <= 1 for figures in summary["topics"].values() for value in figures.values())
    scores = json.loads((folder / "scores.json").read_text())
    of_seeds = scores["stability_seeds"]
    assert of_seeds["value"] == summary["seeds"]["ami"] and "3 fits" in of_seeds["description"]
    assert scores["stability_bootstrap"]["value"] == summary["bootstrap"]["ami"]
    assert '<section id="stability"' in (folder / "report.html").read_text(encoding="utf-8")
    names = [stage["name"] for stage in RunFolder(folder).manifest["stages"]]
    assert names[-2:] == ["stability", "report"]


def test_measured_again_nothing_is_fitted_and_nothing_changes(
    measured: Path, corpus: Path, tiny_olmoe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, recipe = copied(measured, tmp_path), recipe_of(corpus, tiny_olmoe, *STABILITY)
    before, heard = contents(root / "run"), Heard()
    monkeypatch.setattr(refits, "fit_topics", lambda *_, **__: pytest.fail("fitted again"))
    pipeline.run(recipe, root / "run", root / "store", progress=heard)
    assert heard.skipped == ["embed", "fit", "stability", "report"] and contents(root / "run") == before
    assert [stage.action for stage in pipeline.plan(recipe, root / "run", root / "store")] == ["skip"] * 4
    (root / "run" / "stability.json").unlink()
    pipeline.run(recipe, root / "run", root / "store")
    after = contents(root / "run")
    assert {name for name in before if after[name] != before[name]} <= {"report.html"}, "made of the kept refits"


def test_no_longer_asked_for_it_is_gone_from_scores_and_report(
    measured: Path, finished: Path, corpus: Path, tiny_olmoe: Path, tmp_path: Path
) -> None:
    root, heard = copied(measured, tmp_path), Heard()
    recipe = recipe_of(corpus, tiny_olmoe, "report.html=true")
    plan = pipeline.plan(recipe, root / "run", root / "store")
    assert [(stage.name, stage.action) for stage in plan] == [("embed", "skip"), ("fit", "skip"), ("report", "run")]
    pipeline.run(recipe, root / "run", root / "store", progress=heard)
    assert heard.skipped == ["embed", "fit"] and not (root / "run" / "stability.json").exists()
    assert (root / "run" / "scores.json").read_bytes() == (finished / "run" / "scores.json").read_bytes()
    assert '<section id="stability"' not in (root / "run" / "report.html").read_text(encoding="utf-8")


def test_another_fit_drops_the_stability_of_the_last(
    measured: Path, corpus: Path, tiny_olmoe: Path, tmp_path: Path
) -> None:
    root = copied(measured, tmp_path)
    recipe = recipe_of(corpus, tiny_olmoe, "hdbscan.min_cluster_size=6")
    run = pipeline.fit(recipe, root / "run", root / "store")
    assert not RunFolder.stability.exists(run) and not RunFolder.refits.exists(run)
    assert set(run.stages) == {"embed", "fit"}
