"""Columns of a board: each owns its fusion, its alpha and its statistics."""

from __future__ import annotations

from pathlib import Path

import pytest
from scored_files import local, recipe, run
from scoring_doubles import HashEncoder

from moee_topics.errors import InputError
from moee_topics.fuse import BatchFusion, Fusion
from moee_topics.mteb.board_columns import ChosenAlphas, Column, columns_of
from moee_topics.mteb.score_recipe import parse_score_recipe


def test_saved_statistics_are_used_as_they_are(files: dict[str, Path], tmp_path: Path) -> None:
    double = HashEncoder()
    path = tmp_path / "newsgroups.safetensors"
    Fusion().fit([double.encode([f"other {i}" for i in range(30)])]).save(path)
    mine = run(recipe(local(files, "STS"), methods="HS", standardize="both", statistics=str(path)), tmp_path)
    own = run(recipe(local(files, "STS"), methods="HS", standardize="both"), tmp_path)
    assert mine.tasks[0].scores["HS z"] != own.tasks[0].scores["HS z"]
    assert any("newsgroups-" in note for note in mine.notes)


def test_words_are_learnt_from_the_texts_of_a_task_or_from_a_saved_fusion(
    files: dict[str, Path], tmp_path: Path
) -> None:
    board = run(recipe(local(files, "STS"), methods="HS", lexical=[0, 2]), tmp_path)
    assert set(board.tasks[0].scores) == {"HS", "HS +words 2"}
    assert board.tasks[0].scores["HS"] != board.tasks[0].scores["HS +words 2"]
    assert any("+words" in note and "the different texts of the task" in note for note in board.notes)
    words = Fusion("hidden_states", standardize="none", lexical=2.0)
    words.fit([], ["orbit moon", "orbit planet", "rocket moon", "rocket planet"]).save(tmp_path / "saved.safetensors")
    saved = recipe(local(files, "STS"), methods="HS", lexical=2, statistics=str(tmp_path / "saved.safetensors"))
    # None of these words is in the task, so the angles are those of hidden states alone.
    mine, alone = run(saved, tmp_path).tasks[0].scores["HS +words 2"], board.tasks[0].scores["HS"]
    assert mine["cosine_spearman"] == pytest.approx(alone["cosine_spearman"], abs=1e-5)


def test_a_column_that_chooses_says_auto_and_takes_what_was_chosen() -> None:
    sums, hidden, batch = (
        Column(fusion, True) for fusion in (Fusion(), Fusion("hidden_states"), BatchFusion("concat"))
    )
    assert [column.label for column in (sums, hidden, batch)] == ["sum auto z", "HS z", "concat batch-z"]
    assert sums.with_alpha(2.0) == Fusion(alpha=2.0) and sums.with_alpha(None) == Fusion()
    assert batch.with_alpha(2.0) == batch.fusion and batch.statistics_name == "batches-of-64"


def test_only_what_weighs_has_its_alpha_chosen() -> None:
    columns = columns_of(parse_score_recipe({"score": {"alpha": "auto"}}))
    assert {column.label: column.chooses_alpha for column in columns} == {
        "HS": False, "RW": False, "concat": False, "sum auto": True,
    }  # fmt: skip


def test_chosen_alphas_are_kept_and_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    alphas = ChosenAlphas(tmp_path / "alphas.json")
    assert alphas.get("one") is None
    alphas.remember("one", 2.0)
    assert ChosenAlphas(tmp_path / "alphas.json").get("one") == 2.0
    for damage in ('{"one": 3.0}', '{"one": "two"}', '{"one": nu', "[]"):
        (tmp_path / "alphas.json").write_text(damage)
        with pytest.raises(InputError, match="Delete it, and alpha is chosen again"):
            ChosenAlphas(tmp_path / "alphas.json")
    (tmp_path / "digests.json").unlink()  # as version 0.1.0 left it
    for damage in ('{"one": NaN}', '{"one": -1.0}', '{"one": 1e999}'):
        (tmp_path / "alphas.json").write_text(damage)
        with pytest.raises(InputError, match="is damaged"):
            ChosenAlphas(tmp_path / "alphas.json")
