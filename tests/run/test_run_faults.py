"""Damage in the folder of a real run is told or harmless, never shown as a result, and the same command mends it."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import STABILITY, Heard, as_0_1_0_left_it, recipe_of

from moee_topics import run as pipeline
from moee_topics.errors import InputError
from moee_topics.report import ReportSettings, write_report
from moee_topics.report.report_page import render_report
from moee_topics.run import report
from moee_topics.run_folder import RunFolder

READ_BY_NOBODY = {"writer.lock", "report.html"}


def all_that_is_read(folder: Path) -> tuple[Any, ...]:
    """What people and new documents get of a run: its page, its other tables, and the model with its voters."""
    run = RunFolder.read(folder)
    RunFolder.result.check(run)
    topics, fusion, prediction = run.model, run.fusion, run.model.voters
    refits = [RunFolder.refit("seeds", 1), RunFolder.refit("seeds", 2), RunFolder.refit("bootstrap", 1)]
    read = [run.per_class, *(refit.read(run) for refit in refits), run.encoder]
    return (
        render_report(run, ReportSettings()), read, str(fusion), str(fusion.standardizer), str(topics.settings),
        topics.model.c_tf_idf_.toarray().tobytes(), topics.model.topic_embeddings_.tobytes(),
        prediction.vectors.tobytes(), prediction.rows.tobytes(), prediction.topics.tobytes(),
    )  # fmt: skip


def damage(file: Path, kind: str, rng: random.Random) -> None:
    blob = bytearray(file.read_bytes())
    if kind == "gone":
        file.unlink()
        return
    if kind == "flip" and blob:
        bit = rng.randrange(8 * len(blob))
        blob[bit // 8] ^= 1 << bit % 8
    elif kind == "cut":
        del blob[rng.randrange(len(blob) + 1) :]
    elif kind == "zeros":
        at = rng.randrange(len(blob) + 1)
        blob[at : at + 64] = bytes(len(blob[at : at + 64]))
    file.write_bytes(blob)


def outcome(folder: Path, file: Path, clean: tuple[Any, ...]) -> str:
    try:
        return "harmless" if all_that_is_read(folder) == clean else f"shown: {file.name}"
    except InputError as error:
        told = file.name in str(error) and "Make it again with: moee-topics " in str(error)
        return "told" if told else f"not told: {file.name}: {error}"


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def whole(measured: Path, tmp_path: Path) -> Path:
    """A copy of a run with everything that a run can have, its page too."""
    folder = Path(shutil.copytree(measured, tmp_path / "runs")) / "run"
    write_report(folder)
    return folder


def test_every_file_of_a_run_has_a_digest(whole: Path) -> None:
    digests = set(RunFolder(whole).digests.read())
    names = {path.relative_to(whole).as_posix() for path in files_of(whole)}
    assert names - digests == {"digests.json", "writer.lock"}


def test_a_flip_in_any_file_is_told_with_its_name_and_the_command(whole: Path) -> None:
    clean, rng = all_that_is_read(whole), random.Random(0)
    for file in files_of(whole):
        before = file.read_bytes()
        if file.name not in {*READ_BY_NOBODY, "stages.json"}:
            damage(file, "flip", rng)
            assert outcome(whole, file, clean) == "told", file
            file.write_bytes(before)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_no_damage_is_shown_as_a_result_and_none_ends_in_a_traceback(whole: Path, seed: int) -> None:
    clean, rng = all_that_is_read(whole), random.Random(seed)
    outcomes = Counter[str]()
    for _ in range(200):
        file = rng.choice(files_of(whole))
        before = file.read_bytes()
        damage(file, rng.choice(["flip"] * 5 + ["cut", "gone", "zeros"]), rng)
        outcomes[outcome(whole, file, clean)] += 1
        file.write_bytes(before)
    assert set(outcomes) <= {"told", "harmless"}, outcomes
    assert outcomes["told"] > 100


@pytest.mark.slow
def test_a_run_without_digests_never_ends_in_a_traceback(whole: Path) -> None:
    """As runs of 0.1.0 are: what still reads as it should cannot be told from the truth, but all else is."""
    as_0_1_0_left_it(whole)
    clean, rng = all_that_is_read(whole), random.Random(0)
    for _ in range(300):
        file = rng.choice(files_of(whole))
        before = file.read_bytes()
        damage(file, rng.choice(["flip", "flip", "cut", "zeros"]), rng)
        outcome(whole, file, clean)
        file.write_bytes(before)


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("documents.parquet", ["fit", "stability"]),
        ("model/prediction.safetensors", ["fit", "stability"]),
        ("scores.json", ["fit", "stability"]),
        ("per_class.json", ["fit", "stability"]),
        ("stability.json", ["stability"]),
        ("run.json", []),
    ],
)
def test_the_same_command_makes_what_is_damaged_again(
    whole: Path, corpus: Path, tiny_olmoe: Path, no_model: None, name: str, again: list[str]
) -> None:
    result = RunFolder.read(whole).result
    damage(whole / name, "flip", random.Random(1))
    heard = Heard()
    recipe = recipe_of(corpus, tiny_olmoe, *STABILITY)
    pipeline.run(recipe, whole, whole.parent / "store", progress=heard)
    assert [stage for stage in ("fit", "stability") if stage not in heard.skipped] == again
    mended = RunFolder.read(whole)
    assert mended.result.topics.tolist() == result.topics.tolist() and mended.manifest["finished"]
    assert not [path for path in files_of(whole) if mended.digests.damaged(path)]


def without_times(page: str) -> str:
    page = re.sub(r"\d[\d.]* (s|min \d\d s|MB|GB)\b", "T", page)
    page = re.sub(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", "T", page)
    return page.replace("<small>done before, skipped</small>", "")


def test_equal_runs_have_equal_reports_apart_from_times_also_when_resumed(
    finished: Path, corpus: Path, tiny_olmoe: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(corpus, tiny_olmoe, "report.html=true")
    first, second = tmp_path / "first" / "run", tmp_path / "second" / "run"
    shutil.copytree(finished, first.parent)
    pipeline.run(recipe, first, first.parent / "store")  # resumed: the model is never loaded
    pipeline.run(recipe, second, second.parent / "store")
    pages = [(folder / "report.html").read_text(encoding="utf-8") for folder in (first, second)]
    assert without_times(pages[0]) == without_times(pages[1])
    for name in ("topics.parquet", "documents.parquet", "topic_info.json", "scores.json", "experts.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_chapter_that_could_not_be_made_is_named_in_the_report(whole: Path) -> None:
    run = RunFolder(whole)
    left_out = {"hierarchy": "ValueError: <b>negative</b> distances"}
    RunFolder.manifest.write(run, {**run.manifest, "left_out": left_out})
    RunFolder.hierarchy.remove(run)
    page = report(whole).read_text(encoding="utf-8")
    assert 'id="hierarchy"' not in page and "hierarchy (ValueError: &lt;b&gt;negative&lt;/b&gt; distances)" in page


def test_a_link_in_a_run_folder_leads_no_writer_out_of_it(
    whole: Path, corpus: Path, tiny_olmoe: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("stability", "model", "exports"):
        shutil.rmtree(whole / name, ignore_errors=True)
        (whole / name).symlink_to(outside)
    names = ("report.html", "scores.json", "stages.json", "run.json", "digests.json")
    for name in names:
        (whole / name).unlink()
        (outside / name).write_text("mine")
        (whole / name).symlink_to(outside / name)
    recipe = recipe_of(corpus, tiny_olmoe, *STABILITY, "report.html=true")
    pipeline.run(recipe, whole, whole.parent / "store")
    assert {path.name: path.read_text() for path in outside.iterdir()} == dict.fromkeys(names, "mine")
    assert json.loads((whole / "run.json").read_text())["finished"] and (whole / "model" / "config.json").is_file()


def test_a_damaged_sparse_matrix_is_told_and_does_not_end_the_process(whole: Path) -> None:
    """Without digests, too: scipy would write outside of the array."""
    from safetensors.numpy import load_file, save_file

    as_0_1_0_left_it(whole)
    file = whole / "model" / "ctfidf.safetensors"
    arrays = load_file(file)
    arrays["indices"][0] = 2**30
    save_file(arrays, file)
    with pytest.raises(InputError, match=r"ctfidf\.safetensors is damaged .* Make it again with: moee-topics run"):
        RunFolder(whole).model  # noqa: B018
