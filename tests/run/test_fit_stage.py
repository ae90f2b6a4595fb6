"""The fit: what a run folder then holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tiny_runs import DOCUMENTS, Heard, recipe_of, write_corpus

from moee_topics import run as pipeline
from moee_topics.errors import InputError
from moee_topics.fuse import Fusion
from moee_topics.run import fit_stage
from moee_topics.run.fit_stage import FitStage
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import RunFolder

FILES = {
    "run.json", "stages.json", "topics.parquet", "documents.parquet", "topic_info.json", "scores.json", "model",
    "experts.json", "hierarchy.json", "over_time.json", "per_class.json", "writer.lock", "digests.json",
}  # fmt: skip


def test_a_run_folder_holds_everything_the_report_reads(finished: Path) -> None:
    folder = finished / "run"
    assert {path.name for path in folder.iterdir()} == FILES
    table = pq.read_table(folder / "topics.parquet")
    assert table.column_names == ["id", "topic", "probability", "x", "y", "label", "timestamp"]
    assert table["id"].to_pylist() == [f"d{number}" for number in range(DOCUMENTS)]
    assert {path.name for path in (folder / "model").iterdir()} >= {
        "fusion.safetensors", "encoder.json",
    }  # fmt: skip
    assert not list(folder.rglob("*.pkl")) + list(folder.rglob("*.pickle"))


def test_the_scores_asked_for_are_there_with_their_meaning(finished: Path) -> None:
    scores = json.loads((finished / "run" / "scores.json").read_text())
    assert {"npmi", "topic_diversity", "outlier_share", "ami", "ari", "v_measure"} <= set(scores)
    assert all(set(score) == {"value", "description", "higher_is_better"} for score in scores.values())


def test_a_corpus_that_changes_under_the_run_is_refused(root: Path, tmp_path: Path, tiny_olmoe: Path) -> None:
    path = write_corpus(tmp_path / "t.jsonl")
    work = Workspace(recipe_of(path, tiny_olmoe), tmp_path / "run", root / "store")
    assert work.survey.documents == DOCUMENTS
    write_corpus(path, DOCUMENTS - 1)
    with pytest.raises(InputError, match="changed while"):
        FitStage().run(work)


@pytest.mark.parametrize("standardize", ["false", "hidden_states", "routing_weights"])
@pytest.mark.parametrize("method", ["hidden_states", "routing_weights"])
def test_every_fusion_goes_all_the_way(
    root: Path, corpus: Path, tiny_olmoe: Path, method: str, standardize: str, no_model: None
) -> None:
    recipe = recipe_of(corpus, tiny_olmoe, f"fusion.method={method}", f"fusion.standardize={standardize}")
    recipe = recipe.model_copy(update={"scores": ("outliers",)})
    folder = pipeline.run(recipe, root / "new", root / "store").path
    fusion = Fusion.load(folder / "model" / "fusion.safetensors")
    assert fusion == recipe.fusion and (fusion.standardizer is None) == (standardize == "false")
    assert RunFolder(folder).manifest["fusion"]["dimensions"] == {"hidden_states": 64, "routing_weights": 16}[method]


def test_a_chapter_that_fails_is_left_out_and_named_and_the_run_goes_on(
    root: Path, corpus: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ValueError("Distance matrix 'X' must not contain negative values")

    monkeypatch.setattr(fit_stage, "hierarchical_topics", fail)
    heard = Heard()
    recipe = recipe_of(corpus, tiny_olmoe, "report.html=true", "seed=7")
    run = pipeline.run(recipe, root / "run", root / "store", progress=heard)
    assert run.hierarchy == [] and run.over_time and RunFolder.report.exists(run)
    assert "negative values" in run.manifest["left_out"]["hierarchy"]
    assert any("'hierarchy' is left out" in note for note in heard.notes)
