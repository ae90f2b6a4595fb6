"""A whole run: what is done is skipped, what is cut off goes on, and nothing changes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_runs import DOCUMENTS, Heard, contents, recipe_of, write_corpus

from moee_topics import run as pipeline
from moee_topics.encode.encoder import MoEEncoder
from moee_topics.errors import StoreError
from moee_topics.run.ledger import Ledger
from moee_topics.run.manifest import store_of
from moee_topics.run_folder import RunFolder
from moee_topics.store import writing_alone


def test_two_runs_do_not_write_one_folder(root: Path, corpus: Path, tiny_olmoe: Path) -> None:
    with writing_alone(root / "run"), pytest.raises(StoreError, match="is writing to"):
        pipeline.run(recipe_of(corpus, tiny_olmoe), root / "run", root / "store")
    assert pipeline.run(recipe_of(corpus, tiny_olmoe), root / "run", root / "store").path == root / "run"


def test_a_second_run_skips_everything_and_changes_nothing(
    root: Path, corpus: Path, tiny_olmoe: Path, no_model: None
) -> None:
    before, heard = contents(root), Heard()
    pipeline.run(recipe_of(corpus, tiny_olmoe), root / "run", root / "store", progress=heard)
    assert heard.skipped == ["embed", "fit"]
    assert contents(root) == before
    manifest = RunFolder(root / "run").manifest
    assert manifest["finished"] is not None and all(stage["skipped"] for stage in manifest["stages"])


def test_a_run_goes_on_with_the_store_that_it_remembers(
    root: Path, corpus: Path, tiny_olmoe: Path, tmp_path: Path, no_model: None
) -> None:
    recipe, heard = recipe_of(corpus, tiny_olmoe), Heard()
    pipeline.run(recipe, root / "run", (root / "store").rename(tmp_path / "elsewhere"))
    assert [stage.action for stage in pipeline.plan(recipe, root / "run")] == ["skip", "skip"]
    pipeline.run(recipe, root / "run", progress=heard)
    pipeline.fit(recipe_of(corpus, tiny_olmoe, "hdbscan.min_cluster_size=6"), root / "run")
    assert heard.skipped == ["embed", "fit"] and not (root / "store").exists()
    run = RunFolder(root / "run")
    assert run.manifest["store"] == "../../elsewhere" and store_of(run).samefile(tmp_path / "elsewhere")


def test_a_run_whose_store_is_lost_says_so_and_encodes_again(root: Path, corpus: Path, tiny_olmoe: Path) -> None:
    shutil.rmtree(root / "store")
    recipe, heard = recipe_of(corpus, tiny_olmoe), Heard()
    pipeline.run(recipe, root / "run", progress=heard)
    assert [note for note in heard.notes if f"no longer has them: {DOCUMENTS} documents." in note]
    heard = Heard()
    pipeline.run(recipe_of(corpus, tiny_olmoe, "encoder.max_tokens=16"), root / "run", progress=heard)
    assert not any("had encoded" in note for note in heard.notes), "these were never encoded like this"


def test_a_damaged_manifest_keeps_no_run_from_beginning_anew(root: Path, corpus: Path, tiny_olmoe: Path) -> None:
    (root / "run" / "run.json").write_text("{")
    assert pipeline.run(recipe_of(corpus, tiny_olmoe), root / "run").manifest["store"] == "../store"


def test_what_lies_below_the_wall_never_loads_the_model(
    root: Path, corpus: Path, tiny_olmoe: Path, no_model: None
) -> None:
    recipe = recipe_of(corpus, tiny_olmoe, "hdbscan.min_cluster_size=6", "fusion.method=concat", "scores=[outliers]")
    heard = Heard()
    pipeline.run(recipe, root / "run", root / "store", progress=heard)
    assert heard.skipped == ["embed"]
    assert set(json.loads((root / "run" / "scores.json").read_text())) == {"outlier_share"}


def test_words_are_kept_so_that_fitting_again_needs_no_model(
    root: Path, corpus: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(corpus, tiny_olmoe, "topics.representation=keybert")
    pipeline.run(recipe, root / "one", root / "store")
    monkeypatch.setattr(MoEEncoder, "from_pretrained", lambda *_, **__: pytest.fail("the weights were loaded"))
    pipeline.run(recipe, root / "two", root / "store")
    assert contents(root / "one") == contents(root / "two")


def test_a_plan_says_what_would_be_done_and_does_nothing(root: Path, corpus: Path, tiny_olmoe: Path) -> None:
    before = contents(root)

    def plan(*overrides: str) -> list[str]:
        recipe = recipe_of(corpus, tiny_olmoe, *overrides)
        return [stage.action for stage in pipeline.plan(recipe, root / "run", root / "store")]

    assert plan() == ["skip", "skip"]
    assert plan("report.html=true") == ["skip", "skip", "run"]
    assert plan("report.html=true", "hdbscan.min_cluster_size=9") == ["skip", "run", "run"]
    assert plan("encoder.max_tokens=16") == ["run", "run"]
    new = pipeline.plan(recipe_of(corpus, tiny_olmoe), root / "new", root / "store")
    assert [(stage.action, stage.reason[:3]) for stage in new] == [("run", "all"), ("run", "its")]
    assert contents(root) == before


@pytest.mark.parametrize("overrides", [(), ("report.html=true",), ("hdbscan.min_cluster_size=6",)])
@pytest.mark.parametrize("name", ["run", "new"])
def test_a_run_does_what_its_plan_says(
    root: Path, corpus: Path, tiny_olmoe: Path, name: str, overrides: tuple[str, ...]
) -> None:
    recipe, heard = recipe_of(corpus, tiny_olmoe, *overrides), Heard()
    plan = pipeline.plan(recipe, root / name, root / "store")
    pipeline.run(recipe, root / name, root / "store", progress=heard)
    assert heard.skipped == [stage.name for stage in plan if stage.action == "skip"]
    assert {stage.name for stage in plan if stage.action == "run"} <= set(heard.ended)


def test_a_fit_that_was_cut_off_is_repeated(root: Path, corpus: Path, tiny_olmoe: Path) -> None:
    before, recipe = contents(root / "run"), recipe_of(corpus, tiny_olmoe)
    Ledger(RunFolder(root / "run")).begin("fit")
    (root / "run" / "topics.parquet").write_bytes(b"half")
    (root / "run" / "run.json").unlink()
    heard = Heard()
    pipeline.run(recipe, root / "run", root / "store", progress=heard)
    assert "fit" not in heard.skipped and contents(root / "run") == before


def test_fit_without_embeddings_says_what_to_run(tmp_path: Path, corpus: Path, tiny_olmoe: Path) -> None:
    recipe = recipe_of(corpus, tiny_olmoe)
    with pytest.raises(StoreError, match="moee-topics embed"):
        pipeline.fit(recipe, tmp_path / "run", tmp_path / "store")


def test_fit_of_a_corpus_that_grew_since_says_how_much_is_missing(root: Path, tmp_path: Path, tiny_olmoe: Path) -> None:
    grown = write_corpus(tmp_path / "grown.jsonl", DOCUMENTS + 3)
    with pytest.raises(StoreError, match=f"3 of {DOCUMENTS + 3} documents"):
        pipeline.fit(recipe_of(grown, tiny_olmoe), root / "new", root / "store")


def test_fit_alone_gives_what_run_gives(root: Path, corpus: Path, tiny_olmoe: Path, no_model: None) -> None:
    recipe = recipe_of(corpus, tiny_olmoe)
    pipeline.fit(recipe, root / "other", root / "store")
    assert contents(root / "other") == contents(root / "run")


@pytest.mark.slow
def test_a_run_killed_again_and_again_gives_the_same_result(tmp_path: Path, tiny_olmoe: Path) -> None:
    corpus = write_corpus(tmp_path / "posts.jsonl", 2200)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(recipe_of(corpus, tiny_olmoe).to_json()))

    def start(output: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "moee_topics", "run", str(recipe), "--quiet", "-o", str(tmp_path / output)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})

    assert start("whole").wait() == 0
    for shards in (1, 2):
        process = start("killed")
        deadline = time.monotonic() + 900
        while len(list((tmp_path / "killed").rglob("shard-*.safetensors"))) < shards and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    process = start("killed")
    while not (tmp_path / "killed" / "recipe" / "topics.parquet").exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert start("killed").wait() == 0
    whole, killed = contents(tmp_path / "whole"), contents(tmp_path / "killed")
    assert whole == killed and "recipe/topics.parquet" in whole
    first, second = (RunFolder(tmp_path / name / "recipe").manifest["corpus"] for name in ("whole", "killed"))
    assert first == second
