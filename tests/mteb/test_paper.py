"""The published numbers, and the table that sets ours beside them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scoring_doubles import HashEncoder

from moee_topics.embed import Embedder
from moee_topics.errors import InputError
from moee_topics.mteb.paper import LABEL_ARITHMETIC, P_VALUES, SAME_TWICE, Cell, doubt, published
from moee_topics.mteb.score_page import write
from moee_topics.mteb.score_recipe import PAPER_TASKS, load_score_recipe, parse_score_recipe
from moee_topics.mteb.scoring_run import score
from moee_topics.recipe import recipes_folder, shipped_recipes

RECIPES = [recipe.name for recipe in shipped_recipes() if recipe.name.startswith("paper/")]
TYPE_OF = {task: kind for kind, tasks in PAPER_TASKS.items() for task in tasks}


def means() -> dict[tuple[str, str, str, str], float]:
    with (recipes_folder() / "paper" / "published.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if not row["task"]]
    return {(r["model"], r["prompt"], r["method"], r["type"]): float(r["percent"]) for r in rows}


def test_there_is_a_number_for_each_model_prompt_method_and_data_set() -> None:
    cells = published()
    assert len(cells) == 3 * 2 * 4 * 19
    assert {cell.task for cell in cells} == set(TYPE_OF)


def test_the_printed_means_follow_from_the_numbers_with_one_known_exception() -> None:
    cells, wrong = published(), []
    for (model, prompt, method, kind), printed in means().items():
        if kind == "all":
            values = [means()[model, prompt, method, other] for other in PAPER_TASKS]
        else:
            values = [cells[Cell(model, prompt, method, task)] for task in PAPER_TASKS[kind]]
        if abs(np.mean(values) - printed) > 0.0101:
            wrong.append((model, prompt, method, kind, printed))
    assert wrong == [("DeepSeekMoE-16B", "none", "HS", "Reranking", 38.13)]


def test_single_numbers_are_those_of_the_paper() -> None:
    cells = published()
    assert cells[Cell("OLMoE-1B-7B", "prompteol", "HS", "STS12")] == 65.51
    assert cells[Cell("DeepSeekMoE-16B", "prompteol", "sum", "STS12")] == 67.39
    assert cells[Cell("Qwen1.5-MoE-A2.7B", "none", "sum", "SummEval")] == 24.00


def test_exactly_the_unsound_cells_are_marked() -> None:
    for cell in published():
        kind = TYPE_OF[cell.task]
        reason = doubt(cell, kind)
        if kind == "Summarization":
            assert reason == P_VALUES
        elif (cell.method, kind) in LABEL_ARITHMETIC:
            assert reason == LABEL_ARITHMETIC[cell.method, kind]
        else:
            assert reason in (None, SAME_TWICE)
    twice = {(c.method, c.task) for c in published() if doubt(c, TYPE_OF[c.task]) == SAME_TWICE}
    assert twice == {
        ("HS", "AskUbuntuDupQuestions"),
        ("HS", "SciDocsRR"),
        ("RW", "SciDocsRR"),
        ("RW", "StackOverflowDupQuestions"),
    }


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_scores_the_19_data_sets_as_the_published_code_did(name: str) -> None:
    pytest.importorskip("mteb")
    recipe = load_score_recipe(name)
    assert [source.name for source in recipe.sources()] == [task for tasks in PAPER_TASKS.values() for task in tasks]
    assert {fusion.label for fusion in recipe.fusions()} == {"HS", "RW batch-z", "concat batch-z", "sum 1"}
    assert recipe.encoder.quantize == "nf4"
    where = recipe.score.paper
    assert where is not None and name.endswith(where.prompt)
    assert Cell(where.model, where.prompt, "HS", "STS12") in published()


def test_there_is_a_recipe_for_each_model_and_prompt() -> None:
    sections = [load_score_recipe(name).score.paper for name in RECIPES]
    assert len({(s.model, s.prompt) for s in sections if s}) == len(RECIPES) == 6


def rows(count: int) -> list[dict[str, Any]]:
    return [{"sentence1": f"one {i}", "sentence2": f"two {i}", "score": i % 5} for i in range(count)]


def test_the_table_holds_our_computed_numbers_the_published_ones_and_their_difference(tmp_path: Path) -> None:
    """Small files under the names of the paper's data sets: the numbers are computed, the table is the real one."""
    pytest.importorskip("mteb")
    sts, groups = tmp_path / "sts.jsonl", tmp_path / "groups.jsonl"
    sts.write_text("\n".join(json.dumps(row) for row in rows(20)))
    groups.write_text("\n".join(json.dumps({"text": f"text {i}", "label": i % 3}) for i in range(30)))
    sections = [{"file": str(sts), "name": name} for name in PAPER_TASKS["STS"]]
    sections += [{"file": str(groups), "name": name} for name in PAPER_TASKS["Clustering"]]
    where = {"model": "OLMoE-1B-7B", "prompt": "prompteol"}
    recipe = parse_score_recipe({"score": {"local": sections, "standardize": "reference", "paper": where}})
    board = score(recipe, tmp_path, embedder=Embedder.of(HashEncoder(), tmp_path / "store"))
    written = write(board, recipe, tmp_path)

    found = {(row["task"], row["method"]): row for row in written.data["paper"]["rows"]}
    assert len(found) == 4 * (8 + 2)
    ours = next(task for task in board.tasks if task.name == "STS12").scores["HS"]["cosine_spearman"] * 100
    assert found["STS12", "HS"]["ours"] == pytest.approx(ours)
    assert found["STS12", "HS"]["published"] == 65.51
    assert found["STS12", "HS"]["difference"] == pytest.approx(ours - 65.51)
    assert found["TwentyNewsgroupsClustering", "sum"]["unsound"] == LABEL_ARITHMETIC["sum", "Clustering"]
    assert found["TwentyNewsgroupsClustering", "HS"]["unsound"] is None

    table = written.tables[1]
    by_name = {row[0]: row for row in table.rows}
    assert by_name["STS12"][2:5] == [f"{ours:.2f}", "65.51", f"{ours - 65.51:+.2f}"]
    assert by_name["mean of STS"][3] == "72.91"
    assert "[a]" in by_name["TwentyNewsgroupsClustering"][-2] and "[a]" in by_name["mean of Clustering"][-2]
    assert any("averages the k-means cluster ids" in note for note in table.notes)
    assert any("Not scored, so not compared" in note and "SummEval" in note for note in table.notes)
    assert "beside the paper" in (tmp_path / "scores.html").read_text(encoding="utf-8")


def test_damaged_numbers_are_named(tmp_path: Path) -> None:
    path = tmp_path / "published.csv"
    path.write_text("table,model\n3,x\n")
    with pytest.raises(InputError, match="cannot be read"):
        published(path)
