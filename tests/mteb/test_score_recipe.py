"""Scoring recipes: short forms are written out, faults are named."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mutations import mutated_json
from scored_files import ALL_TYPES, local, recipe

from moee_topics.errors import MoEETopicsError, RecipeError
from moee_topics.fuse import METHODS
from moee_topics.mteb.board_columns import columns_of
from moee_topics.mteb.score_recipe import PAPER_TASKS, load_score_recipe, parse_score_recipe


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"score": {"alphas": 1}}, "no key score.alphas. Did you mean score.alpha"),
        ({"score": {"methods": ["mean"]}}, ", ".join(method.short_name for method in METHODS.values())),
        ({"score": {"standardize": "sometimes"}}, "score.standardize"),
        ({"score": {"batch_size": 0}}, "score.batch_size is 0, expected .* at least 1"),
        ({"score": {"local": [{"file": "x", "typo": 1}]}}, r"no key score.local\[0\].typo"),
        ({"encoder": {"modle": "x"}, "score": {}}, "Did you mean encoder.model"),
        ({}, "score"),
    ],
)
def test_a_fault_in_a_recipe_is_named(data: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_score_recipe(data)


def test_tasks_must_be_given_and_differ(files: dict[str, Path]) -> None:
    with pytest.raises(RecipeError, match="No task to score"):
        recipe([]).sources()
    with pytest.raises(RecipeError, match="Two tasks are called MySTS"):
        recipe(local(files, "STS", "STS")).sources()
    both = [{**section, "name": name} for section, name in zip(local(files, "STS") * 2, ("a", "A"), strict=True)]
    with pytest.raises(RecipeError, match="Two tasks are called A, a"):
        recipe(both).sources()


def test_a_task_type_alone_means_the_papers_data_sets() -> None:
    made = parse_score_recipe({"score": {"task_types": "STS,Summarization"}})
    assert [source.name for source in made.sources()] == [*PAPER_TASKS["STS"], "SummEval"]


def test_task_types_pick_from_what_is_named(files: dict[str, Path]) -> None:
    made = recipe(local(files, "STS", "Clustering"), tasks="STS13", task_types="STS")
    assert [source.name for source in made.sources()] == ["MySTS", "STS13"]


def test_a_recipe_reads_its_files_from_its_own_folder(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.jsonl").write_bytes(files["STS"].read_bytes())
    path = tmp_path / "mine.yaml"
    path.write_text("score: {data: data, local: [{file: x.jsonl}]}")
    assert load_score_recipe(path).sources()[0].type == "STS"
    moved = load_score_recipe(
        path, [f"score.data={files['STS'].parent}", "score.local.0=null", "score.local=[{file: sts.jsonl}]"]
    )
    assert moved.sources()[0].type == "STS"


def test_the_shipped_local_recipe_runs_on_all_six_types() -> None:
    made = load_score_recipe("score-local")
    if not (made.score.data or Path()).joinpath("biosses").is_dir():
        pytest.skip("shared/data is not here")
    assert {source.type for source in made.sources()} == set(ALL_TYPES)


def test_short_forms_are_written_out() -> None:
    overrides = [
        'encoder.prompt=say, "{text}"',
        "score.alpha=0.5,1",
        "score.methods=HS, sum",
        "score.local=Clustering=posts.csv,text=title+body,label=group,sample=20,name=Posts",
        "score.development=x.csv,train=y.csv",
        "score.prompts=all",
    ]
    made = parse_score_recipe({"score": {}}, overrides)
    assert (made.encoder.prompt, made.score.alpha) == ('say, "{text}"', (0.5, 1.0))
    assert [fusion.label for fusion in made.fusions()] == ["HS", "sum 0.5", "sum 1"]
    (file,) = made.score.local
    assert (file.type, file.text, file.columns, file.sample) == (
        "Clustering",
        ("title", "body"),
        {"label": "group"},
        20,
    )
    assert file.file == Path("posts.csv").absolute() and file.name == "Posts"
    assert made.score.development is not None and made.score.development.train == Path("y.csv").absolute()
    assert len(made.score.prompts) == 9 and "none" not in made.score.prompts
    with pytest.raises(RecipeError, match=r"'oops' in 'x\.csv,oops' is not key=value"):
        parse_score_recipe({"score": {}}, ["score.local=x.csv,oops"])


@pytest.mark.parametrize("tries", [100, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_mutated_scoring_recipe_is_read_or_refused(files: dict[str, Path], tmp_path: Path, tries: int) -> None:
    sections = [*local(files, "STS", "Clustering", "Classification"), {"file": str(files["Reranking"]), "sample": 3}]
    score = {"local": sections, "methods": ["HS", "sum"], "alpha": [0.5, 1], "standardize": ["none"], "batch_size": 8}
    score |= {"tasks": ["STS12"], "prompts": ["none"], "paper": {"model": "OLMoE-1B-7B", "prompt": "none"}}
    whole = json.dumps({"encoder": {"model": "pocket"}, "score": score, "seed": 3}).encode()
    rng, outcomes, path = random.Random(20261125), Counter[str](), tmp_path / "mine.yaml"
    keys = ("file", "train", "name", "text", "columns", "sample", "alpha", "local", "type", "development")
    for _ in range(tries):
        path.write_bytes(mutated_json(whole, rng, keys))
        try:
            made = load_score_recipe(path)
            outcomes["read"] += len(made.sources()) * len(columns_of(made)) > 0
        except MoEETopicsError:
            outcomes["refused"] += 1
    assert outcomes["read"] and outcomes["refused"]
