"""Results in mteb's layout: whole or absent, of the same data, read again as they were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scored_files import local, recipe, run
from scoring_doubles import HashEncoder
from stores import flip

from moee_topics.embed import Embedder
from moee_topics.fuse import RAW, Fusion
from moee_topics.mteb.fusion_encoder import MTEBEncoder
from moee_topics.mteb.results import SETTINGS, Results, scores_of
from moee_topics.mteb.tasks import LocalTask, VersionedTask, local_task

mteb = pytest.importorskip("mteb")


@pytest.fixture
def encoder() -> MTEBEncoder:
    return MTEBEncoder(Embedder.of(HashEncoder()), RAW)


def task(folder: Path, name: str = "Mine") -> VersionedTask:
    lines = [f"text {i},other {i},{i % 6}" for i in range(12)]
    (folder / "sts.csv").write_text("\n".join(["sentence1,sentence2,score", *lines]))
    return VersionedTask.of(local_task(LocalTask("STS", folder / "sts.csv", name=name)))


def evaluate(results: Results, scored: VersionedTask, encoder: MTEBEncoder) -> Any:
    mteb.evaluate(encoder, scored.source.make(), cache=results.cache, overwrite_strategy="always", co2_tracker=False)
    return results.read_back(scored, encoder.mteb_model_meta)


def test_what_mteb_writes_is_read_again_and_every_file_of_it_is_by_the_one_writer(
    tmp_path: Path, encoder: MTEBEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    import moee_topics.mteb.results as module

    written: list[str] = []
    write = module.write_bytes
    monkeypatch.setattr(module, "write_bytes", lambda path, blob: (written.append(path.name), write(path, blob)))
    results = Results(tmp_path)
    scores = [evaluate(results, task(tmp_path, name), encoder) for name in ("Mine", "Other")]
    assert results.load(task(tmp_path), encoder.mteb_model_meta) == scores[0]
    files = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"Mine.json", "Other.json", "model_meta.json", SETTINGS} == set(written)
    # A task counts as scored once its result is there, so that comes last.
    assert written.index("Mine.json") == 2 and written[-1] == "Other.json"
    (settings,) = (path for path in files if path.name == SETTINGS)
    assert '"Mine"' in settings.read_text() and '"Other"' in settings.read_text()


def test_a_damaged_result_or_one_of_other_data_is_computed_again(tmp_path: Path, encoder: MTEBEncoder) -> None:
    results, meta = Results(tmp_path), encoder.mteb_model_meta
    scored = task(tmp_path)
    evaluate(results, scored, encoder)
    assert results.load(VersionedTask(scored.source, "another"), meta) is None
    path = results.cache.get_task_result_path(model_name=meta, task_name="Mine")
    whole = path.read_bytes()
    path.write_bytes(whole[:40])
    assert results.load(scored, meta) is None
    path.write_bytes(whole)
    assert results.load(scored, meta) is not None


def test_a_flipped_bit_of_a_result_or_of_the_digests_is_never_shown(tmp_path: Path, encoder: MTEBEncoder) -> None:
    results, scored, meta = Results(tmp_path), task(tmp_path), encoder.mteb_model_meta
    right = evaluate(results, scored, encoder)
    path = results.cache.get_task_result_path(model_name=meta, task_name="Mine")
    for file in (path, tmp_path / "digests.json"):
        whole = file.read_bytes()
        for place in range(0, len(whole), 1 + len(whole) // 60):
            flip(file, place, bit=place % 7)
            assert results.load(scored, meta) in (None, right)
            assert file != path or results.load(scored, meta) is None
            file.write_bytes(whole)
    flip(tmp_path / "digests.json", 20)
    assert evaluate(results, scored, encoder) == right == results.load(scored, meta)


def test_scores_are_means_over_splits_and_subsets_and_truth_is_no_number() -> None:
    splits = {"test": [{"a": 1.0, "ok": True, "name": "x"}, {"a": 3.0}], "other": [{"a": 5.0}]}
    assert scores_of(splits) == {"a": 3.0}


def test_results_are_in_mtebs_format_and_layout(files: dict[str, Path], tmp_path: Path) -> None:
    import mteb

    run(recipe(local(files, "STS"), methods="sum", alpha="0.5"), tmp_path)
    cache = mteb.ResultCache(tmp_path)
    meta = MTEBEncoder(Embedder.of(HashEncoder()), Fusion(standardize="none")).mteb_model_meta
    result = cache.load_task_result("MySTS", meta)
    assert result is not None and result.task_name == "MySTS"
    assert cache.get_task_result_path("MySTS", meta).is_relative_to(tmp_path / "results" / "double__hash" / "1")
