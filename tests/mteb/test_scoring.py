"""Scoring: runs, their resumption, tables and files, the comparison of views, the commands."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from scoring_doubles import HashEncoder
from typer.testing import CliRunner

from moee_topics.cli.app import app
from moee_topics.embed import Embedder
from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError, Interrupted, RecipeError
from moee_topics.fuse import Fusion
from moee_topics.mteb.board import Board, TaskScores, summary, to_html, to_markdown
from moee_topics.mteb.charts import box_plot, heatmap
from moee_topics.mteb.protocol import MTEBEncoder
from moee_topics.mteb.score_page import write
from moee_topics.mteb.score_recipe import PAPER_TASKS, ScoreRecipe, load_score_recipe, parse_score_recipe
from moee_topics.mteb.scoring import score
from moee_topics.mteb.tasks import hub_task
from moee_topics.mteb.text_counts import estimate_tasks
from moee_topics.mteb.views import compare_clusters, compare_pairs, views_of
from moee_topics.mteb.views_page import compare
from moee_topics.progress import Progress

pytest.importorskip("mteb")
WORDS = ("cat", "dog", "sun", "car")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small file for each of the six task types."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)

    def text(word: str) -> str:
        return f"{word} {rng.integers(10**6)}"

    labelled = [{"text": text(WORDS[i % 4]), "label": WORDS[i % 4]} for i in range(40)]
    train = [{"text": text(WORDS[i % 4]), "label": WORDS[i % 4]} for i in range(60)]
    pairs = [{"sentence1": text("cat"), "sentence2": text("dog")} for _ in range(24)]
    summaries = {
        "text": "story",
        "human_summaries": [text("cat"), text("dog")],
        "machine_summaries": [text("sun") for _ in range(6)],
        "relevance": [1.0, 2.0, 3.0, 4.0, 5.0, 4.5],
    }
    return {
        "Clustering": write_rows(folder / "groups.jsonl", labelled),
        "train": write_rows(folder / "train.jsonl", train),
        "STS": write_rows(folder / "sts.jsonl", [{**pair, "score": i % 6} for i, pair in enumerate(pairs)]),
        "PairClassification": write_rows(
            folder / "p.jsonl", [{**pair, "label": i % 2} for i, pair in enumerate(pairs)]
        ),
        "Reranking": write_rows(
            folder / "r.jsonl",
            [
                {"query": text("cat"), "positive": [text("cat")], "negative": [text("dog"), text("sun")]}
                for _ in range(5)
            ],
        ),
        "Summarization": write_rows(folder / "s.jsonl", [summaries, {**summaries, "human_summaries": [text("car")]}]),
    }


def local(files: dict[str, Path], *kinds: str) -> list[dict[str, Any]]:
    sections = [{"file": str(files[kind]), "type": kind, "name": f"My{kind}"} for kind in kinds if kind in files]
    if "Classification" in kinds:
        both = {"file": str(files["Clustering"]), "train": str(files["train"])}
        sections.append({**both, "type": "Classification", "name": "MyClassification"})
    return sections


def recipe(sections: list[dict[str, Any]], **options: Any) -> ScoreRecipe:
    return parse_score_recipe({"score": {"local": sections, **options}})


def run(made: ScoreRecipe, output: Path, double: Any = None) -> Board:
    double = double or HashEncoder()
    board = score(made, output, embedder=Embedder.of(double, output / "store"))
    write(board, made, output)
    return board


ALL_TYPES = ("Clustering", "STS", "PairClassification", "Reranking", "Classification", "Summarization")


def test_all_six_types_run_from_one_recipe_and_running_again_is_free(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, double = recipe(local(files, *ALL_TYPES)), HashEncoder()
    board = run(made, tmp_path, double)
    assert [task.type for task in board.tasks] == [*ALL_TYPES[:4], "Summarization", "Classification"]
    assert board.variants == ["HS", "RW", "concat", "sum 0.5"]
    for task in board.tasks:
        assert all(np.isfinite(task.scores[label][task.main_score]) for label in board.variants)
    assert {"v_measure", "ami", "ari"} <= set(board.tasks[0].scores["HS"])
    assert len(double.seen) == len(set(double.seen))
    first = {name: (tmp_path / name).read_bytes() for name in ("scores.json", "scores.md", "scores.html")}

    import mteb

    def no_evaluation(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a cached result was computed again")

    monkeypatch.setattr(mteb, "evaluate", no_evaluation)
    encoded = len(double.seen)
    run(made, tmp_path, double)
    assert len(double.seen) == encoded
    assert {name: (tmp_path / name).read_bytes() for name in first} == first


def test_results_are_in_mtebs_format_and_layout(files: dict[str, Path], tmp_path: Path) -> None:
    import mteb

    run(recipe(local(files, "STS"), methods="sum", alpha="0.5"), tmp_path)
    cache = mteb.ResultCache(tmp_path)
    meta = MTEBEncoder(Embedder.of(HashEncoder()), Fusion(standardize="none")).mteb_model_meta
    result = cache.load_task_result("MySTS", meta)
    assert result is not None and result.task_name == "MySTS"
    assert cache.get_task_result_path("MySTS", meta).is_relative_to(tmp_path / "results" / "double__hash" / "1")


@pytest.mark.parametrize("stop_at", [1, 4])
def test_interrupting_and_resuming_gives_the_same_files(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    import mteb

    made = recipe(local(files, "STS", "Clustering"), standardize="none,both", methods="HS,sum", alpha="auto")
    run(made, tmp_path / "whole")
    evaluate, calls = mteb.evaluate, []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return evaluate(*args, **kwargs)

    monkeypatch.setattr(mteb, "evaluate", interrupted)
    with pytest.raises(Interrupted, match="run the same command again"):
        run(made, tmp_path / "cut")
    monkeypatch.setattr(mteb, "evaluate", evaluate)
    run(made, tmp_path / "cut")
    for name in ("scores.json", "scores.md", "scores.html", "alphas.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_changed_file_is_scored_again(files: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "sts.jsonl"
    file.write_bytes(files["STS"].read_bytes())
    made = recipe([{"file": str(file), "name": "MySTS"}], methods="HS")
    before = run(made, tmp_path / "out").tasks[0]
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    write_rows(file, [{**row, "score": 5 - row["score"]} for row in rows])
    after = run(made, tmp_path / "out").tasks[0]
    assert after.revision != before.revision
    assert after.scores["HS"]["cosine_spearman"] == pytest.approx(-before.scores["HS"]["cosine_spearman"], abs=1e-6)


def cosines(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)


@pytest.mark.parametrize("alpha", [0.25, 1.0])
@pytest.mark.parametrize("standardize", ["none", "both"])
def test_sts_scores_are_those_of_a_plain_computation(
    files: dict[str, Path], tmp_path: Path, alpha: float, standardize: str
) -> None:
    made = recipe(local(files, "STS"), alpha=[alpha], standardize=[standardize])
    board = run(made, tmp_path)
    rows = [json.loads(line) for line in files["STS"].read_text().splitlines()]
    double = HashEncoder()
    every = [row[side] for row in rows for side in ("sentence1", "sentence2")]
    statistics = [double.encode(list(dict.fromkeys(every)))]
    sides = [double.encode([row[side] for row in rows]) for side in ("sentence1", "sentence2")]
    hidden, routing = (
        cosines(*(Fusion(method, standardize=standardize).fit(statistics).transform(side) for side in sides))  # type: ignore[arg-type]
        for method in ("hidden_states", "routing_weights")
    )
    gold = [row["score"] for row in rows]
    labels = [label for label in board.variants if label.startswith("sum")]
    found = board.tasks[0].scores[labels[0]]["cosine_spearman"]
    # float16 in the store may swap two near-equal ranks.
    assert found == pytest.approx(spearmanr(gold, hidden + alpha * routing).statistic, abs=5e-3)


def test_alpha_is_chosen_for_each_task_and_named(files: dict[str, Path], tmp_path: Path) -> None:
    made = recipe(local(files, "STS", "Clustering"), methods="sum", alpha="auto")
    board = run(made, tmp_path)
    assert board.variants == ["sum auto"]
    for task in board.tasks:
        alpha = task.alphas["sum auto"]
        fixed = run(recipe(local(files, "STS", "Clustering"), methods="sum", alpha=[alpha]), tmp_path)
        same = next(t for t in fixed.tasks if t.name == task.name)
        assert same.scores[f"sum {alpha:g}"] == task.scores["sum auto"]
        assert any(f"{task.name}: sum auto {alpha:g}" in note for note in board.notes)


def test_alpha_is_searched_on_a_development_file(files: dict[str, Path], tmp_path: Path) -> None:
    from moee_topics.fuse.alpha import grid_search_alpha_pairs

    development = {"file": str(files["STS"]), "type": "STS", "name": "Dev"}
    made = recipe(local(files, "PairClassification"), methods="sum", alpha="auto", development=development)
    board = run(made, tmp_path)
    rows = [json.loads(line) for line in files["STS"].read_text().splitlines()]
    sides = [HashEncoder().encode([row[side] for row in rows]) for side in ("sentence1", "sentence2")]
    best = grid_search_alpha_pairs(sides[0], sides[1], [row["score"] for row in rows]).alpha
    assert board.tasks[0].alphas == {"sum auto": best}
    assert any("development file Dev" in note for note in board.notes)
    wrong = {**development, "file": str(files["Reranking"]), "type": "Reranking"}
    with pytest.raises(InputError, match="for Clustering or STS"):
        run(recipe(local(files, "STS"), methods="sum", alpha="auto", development=wrong), tmp_path)


def test_the_reference_mode_says_what_it_is(files: dict[str, Path], tmp_path: Path) -> None:
    board = run(recipe(local(files, "STS"), standardize="reference"), tmp_path)
    assert board.variants == ["HS", "RW batch-z", "concat batch-z", "sum 0.5"]
    assert any("depends on its neighbours" in note for note in board.notes)
    other = run(recipe(local(files, "STS"), standardize="reference", batch_size=5), tmp_path)
    assert other.tasks[0].scores["HS"] == board.tasks[0].scores["HS"]
    assert other.tasks[0].scores["RW batch-z"] != board.tasks[0].scores["RW batch-z"]


def test_saved_statistics_are_used_as_they_are(files: dict[str, Path], tmp_path: Path) -> None:
    double = HashEncoder()
    path = tmp_path / "newsgroups.safetensors"
    Fusion().fit([double.encode([f"other {i}" for i in range(30)])]).save(path)
    mine = run(recipe(local(files, "STS"), methods="HS", standardize="both", statistics=str(path)), tmp_path)
    own = run(recipe(local(files, "STS"), methods="HS", standardize="both"), tmp_path)
    assert mine.tasks[0].scores["HS z"] != own.tasks[0].scores["HS z"]
    assert any("newsgroups-" in note for note in mine.notes)


def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(self: Any, **kwargs: Any) -> None:
        raise ConnectionError("Couldn't reach the hub")

    monkeypatch.setattr(type(hub_task("STS12").make()), "load_data", no_network)


def test_missing_data_ends_the_run_or_is_left_out(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable(monkeypatch)
    sections = local(files, "STS")
    with pytest.raises(InputError, match="STS12"):
        run(recipe(sections, tasks="STS12"), tmp_path)
    board = run(recipe(sections, tasks="STS12", skip_missing=True, methods="HS"), tmp_path)
    assert [task.name for task in board.tasks] == ["MySTS"]
    assert "Couldn't reach" in board.skipped["STS12"]
    assert "Not scored: STS12" in to_markdown(summary(board))
    with pytest.raises(InputError, match="No task could be scored"):
        run(parse_score_recipe({"score": {"tasks": ["STS12"], "skip_missing": True}}), tmp_path)


# --- recipes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"score": {"alphas": 1}}, "no key score.alphas. Did you mean score.alpha"),
        ({"score": {"methods": ["mean"]}}, "HS, RW, concat, sum"),
        ({"score": {"standardize": "sometimes"}}, "score.standardize"),
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


# --- tables ----------------------------------------------------------------------------------------------------------


HOSTILE = "<script>alert(1)</script> | a"


def board_of(name: str) -> Board:
    scores = {"HS": {"cosine_spearman": 0.5}, "RW": {"cosine_spearman": float("nan")}}
    tasks = [TaskScores(name, "STS", "cosine_spearman", "1", scores)]
    return Board({"model": name}, ["HS", "RW"], tasks, [name])


def test_text_of_others_is_escaped_everywhere() -> None:
    table = summary(board_of(HOSTILE))
    page, markdown = to_html(HOSTILE, [table], [heatmap(HOSTILE, [HOSTILE], np.ones((1, 1)))]), to_markdown(table)
    assert "<script>" not in page and "<script>" not in markdown
    assert all(
        line.replace("\\|", "").count("|") == 5
        for line in markdown.splitlines()
        if line.startswith("| <") or "50.00" in line
    )
    assert not any(address in page.replace("http://www.w3.org/2000/svg", "") for address in ("http:", "https:"))


def test_what_is_not_a_number_is_a_dash_and_null() -> None:
    board = board_of("x")
    assert summary(board).rows[0][2:] == ["50.00", "–"]
    assert (
        json.loads(json.dumps(board.to_json(), allow_nan=False))["tasks"][0]["scores"]["RW"]["cosine_spearman"] is None
    )


def test_means_are_over_tasks_and_then_over_types() -> None:
    def task(name: str, kind: str, value: float) -> TaskScores:
        return TaskScores(name, kind, "s", "1", {"HS": {"s": value}})

    board = Board({}, ["HS"], [task("a", "STS", 0.2), task("b", "STS", 0.4), task("c", "Clustering", 0.9)])
    rows = {row[0]: row[2] for row in summary(board).rows}
    assert rows["STS (mean)"] == "30.00"
    assert rows["all types (mean)"] == "60.00"


def test_figures_are_well_formed_and_hold_the_numbers() -> None:
    names = ["HS a", "RW <b>"]
    found = ET.fromstring(heatmap("title", names, np.array([[1.0, -0.25], [-0.25, np.nan]])))
    texts = [element.text for element in found.iter() if element.text]
    assert {"1.00", "-0.25", "–", "RW <b>", "HS a", "title"} <= set(texts)
    boxes = ET.fromstring(box_plot("title", {"HS": [0.1, 0.2, 0.9], "RW": [float("nan")]}, "axis"))
    dots = [element for element in boxes.iter() if element.tag.endswith("circle")]
    assert len(dots) == 3
    assert ET.fromstring(box_plot("title", {"HS": []}, "axis")) is not None


# --- estimates -------------------------------------------------------------------------------------------------------


def test_estimates_come_from_shipped_statistics_and_download_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    unreachable(monkeypatch)
    sts, older, newer, summary_ = estimate_tasks(
        [
            hub_task(name)
            for name in ("STS12", "TwentyNewsgroupsClustering", "TwentyNewsgroupsClustering.v2", "SummEval")
        ],
        100,
    )
    assert sts.texts == 2 * 3108
    assert (older.texts, older.unique) == (59_545, 5_242)
    assert newer.texts == int(0.04 * 59_545)
    assert summary_.texts == 1100 + 1600
    assert sts.store_bytes == 100 * sts.unique and not sts.exact


def test_estimates_of_local_files_are_exact(files: dict[str, Path]) -> None:
    (found,) = estimate_tasks(recipe(local(files, "Clustering")).sources(), 10)
    texts = {json.loads(line)["text"] for line in files["Clustering"].read_text().splitlines()}
    assert (found.unique, found.characters, found.exact) == (len(texts), sum(map(len, texts)), True)


# --- comparing views -------------------------------------------------------------------------------------------------


class Twins(HashEncoder):
    """Hidden states and routing weights that say the same: one axis per first word, and a little noise."""

    def encode(self, texts: Any) -> Embeddings:
        self.seen.extend(texts)
        noise = super()._row
        rows = np.stack(
            [[4.0 * (text.split()[0] == word) for word in WORDS] + 0.05 * noise(text)[:4] for text in texts]
        )
        return Embeddings(rows, np.zeros((len(texts), 1, 4)), rows[:, None, :])


def comparison(files: dict[str, Path], output: Path, double: Callable[[], HashEncoder], *kinds: str) -> Any:
    made = recipe(local(files, *kinds), prompts=["none", "style"], alpha=[0.5])
    encoders = {prompt: double() for prompt in made.score.prompts}
    encoders["style"].name = "double/style"
    embedders = {prompt: Embedder.of(encoder, output / "store") for prompt, encoder in encoders.items()}
    return compare(made, output, embedders.__getitem__, progress=Progress())


def test_views_that_say_the_same_agree(files: dict[str, Path], tmp_path: Path) -> None:
    found = comparison(files, tmp_path, Twins, "Clustering", "STS").data
    (clusters,), (pairs,) = found["clusterings"], found["pairs"]
    first = clusters["agreements"][0]
    assert (first["first"], first["second"]) == ("HS", "RW")
    assert [first["agreement"][name] for name in ("ami", "nmi", "jaccard", "exact_match")] == pytest.approx([1] * 4)
    assert clusters["with_labels"]["HS z"]["ami"] == pytest.approx(1)
    np.testing.assert_allclose(pairs["correlations"], 1, atol=1e-6)
    assert pairs["means"] == pytest.approx({"HS-HS": 1, "RW-RW": 1, "RW-HS": 1})
    assert pairs["errors"]["HS, RW"]["only_first_right"] == 0


def test_views_that_have_nothing_in_common_do_not_agree(files: dict[str, Path], tmp_path: Path) -> None:
    found = comparison(files, tmp_path, HashEncoder, "Clustering", "STS").data
    assert abs(found["clusterings"][0]["agreements"][0]["agreement"]["ami"]) < 0.25
    assert abs(found["pairs"][0]["means"]["RW-HS"]) < 0.5


def test_a_comparison_is_a_page_json_and_two_figures(files: dict[str, Path], tmp_path: Path) -> None:
    found = comparison(files, tmp_path, HashEncoder, "STS", "Clustering")
    data = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert data == json.loads(json.dumps(found.data))
    for name in ("MySTS-prompts.svg", "MySTS-robustness.svg"):
        assert ET.parse(tmp_path / name).getroot().tag.endswith("svg")
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2 and "HS again" in page
    assert "Agreement of clusters" in (tmp_path / "comparison.md").read_text(encoding="utf-8")


def test_the_control_standardizes_hidden_states_as_it_does_routing_weights() -> None:
    views = views_of(HashEncoder().encode([f"text {i}" for i in range(30)]), 0.5)
    for name in ("HS z", "RW z"):
        np.testing.assert_allclose(views[name].mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(views[name].std(axis=0), 1, atol=1e-4)


def test_one_prompt_has_no_correlation_across_prompts() -> None:
    double = HashEncoder()
    sides = (double.encode([f"a {i}" for i in range(12)]), double.encode([f"b {i}" for i in range(12)]))
    found = compare_pairs("t", {"none": sides}, list(range(12)), alpha=1.0)
    assert np.isnan(found.means["HS-HS"]) and np.isfinite(found.means["RW-HS"])


def test_a_comparison_needs_labels_and_a_fitting_task(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two or more different"):
        compare_clusters("t", HashEncoder().encode(["a", "b"]), [0, 0], alpha=1.0, seed=1)
    with pytest.raises(InputError, match="neither"):
        comparison(files, tmp_path, HashEncoder, "Reranking")


# --- the commands ----------------------------------------------------------------------------------------------------


def cli(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


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


def test_score_from_the_command_line_with_a_real_model(
    files: dict[str, Path], tiny_olmoe: Path, tmp_path: Path
) -> None:
    arguments = ["score", f"encoder.model={tiny_olmoe}", f"score.local=STS={files['STS']},name=Mine",
                 "score.methods=HS,RW,sum", "score.alpha=0.5", "--quiet", "--output", str(tmp_path)]  # fmt: skip
    result = cli(*arguments, "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert [task["name"] for task in data["tasks"]] == ["Mine"]
    assert data == json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    again = cli(*arguments)
    assert "| Mine | cosine_spearman |" in again.stdout
    counts = cli(*arguments, "--dry-run")
    assert "| Mine | STS | 48 | 48 |" in counts.stdout


def test_compare_from_the_command_line_with_a_real_model(
    files: dict[str, Path], tiny_olmoe: Path, tmp_path: Path
) -> None:
    result = cli("compare", "--base_model", str(tiny_olmoe), f"score.local={files['STS']}", "score.prompts=none,style",
                 "--quiet", "--json", "--output", str(tmp_path))  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["pairs"][0]["names"] == ["HS none", "HS style", "RW none", "RW style"]


def test_two_run_folders_are_set_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import moee_topics.report

    runs = [tmp_path / "a", tmp_path / "b"]
    for run_folder in runs:
        run_folder.mkdir()
        (run_folder / "run.json").write_text("{}")
    asked: list[tuple[Path, Path, Path]] = []
    monkeypatch.setattr(moee_topics.report, "write_comparison", lambda *places: asked.append(places))
    result = cli("compare", str(runs[0]), str(runs[1]), "--output", str(tmp_path / "out"), "--json")
    assert json.loads(result.stdout) == {"page": str(tmp_path / "out" / "a-b.html")}
    assert asked == [(*runs, tmp_path / "out" / "a-b.html")]


def test_errors_leave_with_their_exit_code(tmp_path: Path) -> None:
    absent = cli("score", f"score.local={tmp_path / 'absent.csv'}", "--json")
    assert absent.exit_code == 4
    assert json.loads(absent.stdout)["error"]["kind"] == "InputError"
    assert cli("score", "score.tasks=STS12", "score.methods=mean").exit_code == 3
    assert cli("score").exit_code == 3
    (tmp_path / "taken").write_text("a file")
    assert cli("score", "score.tasks=STS12", "--output", str(tmp_path / "taken")).exit_code == 4


def test_a_table_of_csv_is_scored_like_one_of_jsonl(files: dict[str, Path], tmp_path: Path) -> None:
    rows = [json.loads(line) for line in files["STS"].read_text().splitlines()]
    path = tmp_path / "sts.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    boards = [
        run(recipe([{"file": str(f), "name": "X"}], methods="RW"), tmp_path / f.suffix) for f in (path, files["STS"])
    ]
    assert replace(boards[0].tasks[0], revision="") == replace(boards[1].tasks[0], revision="")
