"""The command line: data on stdout, everything else on stderr, and an exit code that means something."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from moee_topics import __version__
from moee_topics.cli import run_commands
from moee_topics.cli.app import app
from moee_topics.cli.bars import Lines
from moee_topics.errors import Interrupted, ResourceError, StoreError
from moee_topics.run import corpus_like

TEXTS = [
    f"{subject} {verb} {place} today and {number} more words follow here"
    for number, (subject, verb, place) in enumerate(
        (subject, verb, place)
        for subject in ("rocket", "goalie", "onion", "tulip")
        for verb in ("orbits", "guards", "fries", "grows")
        for place in ("space", "arena", "kitchen", "garden")
    )
]


def call(*arguments: str | Path, stdin: str | None = None) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, tiny_olmoe: Path) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "posts.txt").write_text("\n".join(TEXTS))
    path = folder / "mine.yaml"
    data = {
        "corpus": {"source": str(folder / "posts.txt")},
        "encoder": {"model": str(tiny_olmoe), "prompt": "none", "pooling": "mean", "max_tokens": 32},
        "umap": {"n_neighbors": 5, "n_components": 2, "n_epochs": 20},
        "hdbscan": {"min_cluster_size": 4},
        "topics": {"representation": "ctfidf"},
    }
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Path:
    """A folder of runs with one finished run; not to be changed."""
    output = tmp_path_factory.mktemp("finished")
    result = call("run", recipe, "--output", output)
    assert result.exit_code == 0, result.stderr
    return output


def test_the_version_is_told_by_both_ways_of_starting_it() -> None:
    assert call("--version").stdout == f"moee-topics {__version__}\n"
    command = [sys.executable, "-m", "moee_topics", "--version"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == f"moee-topics {__version__}\n"


def test_a_run_ends_with_topics_on_stdout_and_a_report(finished: Path, recipe: Path) -> None:
    page = finished / "mine" / "report.html"
    assert page.is_file()
    again = call("run", recipe, "--output", finished)
    assert again.exit_code == 0
    assert "topics in 64 documents" in again.stdout and again.stdout.rstrip().endswith(f"Report: {page}")
    assert "skipped" not in again.stdout
    assert [line.split()[0] for line in again.stderr.splitlines() if "skipped:" in line] == ["embed", "fit", "report"]


def test_progress_is_plain_lines_where_stderr_is_no_terminal(finished: Path, recipe: Path) -> None:
    stderr = call("run", recipe, "--output", finished).stderr
    assert stderr and "\x1b" not in stderr and "\r" not in stderr


def test_quiet_says_nothing_on_stderr(finished: Path, recipe: Path) -> None:
    assert call("run", recipe, "--output", finished, "--quiet").stderr == ""


def test_json_is_one_document_on_stdout(finished: Path, recipe: Path) -> None:
    summary = json.loads(call("run", recipe, "--output", finished, "--json").stdout)
    assert summary["documents"] == 64 and summary["report"] == str(finished / "mine" / "report.html")
    assert sum(topic["count"] for topic in summary["topics"]) == 64
    assert {stage["skipped"] for stage in summary["stages"]} == {True}


def test_dry_run_says_what_would_be_done_and_writes_nothing(tmp_path: Path, recipe: Path) -> None:
    result = call("run", recipe, "--output", tmp_path / "runs", "--dry-run")
    assert [line.split()[:2] for line in result.stdout.splitlines()[1:]] == [
        ["embed", "run"],
        ["fit", "run"],
        ["report", "run"],
    ]
    assert not (tmp_path / "runs").exists()
    data = json.loads(call("embed", recipe, "--output", tmp_path / "runs", "--dry-run", "--json").stdout)
    assert data["action"] == "run" and not (tmp_path / "runs").exists()


def test_stability_is_a_stage_of_a_run_only_where_it_is_asked_for(finished: Path, recipe: Path, tmp_path: Path) -> None:
    output = Path(shutil.copytree(finished, tmp_path / "runs"))
    asked = ("run", recipe, "stability.seeds=1", "--output", output)
    plan = call(*asked, "--dry-run").stdout.splitlines()[1:]
    assert [line.split()[:2] for line in plan] == [
        ["embed", "skip"],
        ["fit", "skip"],
        ["stability", "run"],
        ["report", "run"],
    ]
    summary = json.loads(call(*asked, "--json").stdout)
    assert -1 <= summary["scores"]["stability"] <= 1
    assert [stage["name"] for stage in summary["stages"] if not stage["skipped"]] == ["stability", "report"]
    assert call("run", recipe, "stability.seeds=-1", "--output", output).exit_code == 3


def test_the_methods_of_a_recipe_are_run_off_one_store_and_compared(
    finished: Path, recipe: Path, tmp_path: Path
) -> None:
    output = Path(shutil.copytree(finished, tmp_path / "runs"))
    result = call("compare", recipe, "--output", output, "--quiet", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    names = ["hidden_states", "routing_weights", "concat", "weighted_sum"]
    assert list(found["methods"]) == names and [len(row) for row in found["ami"]] == [4] * 4
    for name in names:
        folder = output / f"mine-{name}"
        assert found["methods"][name]["run"] == str(folder) and (folder / "report.html").is_file()
        assert json.loads((folder / "run.json").read_text())["fusion"]["method"] == name
        assert json.loads((folder / "stages.json").read_text())["embed"]["facts"]["encoded"] == 0, "all were stored"
    pages = output / "mine-methods"
    assert found["page"] == str(pages / "methods.html") and len(list(pages.iterdir())) == 1 + 6
    again = call("compare", recipe, "fusion.method=concat,weighted_sum", "--output", output)
    assert not [line for line in again.stderr.splitlines() if line.startswith(("fuse", "topics", "stability"))]
    assert "| topics |" in again.stdout and again.stdout.rstrip().endswith("methods.html")


def test_what_cannot_be_compared_is_refused(finished: Path, recipe: Path, tmp_path: Path) -> None:
    run = finished / "mine"
    for arguments, told in [
        ((), "No task to score"),
        ((run,), "neither a file nor one of the shipped"),
        ((run, run, run), "one recipe comes first"),
        ((run, recipe), "one recipe comes first"),
        ((recipe, "fusion.method=concat"), "two or more of hidden_states"),
        ((recipe, "fusion.method=concat,HS"), "'HS' is none of them"),
        ((recipe, "--method", "all"), "There is no option --method."),
        ((recipe, "score.alpha=1"), "there is no key score"),
    ]:
        result = call("compare", *arguments, "--output", tmp_path)
        assert result.exit_code == 3 and told in result.stderr, (arguments, result.output)


def test_embed_fills_a_store_from_any_file_and_fit_uses_it(tmp_path: Path, recipe: Path) -> None:
    posts = tmp_path / "other.csv"
    posts.write_text("body,group\n" + "".join(f'"{text}, again",g\n' for text in TEXTS))
    overrides = [f"corpus.source={posts}", "corpus.text=body", "corpus.label=group"]
    facts = json.loads(call("embed", recipe, *overrides, "--output", tmp_path / "store", "--json").stdout)
    assert (facts["documents"], facts["encoded"], facts["labels"]) == (64, 64, 1)
    places = ["--store", tmp_path / "store", "--output", tmp_path / "runs", "--name", "named"]
    result = call("fit", recipe, *overrides, *places)
    assert result.exit_code == 0 and (tmp_path / "runs" / "named" / "topics.parquet").is_file()
    assert call("report", tmp_path / "runs" / "named").stdout.rstrip().endswith("report.html")


def test_predict_writes_one_row_for_each_line_of_stdin(finished: Path) -> None:
    result = call("predict", finished / "mine", "-", stdin="rocket in space\n\ntulip in the garden\n")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["id"] for row in rows] == ["line 1", "line 3"]
    assert all(set(row) == {"id", "topic", "name", "probability", "fitted"} for row in rows)
    table = call("predict", finished / "mine", "-", "--format", "csv", stdin="rocket in space\n").stdout
    assert table.splitlines()[0] == "id,topic,name,probability,fitted" and len(table.splitlines()) == 2


def test_predict_writes_no_formula_into_a_spreadsheet(capsys: pytest.CaptureFixture[str]) -> None:
    run_commands._write_csv([{"id": "=HYPERLINK(1)", "topic": -1, "name": "@x", "probability": 0.5, "fitted": False}])
    assert capsys.readouterr().out.splitlines()[1] == "'=HYPERLINK(1),-1,'@x,0.5,False"


@pytest.mark.parametrize("name", ["../..", "/tmp/elsewhere", "store"])
def test_a_name_that_is_a_path_is_refused_before_anything_is_written(tmp_path: Path, recipe: Path, name: str) -> None:
    result = call("run", recipe, "--output", tmp_path / "runs" / "deep", "--name", name)
    assert result.exit_code == 4 and "cannot have the name" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_predict_tells_what_it_leaves_out(finished: Path) -> None:
    result = call("predict", finished / "mine", "-", stdin="rocket in space\n\ntulip in the garden\n")
    assert "note: 1 left out: without text" in result.stderr
    answer = json.loads(call("predict", finished / "mine", "-", "--json", stdin="rocket\n\n\ntulip\n").stdout)
    assert len(answer["predictions"]) == 2 and answer["left_out"] == {"without text": 2}


def test_predict_reads_new_files_as_the_run_read_its_own(tmp_path: Path, recipe: Path) -> None:
    posts = tmp_path / "posts.csv"
    rows = [(text, f"and {text[::-1]}") for text in TEXTS]
    posts.write_text("title;abstract\n" + "".join(f"{title};{abstract}\n" for title, abstract in rows), "utf-16")
    reading = ["corpus.text=[title,abstract]", "corpus.encoding=utf-16", "corpus.delimiter=;"]
    places = ["--output", tmp_path / "runs", "--name", "joined", "--quiet"]
    assert call("run", recipe, f"corpus.source={posts}", *reading, *places).exit_code == 0
    lines = call("predict", tmp_path / "runs" / "joined", posts).stdout.splitlines()
    fitted = pd.read_parquet(tmp_path / "runs" / "joined" / "documents.parquet")
    assert len(lines) == len(TEXTS)
    again = {document.id: document.text for document in corpus_like(tmp_path / "runs" / "joined", str(posts))}
    assert again == dict(zip(fitted["id"], fitted["text"], strict=True))
    only_titles = tmp_path / "titles.csv"
    only_titles.write_text("title\nrocket\n", "utf-16")
    refused = call("predict", tmp_path / "runs" / "joined", only_titles)
    assert refused.exit_code == 4 and "abstract" in refused.stderr
    assert call("predict", tmp_path / "runs" / "joined", only_titles, "corpus.text=title").exit_code == 0


def test_estimate_counts_without_writing_anything(tmp_path: Path, recipe: Path) -> None:
    result = call("estimate", recipe, "--no-trial", "--output", tmp_path / "runs")
    assert result.exit_code == 0 and "64 (64 different, 0 stored already)" in result.stdout
    assert "time            unknown" in result.stdout and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "kind", "message"),
    [
        (["run"], 2, "UsageError", "Missing argument 'RECIPE'"),
        (["run", "quickstart", "--nonsense"], 2, "UsageError", "No such option"),
        (["run", "quickstrt"], 3, "RecipeError", "Did you mean quickstart?"),
        (["run", "quickstart", "fusion.alfa=1"], 3, "RecipeError", "Did you mean fusion.alpha?"),
        (["recipes", "check", "quickstart", "umap.n_neighbour=3"], 3, "RecipeError", "n_neighbors"),
        (["run", "quickstart", "corpus.source=missing.csv"], 4, "InputError", "missing.csv"),
        (["report", "no/such/run"], 4, "InputError", "no finished run"),
        (["predict", "no/such/run", "-"], 4, "InputError", "no finished run"),
        (["store", "ls", "no/such/store"], 4, "InputError", "no embeddings"),
    ],
)
def test_an_error_is_one_message_with_its_exit_code(
    arguments: Sequence[str], code: int, kind: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain = call(*arguments)
    assert (plain.exit_code, plain.stdout) == (code, "") and message in plain.stderr
    assert "Traceback" not in plain.stderr
    as_json = call(*arguments, "--json")
    error = json.loads(as_json.stdout)["error"]
    assert as_json.exit_code == code and (error["exit_code"], error["kind"]) == (code, kind)
    assert message in error["message"]


def test_a_model_that_is_not_there_is_code_4(recipe: Path, tmp_path: Path) -> None:
    result = call("run", recipe, "encoder.model=no/such-model", "--offline", "--output", tmp_path)
    assert result.exit_code == 4 and "no/such-model" in result.stderr


@pytest.mark.parametrize(("error", "code"), [(ResourceError("full"), 5), (StoreError("locked"), 4)])
def test_errors_of_the_machine_have_their_code(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr("moee_topics.run.run", fail)
    result = call("run", recipe)
    assert result.exit_code == code and result.stderr == f"error: {error}\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted("Interrupted. Run the same command again.")])
def test_an_interruption_is_code_6_and_says_how_to_go_on(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def stop(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr("moee_topics.run.run", stop)
    result = call("run", recipe)
    assert result.exit_code == 6 and "same command again" in result.stderr


def test_offline_reaches_the_hub_libraries_before_they_load(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str | None] = {}

    def look(*args: Any, **options: Any) -> None:
        seen.update({name: os.environ.get(name) for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")})
        raise StoreError("stop here")

    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setattr("moee_topics.run.run", look)
    call("run", recipe, "--offline")
    assert seen == {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def test_recipes_are_listed_shown_and_copied(tmp_path: Path) -> None:
    assert "quickstart" in call("recipes", "ls").stdout
    names = [recipe["name"] for recipe in json.loads(call("recipes", "ls", "--json").stdout)]
    assert {"quickstart", "20newsgroups", "20newsgroups-pocket"} <= set(names)
    shown = call("recipes", "show", "quickstart").stdout
    assert call("recipes", "cp", "quickstart", tmp_path / "my.yaml").exit_code == 0
    assert (tmp_path / "my.yaml").read_text() == shown and shown.startswith("# ")
    assert call("recipes", "cp", "quickstart", tmp_path / "my.yaml").exit_code == 4
    assert call("recipes", "cp", "quickstart", tmp_path / "my.yaml", "--force").exit_code == 0
    changed = yaml.safe_load(call("recipes", "show", "quickstart", "fusion.alpha=0.9").stdout)
    assert changed["fusion"]["alpha"] == 0.9 and changed["encoder"]["model"] == "pocket"


def test_a_model_is_quantized_once_and_then_loaded_as_it_was_saved(tiny_olmoe: Path, tmp_path: Path) -> None:
    assert "0.516 bytes per expert weight" in call("models", "quantize", tiny_olmoe, tmp_path / "saved").stdout
    assert (
        json.loads((tmp_path / "saved" / "config.json").read_text(encoding="utf-8"))["quantization_config"]["kind"]
        == "nf4"
    )
    assert "parameters" in call("models", "inspect", tmp_path / "saved").stdout
    again = call("models", "quantize", tiny_olmoe, tmp_path / "saved")
    assert again.exit_code == 4


def test_models_are_listed_and_inspected(tiny_olmoe: Path) -> None:
    assert "olmoe" in call("models", "ls").stdout
    assert {"olmoe", "qwen2_moe", "deepseek"} <= {
        item["model_type"] for item in json.loads(call("models", "ls", "--json").stdout)
    }
    card = json.loads(call("models", "inspect", tiny_olmoe, "--json").stdout)
    assert (card["family"], card["layers"], card["experts"], card["hidden_size"]) == ("olmoe", 2, 8, 64)
    assert "parameters" in call("models", "inspect", tiny_olmoe).stdout


def test_a_store_is_listed_verified_and_mended(finished: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(finished / "store", tmp_path / "store"))
    assert "64 documents" in call("store", "ls", store).stdout
    assert call("store", "verify", store).exit_code == 0
    shard = next(store.glob("*/shard-*"))
    shard.write_bytes(shard.read_bytes()[:-3])
    broken = call("store", "verify", store, "--json")
    assert broken.exit_code == 4 and [damage["name"] for damage in json.loads(broken.stdout)] == [shard.name]
    assert call("store", "verify", store, "--drop").exit_code == 0 and not shard.exists()
    assert call("store", "verify", store).exit_code == 0


def test_lines_tell_each_stage_once(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.begin("embed", "pocket")
    for done in range(1000):
        lines.advance(done, 1000)
    lines.end("embed", 1.25, "fine")
    assert capsys.readouterr().err == "embed     pocket …\nembed     done in 1.2 s: fine\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_with_6_and_the_next_run_goes_on(tmp_path: Path, recipe: Path, number: int) -> None:
    posts = tmp_path / "many.txt"
    posts.write_text("\n".join(f"{text} {number}" for number in range(100) for text in TEXTS))
    command = [sys.executable, "-m", "moee_topics", "embed", str(recipe), f"corpus.source={posts}"]
    command += ["--output", str(tmp_path / "store")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while not list(tmp_path.rglob("shard-*.safetensors")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 6 and "run the same command again" in stderr
    again = subprocess.run([*command, "--json"], check=True, capture_output=True, text=True)
    assert 0 < json.loads(again.stdout)["encoded"] < 100 * len(TEXTS)


@pytest.mark.parametrize(
    "command", [("report",), ("predict", "x" * 300), ("store", "verify"), ("run", "quickstart", "-o")]
)
def test_a_name_too_long_for_a_file_is_an_error_in_words(command: tuple[str, ...]) -> None:
    result = call(*command, "x" * 300)
    assert result.exit_code == 4 and "is too long for the name of a file" in result.stderr
