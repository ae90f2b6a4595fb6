"""The corpus fitted again: kept fit by fit, measured, dropped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import STABILITY, contents, recipe_of

from moee_topics import run as pipeline
from moee_topics.errors import Interrupted, NoTopicsError
from moee_topics.run import refits
from moee_topics.run.workspace import Workspace
from moee_topics.topics import FitSettings


def test_killed_between_refits_it_goes_on_and_ends_the_same(
    measured: Path, root: Path, corpus: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, real, fits = recipe_of(corpus, tiny_olmoe, *STABILITY), refits.fit_topics, []

    def counted(*args: Any, **kwargs: Any) -> Any:
        fits.append(1)
        if len(fits) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(refits, "fit_topics", counted)
    with pytest.raises(Interrupted):
        pipeline.run(recipe, root / "run", root / "store")
    assert "stability_seeds" not in json.loads((root / "run" / "scores.json").read_text())
    pipeline.run(recipe, root / "run", root / "store")
    assert len(fits) == 4, "one was kept, one cut off and done again"
    after, whole = contents(root / "run"), contents(measured / "run")
    assert {*after} == {*whole}
    differing = {name for name in whole if whole[name] != after[name]}
    assert differing <= {"report.html"}, "the report alone tells how long it took"


def test_a_refit_without_topics_counts_as_all_outliers(
    root: Path, corpus: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*args: Any, **kwargs: Any) -> None:
        raise NoTopicsError("none")

    monkeypatch.setattr(refits, "fit_topics", nothing)
    pipeline.run(recipe_of(corpus, tiny_olmoe, "stability.seeds=1"), root / "run", root / "store")
    summary = json.loads((root / "run" / "stability.json").read_text())
    assert summary["seeds"]["topics"][1] == 0 and summary["seeds"]["words"] is None and "bootstrap" not in summary
    assert {figures["seeds"] for figures in summary["topics"].values()} == {0.0}
    scores = json.loads((root / "run" / "scores.json").read_text())
    assert scores["stability_seeds"]["value"] == summary["seeds"]["ami"] and "stability_bootstrap" not in scores


def test_a_refit_with_the_run_s_own_seed_is_the_run_itself(
    finished: Path, corpus: Path, tiny_olmoe: Path, tmp_path: Path
) -> None:
    own = refits.TopicModel.load(finished / "run" / "model")
    work = Workspace(recipe_of(corpus, tiny_olmoe), tmp_path, finished / "store")
    again = refits.Refitter(work, own.result.texts).result(refits.Refit("seeds", 0))
    assert again.topics == own.result.topics.tolist() and again.words == refits.ctfidf_words(own)
    for topic in own.result.topic_info:
        if topic.topic >= 0:
            # Of words that weigh the same, BERTopic keeps some and the refit the first by the alphabet.
            least = min(weight for _, weight in topic.words)
            heavier = {word for word, weight in topic.words if weight > least + 1e-9}
            assert heavier <= set(again.words[topic.topic]) and len(again.words[topic.topic]) == len(topic.words)


def test_refits_change_the_seed_or_the_documents_and_nothing_else() -> None:
    settings = FitSettings(seed=2**32 - 1, umap={"n_neighbors": 5}, representation="keybert")
    other = refits.Refit("seeds", 2).settings(settings)
    assert (other.seed, other.umap, other.representation) == (1, {"n_neighbors": 5}, "ctfidf")
    sample = refits.Refit("bootstrap", 2)
    assert sample.settings(settings).umap == settings.umap and sample.settings(settings).seed == settings.seed
    assert [sample.settings(settings, share).hdbscan["min_cluster_size"] for share in (1, 0.63, 0.01)] == [15, 9, 2]
    rows = sample.rows(5000, seed=1)
    assert rows is not None and len(set(rows.tolist())) == len(rows) == pytest.approx(5000 * (1 - np.exp(-1)), rel=0.02)
    assert (np.diff(rows) > 0).all() and np.array_equal(rows, sample.rows(5000, seed=1))
    others = [refits.Refit("bootstrap", 3).rows(5000, seed=1), sample.rows(5000, seed=2)]
    assert not any(np.array_equal(rows, other) for other in others)
