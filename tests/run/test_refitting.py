"""The corpus fitted again: kept fit by fit, measured, dropped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import STABILITY, Heard, contents, copied, recipe_of

from moee_topics import run as pipeline
from moee_topics.errors import Interrupted, NoTopicsError
from moee_topics.run import refitting as measuring
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import RunFolder
from moee_topics.topics import FitSettings


def test_stability_asked_of_a_finished_run_is_measured_and_reported(measured: Path) -> None:
    folder = measured / "run"
    found = json.loads((folder / "stability.json").read_text())
    assert (found["seeds"]["fits"], found["bootstrap"]["fits"]) == (3, 2)
    assert np.shape(found["seeds"]["pairwise_ami"]) == (3, 3) and len(found["seeds"]["topics"]) == 3
    info = json.loads((folder / "topic_info.json").read_text())
    topics = {str(topic["topic"]) for topic in info if topic["topic"] >= 0}
    assert set(found["topics"]) == topics
    assert all(0 <= value <= 1 for figures in found["topics"].values() for value in figures.values())
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["stability"]["value"] == found["seeds"]["ami"] and "3 fits" in scores["stability"]["description"]
    assert scores["stability_bootstrap"]["value"] == found["bootstrap"]["ami"]
    assert '<section id="stability"' in (folder / "report.html").read_text(encoding="utf-8")
    names = [stage["name"] for stage in RunFolder(folder).manifest["stages"]]
    assert names[-2:] == ["stability", "report"]


def test_measured_again_nothing_is_fitted_and_nothing_changes(
    measured: Path, corpus: Path, tiny_olmoe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, recipe = copied(measured, tmp_path), recipe_of(corpus, tiny_olmoe, *STABILITY)
    before, heard = contents(root / "run"), Heard()
    monkeypatch.setattr(measuring, "fit_topics", lambda *_, **__: pytest.fail("fitted again"))
    pipeline.run(recipe, root / "run", root / "store", progress=heard)
    assert heard.skipped == ["embed", "fit", "stability", "report"] and contents(root / "run") == before
    assert [stage.action for stage in pipeline.plan(recipe, root / "run", root / "store")] == ["skip"] * 4
    (root / "run" / "stability.json").unlink()
    pipeline.run(recipe, root / "run", root / "store")
    after = contents(root / "run")
    assert {name for name in before if after[name] != before[name]} <= {"report.html"}, "made of the kept refits"


def test_killed_between_refits_it_goes_on_and_ends_the_same(
    measured: Path, root: Path, corpus: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, real, fits = recipe_of(corpus, tiny_olmoe, *STABILITY), measuring.fit_topics, []

    def counted(*args: Any, **kwargs: Any) -> Any:
        fits.append(1)
        if len(fits) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(measuring, "fit_topics", counted)
    with pytest.raises(Interrupted):
        pipeline.run(recipe, root / "run", root / "store")
    assert "stability" not in json.loads((root / "run" / "scores.json").read_text())
    pipeline.run(recipe, root / "run", root / "store")
    assert len(fits) == 4, "one was kept, one cut off and done again"
    after, whole = contents(root / "run"), contents(measured / "run")
    assert {*after} == {*whole}
    differing = {name for name in whole if whole[name] != after[name]}
    assert differing <= {"report.html"}, "the report alone tells how long it took"


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
    assert not run.files.stability.exists and not run.files.refits.exists
    assert set(run.files.stages.read()) == {"embed", "fit"}


def test_a_refit_without_topics_counts_as_all_outliers(
    root: Path, corpus: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*args: Any, **kwargs: Any) -> None:
        raise NoTopicsError("none")

    monkeypatch.setattr(measuring, "fit_topics", nothing)
    pipeline.run(recipe_of(corpus, tiny_olmoe, "stability.seeds=1"), root / "run", root / "store")
    found = json.loads((root / "run" / "stability.json").read_text())
    assert found["seeds"]["topics"][1] == 0 and found["seeds"]["words"] is None and "bootstrap" not in found
    assert {figures["seeds"] for figures in found["topics"].values()} == {0.0}
    scores = json.loads((root / "run" / "scores.json").read_text())
    assert scores["stability"]["value"] == found["seeds"]["ami"] and "stability_bootstrap" not in scores


def test_a_refit_with_the_run_s_own_seed_is_the_run_itself(
    finished: Path, corpus: Path, tiny_olmoe: Path, tmp_path: Path
) -> None:
    own = measuring.TopicModel.load(finished / "run" / "model")
    work = Workspace(recipe_of(corpus, tiny_olmoe), tmp_path, finished / "store")
    again = measuring.Refitter(work, own.result.texts).result(measuring.Refit("seeds", 0))
    assert again.topics == own.result.topics.tolist() and again.words == measuring.ctfidf_words(own)
    for topic in own.result.topic_info:
        if topic.topic >= 0:
            # Of words that weigh the same, BERTopic keeps some and the refit the first by the alphabet.
            least = min(weight for _, weight in topic.words)
            heavier = {word for word, weight in topic.words if weight > least + 1e-9}
            assert heavier <= set(again.words[topic.topic]) and len(again.words[topic.topic]) == len(topic.words)


def test_refits_change_the_seed_or_the_documents_and_nothing_else() -> None:
    settings = FitSettings(seed=2**32 - 1, umap={"random_state": 7, "n_neighbors": 5}, representation="keybert")
    other = measuring.Refit("seeds", 2).settings(settings)
    assert (other.seed, other.umap, other.representation) == (1, {"random_state": 9, "n_neighbors": 5}, "ctfidf")
    sample = measuring.Refit("bootstrap", 2)
    assert sample.settings(settings).umap == settings.umap and sample.settings(settings).seed == settings.seed
    assert [sample.settings(settings, share).hdbscan["min_cluster_size"] for share in (1, 0.63, 0.01)] == [15, 9, 2]
    rows = sample.rows(5000, seed=1)
    assert rows is not None and len(set(rows.tolist())) == len(rows) == pytest.approx(5000 * (1 - np.exp(-1)), rel=0.02)
    assert (np.diff(rows) > 0).all() and np.array_equal(rows, sample.rows(5000, seed=1))
    others = [measuring.Refit("bootstrap", 3).rows(5000, seed=1), sample.rows(5000, seed=2)]
    assert not any(np.array_equal(rows, other) for other in others)
