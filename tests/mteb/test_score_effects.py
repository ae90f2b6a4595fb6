"""Every key of a scoring recipe has an effect: for each of them a value, and what is another thing then."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scored_files import recipe, run, unreachable, write_files, write_rows
from scoring_doubles import HashEncoder
from tiny_runs import Heard

from moee_topics.embed import Embedder
from moee_topics.encode import EncoderSettings
from moee_topics.errors import InputError, MoEETopicsError
from moee_topics.fuse import Fusion
from moee_topics.mteb import compare
from moee_topics.mteb.board_columns import columns_of
from moee_topics.mteb.score_recipe import ScoreRecipe, parse_score_recipe
from moee_topics.mteb.scoring_run import ScoringRun
from moee_topics.mteb.tasks import LocalTask, load, local_task
from moee_topics.schema import known_keys, section_types

pytest.importorskip("mteb")

FILES: Mapping[str, list[dict[str, Any]]] = {
    "posts.jsonl": [
        {"text": f"t{i}", "body": f"b{i}", "label": "ab"[i % 2], "group": "cde"[i % 3], "score": i} for i in range(12)
    ],
    "train.jsonl": [{"text": f"u{i}", "label": "ab"[i % 2], "group": "cde"[i % 3]} for i in range(12)],
    "more.jsonl": [{"text": f"v{i}", "label": "ab"[i % 2], "group": "cde"[i % 3]} for i in range(12)],
}
POSTS: dict[str, Any] = {"file": "posts.jsonl", "type": "Clustering"}
CLASSES: dict[str, Any] = {"file": "posts.jsonl", "type": "Classification", "train": "train.jsonl"}
LOCAL: Mapping[str, tuple[dict[str, Any], Any]] = {
    "type": ({**CLASSES, "type": None}, "Classification"),
    "file": (POSTS, "more.jsonl"),
    "name": (POSTS, "Mine"),
    "train": (CLASSES, "more.jsonl"),
    "text": (POSTS, ["text", "body"]),
    "columns": (POSTS, {"label": "group"}),
    "sample": (POSTS, 5),
    "samples_per_label": (CLASSES, 3),
    "seed": ({**POSTS, "sample": 5}, 7),
    "encoding": ({"file": "latin.csv", "type": "Clustering", "encoding": "latin-1"}, "cp1251"),
    "delimiter": ({"file": "latin.csv", "type": "Clustering", "encoding": "latin-1"}, ";"),
    "quoting": ({"file": "latin.csv", "type": "Clustering", "encoding": "latin-1"}, "none"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scored")
    for name, rows in FILES.items():
        write_rows(root / name, rows)
    (root / "latin.csv").write_bytes('text,label\n"caf\xe9",a\n"th\xe9",b\n"c",a\n'.encode("latin-1"))
    return root


def task_of(folder: Path, section: Mapping[str, Any]) -> Any:
    """All that mteb is told of a labelled file, or why it is refused."""
    try:
        made = parse_score_recipe({"score": {"data": str(folder), "local": [section]}})
        (source,) = made.sources()
    except InputError as error:
        return str(error)
    task = load(source)
    options = {name: getattr(task, name, None) for name in ("samples_per_label", "seed")}
    return source.name, source.type, {split: task.dataset[split].to_dict() for split in task.dataset}, options


@pytest.mark.parametrize("key", LOCAL)
def test_a_key_of_a_labelled_file_makes_another_task(key: str, folder: Path) -> None:
    section, value = LOCAL[key]
    before, after = (task_of(folder, entry) for entry in (section, {**section, key: value}))
    if key == "type":  # told from the training file, and refused as another one
        assert before == after
        after = task_of(folder, {**section, key: "Clustering"})
    assert before != after and before == task_of(folder, section)


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({**POSTS, "train": Path("train.jsonl")}, "train"),
        ({**POSTS, "samples_per_label": 3}, "samples_per_label"),
        ({**POSTS, "columns": {"text": "body"}}, r"columns\.text would do nothing.*text: \[COLUMN\]"),
        ({**POSTS, "columns": {"score": "score"}}, r"columns\.score"),
        ({"file": "posts.jsonl", "type": "STS", "text": ("body",)}, "text would do nothing, since a STS task reads"),
    ],
)
def test_a_key_that_a_type_does_not_read_is_refused(section: dict[str, Any], named: str, folder: Path) -> None:
    with pytest.raises(InputError, match=named):
        local_task(LocalTask(**{**section, "file": folder / section["file"]}))


TASKS = {"tasks": ["STS12", "BIOSSES"]}
NAMED: Mapping[str, tuple[dict[str, Any], Any]] = {
    "tasks": (TASKS, ["STS13"]),
    "task_types": ({**TASKS, "tasks": ["STS12", "SummEval"]}, ["STS"]),
    "benchmark": (TASKS, "MTEB(eng, v2)"),
    "local": (TASKS, [{"file": "posts.jsonl"}]),
    "data": ({"local": [POSTS]}, "elsewhere"),
}


@pytest.mark.parametrize("key", NAMED)
def test_a_key_that_names_tasks_names_others(key: str, folder: Path) -> None:
    def names(section: dict[str, Any]) -> Any:
        try:
            return [source.name for source in parse_score_recipe({"score": {"data": str(folder), **section}}).sources()]
        except MoEETopicsError as error:
            return str(error)

    section, value = NAMED[key]
    assert names(section) != names({**section, key: value})


COLUMNS: Mapping[str, tuple[dict[str, Any], Any]] = {
    "methods": ({}, ["concat"]),
    "alpha": ({}, [2.0]),
    "standardize": ({}, ["both"]),
    "lexical": ({}, [1.0]),
    "statistics": ({"standardize": ["both"]}, "fusion.safetensors"),
    "batch_size": ({"standardize": ["reference"]}, 5),
}


@pytest.mark.parametrize("key", COLUMNS)
def test_a_key_of_the_vectors_makes_other_columns(key: str, folder: Path) -> None:
    saved = folder / "fusion.safetensors"
    if not saved.exists():
        vectors = HashEncoder().encode([f"t{i}" for i in range(30)])
        Fusion("weighted_sum", standardize="both").fit([vectors]).save(saved)
    section, value = COLUMNS[key]
    value = str(folder / value) if key == "statistics" else value
    before, after = (
        [(column.label, column.statistics_name, column.batch_size) for column in columns_of(recipe([], **options))]
        for options in (section, {**section, key: value})
    )
    assert before != after


def scored(folder: Path, name: str, **options: Any) -> Any:
    made = recipe([{"file": str(folder / "sts.jsonl"), "name": "MySTS"}], methods="sum", **options)
    run(made, folder / name)
    return json.loads((folder / name / "scores.json").read_text())


def test_keys_of_the_run_change_what_is_scored_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path)
    plain = scored(tmp_path, "plain")
    paper = {"model": "OLMoE-1B-7B", "prompt": "none"}
    pages = [scored(tmp_path, "plain", paper={**paper, **more}) for more in ({}, {"prompt": "prompteol"})]
    pages.append(scored(tmp_path, "plain", paper={**paper, "model": "Qwen1.5-MoE-A2.7B"}))
    assert all(page["paper"] != other["paper"] for page in pages for other in pages if page is not other)
    assert "paper" not in plain
    development = {"file": str(tmp_path / "groups.jsonl"), "type": "Clustering", "name": "Dev"}
    assert "development file Dev" in str(scored(tmp_path, "auto", alpha="auto", development=development)["notes"])
    with pytest.raises(InputError, match=r"score\.alpha=auto needs score\.development"):
        scored(tmp_path, "auto", alpha="auto")
    unreachable(monkeypatch)
    with pytest.raises(InputError, match="STS12"):
        scored(tmp_path, "plain", tasks="STS12")
    assert "STS12" in scored(tmp_path, "plain", tasks="STS12", skip_missing=True)["skipped"]


@pytest.mark.parametrize(
    ("section", "note"),
    [
        ({"prompts": ["prompteol"]}, "score.prompts is for compare"),
        ({"batch_size": 8}, "score.batch_size is for score.standardize=reference"),
        ({"batch_size": 8, "standardize": ["reference"], "methods": ["concat"]}, None),
        ({}, None),
    ],
)
def test_a_key_that_is_for_another_command_or_column_is_named(
    section: dict[str, Any], note: str | None, tmp_path: Path
) -> None:
    file, heard = str(write_files(tmp_path)["STS"]), Heard()
    recipe = parse_score_recipe({"score": {"local": [{"file": file}], **section}})
    ScoringRun(recipe, tmp_path / "out", Embedder.of(HashEncoder(), tmp_path / "store"), heard)
    assert [one.partition(",")[0].partition(":")[0] for one in heard.notes] == ([note] if note else [])


@pytest.mark.parametrize("key", ["development", "statistics"])
def test_a_file_that_no_column_needs_is_refused(key: str, tmp_path: Path) -> None:
    write_files(tmp_path)
    Fusion("weighted_sum", standardize="both").fit([HashEncoder().encode(list("abcdef"))]).save(tmp_path / "f")
    value = str(tmp_path / "f") if key == "statistics" else {"file": str(tmp_path / "sts.jsonl")}
    with pytest.raises(InputError, match=f"score.{key} would do nothing: it is for score"):
        scored(tmp_path, "plain", **{key: value})


def test_prompts_are_those_of_the_comparison_and_the_seed_is_of_its_clusters(tmp_path: Path) -> None:
    files, asked = write_files(tmp_path), list[str]()

    def embedder_for(prompt: str) -> Embedder:
        asked.append(prompt)
        return Embedder.of(HashEncoder(), tmp_path / "store")

    section = {"local": [{"file": str(files["Clustering"])}], "prompts": ["none", "prompteol"]}
    data = [
        compare(parse_score_recipe({"score": section, "seed": seed}), tmp_path, embedder_for).data for seed in (1, 2)
    ]
    assert asked == ["none", "prompteol"] * 2 and not np.array_equal(*map(str, data))


def test_every_key_of_a_scoring_recipe_stands_in_one_of_these_tables() -> None:
    here = {f"score.{key}" for table in (NAMED, COLUMNS) for key in table} | {"score.prompts", "score.skip_missing"}
    here |= {f"score.{owner}.{key}" for owner in ("local", "development") for key in LOCAL}  # one class
    here |= {"score.paper.model", "score.paper.prompt", "score.development", "score.paper", "seed"}
    here |= {f"encoder.{key}" for key in section_types(EncoderSettings)}  # tests/test_effects.py
    assert here == set(known_keys(ScoreRecipe)) - {"score", "encoder"}
