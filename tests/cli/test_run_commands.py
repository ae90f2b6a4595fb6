"""The main road by commands: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from command_line import TEXTS, call

from moee_topics.run import PredictedTopic, Predictor, corpus_like


def test_a_run_ends_with_topics_on_stdout_and_a_report(finished: Path, recipe: Path) -> None:
    page = finished / "mine" / "report.html"
    assert page.is_file()
    again = call("run", recipe, "--output", finished)
    assert again.exit_code == 0
    assert "topics in 64 documents" in again.stdout and again.stdout.rstrip().endswith(f"Report: {page}")
    assert "skipped" not in again.stdout
    assert [line.split()[0] for line in again.stderr.splitlines() if "skipped:" in line] == ["embed", "fit", "report"]


def test_json_is_one_document_on_stdout(finished: Path, recipe: Path) -> None:
    summary = json.loads(call("run", recipe, "--output", finished, "--json").stdout)
    assert summary["documents"] == 64 and summary["report"] == str(finished / "mine" / "report.html")
    assert sum(topic["count"] for topic in summary["topics"]) == 64
    assert all(topic["name"] for topic in summary["topics"] if topic["topic"] >= 0)
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
    assert -1 <= summary["scores"]["stability_seeds"] <= 1
    assert [stage["name"] for stage in summary["stages"] if not stage["skipped"]] == ["stability", "report"]
    assert call("run", recipe, "stability.seeds=-1", "--output", output).exit_code == 3


def test_a_command_on_a_run_uses_the_store_that_the_run_remembers(tmp_path: Path, recipe: Path) -> None:
    places = ["--output", tmp_path / "runs", "--quiet"]
    assert call("run", recipe, *places, "--store", tmp_path / "elsewhere").exit_code == 0
    planned = json.loads(call("run", recipe, *places, "--dry-run", "--json").stdout)
    assert planned["store"] == str(tmp_path / "elsewhere")
    assert [stage["action"] for stage in planned["stages"]] == ["skip"] * 3
    needs = json.loads(call("estimate", recipe, *places, "--no-trial", "--json").stdout)
    assert needs["stored"] == needs["unique"] > 0
    assert call("fit", recipe, *places, "hdbscan.min_cluster_size=5").exit_code == 0
    assert not (tmp_path / "runs" / "store").exists()


def test_estimate_counts_without_writing_anything(tmp_path: Path, recipe: Path) -> None:
    result = call("estimate", recipe, "--no-trial", "--output", tmp_path / "runs")
    assert result.exit_code == 0 and "64 (64 different, 0 stored already)" in result.stdout
    assert "time            unknown" in result.stdout and not (tmp_path / "runs").exists()


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
    assert all(set(row) == {"id", "topic", "name", "probability", "fitted", "far"} for row in rows)
    table = call("predict", finished / "mine", "-", "--format", "csv", stdin="rocket in space\n").stdout
    assert table.splitlines()[0] == "id,topic,name,probability,fitted,far" and len(table.splitlines()) == 2
    assert "of 2 new documents are unlike anything before; they are fewer than 30" in result.stderr
    refused = call("predict", finished / "mine", "-", "--format", "csv", "--json", stdin="rocket in space\n")
    assert refused.exit_code == 4 and "--format csv is of rows" in refused.stdout


def test_predict_writes_no_formula_into_a_spreadsheet(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = PredictedTopic("=HYPERLINK(1)", -1, "@x", 0.5, False, True)
    monkeypatch.setattr(Predictor, "topics_of", lambda *_: [row])
    result = call("predict", finished / "mine", "-", "--format", "csv", stdin="rocket\n")
    assert result.stdout.splitlines()[1] == "'=HYPERLINK(1),-1,'@x,0.5,False,True"


def test_predict_tells_what_it_leaves_out(finished: Path) -> None:
    result = call("predict", finished / "mine", "-", stdin="rocket in space\n\ntulip in the garden\n")
    assert "note: 1 left out: without text" in result.stderr
    answer = json.loads(call("predict", finished / "mine", "-", "--json", stdin="rocket\n\n\ntulip\n").stdout)
    assert len(answer["predictions"]) == 2 and answer["left_out"] == {"without text": 2}


def test_predict_says_how_new_documents_differ_and_what_to_do(finished: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("".join(f"kernel driver patch {number} memory {number % 7} bug\n" for number in range(60)))
    told = call("predict", finished / "mine", other)
    assert "of 60 new documents are unlike anything before (5% without drift)" in told.stderr
    assert f"Advised: moee-topics update {finished / 'mine'} {other} --policy " in told.stderr
    facts = json.loads(call("predict", finished / "mine", other, "--json").stdout)
    assert facts["drift"]["advice"] in ("grow", "refit") and facts["drift"]["reasons"]
    assert facts["drift"]["far"] == pytest.approx(sum(row["far"] for row in facts["predictions"]) / 60, abs=1e-4)
    assert sum(share["now"] for share in facts["drift"]["topics"]) == pytest.approx(1, abs=1e-2)
    own = json.loads(call("predict", finished / "mine", "-", "--json", stdin=f"{TEXTS[0]}\n").stdout)
    assert own["drift"] is None and own["predictions"][0]["fitted"], "it is no new one"


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


def test_embed_encodes_a_share_and_says_how_much_is_left(tmp_path: Path, recipe: Path) -> None:
    planned = json.loads(
        call("embed", recipe, "--output", tmp_path / "store", "--shard", "1/4", "--dry-run", "--json").stdout
    )
    facts = [
        json.loads(call("embed", recipe, "--output", tmp_path / "store", "--shard", f"{n}/4", "--json").stdout)
        for n in (1, 2)
    ]
    assert planned["reason"] == f"{facts[0]['encoded']} of {facts[0]['encoded']} documents are not stored"
    assert [fact["share"] for fact in facts] == ["1/4", "2/4"]
    rest = 64 - sum(fact["unique_of_share"] for fact in facts)
    assert (
        f"{rest} of 64 documents are not stored" in call("embed", recipe, "-o", tmp_path / "store", "--dry-run").stdout
    )
    said = call("embed", recipe, "-o", tmp_path / "store", "--shard", "3/4").stdout
    assert "different ones in share 3/4" in said
    refused = call("embed", recipe, "-o", tmp_path / "store", "--shard", "0/4")
    assert refused.exit_code == 4 and "expected I/N" in refused.stderr


def test_workers_are_asked_for_with_ray_alone_and_a_share_without_it(tmp_path: Path, recipe: Path) -> None:
    store = ("--output", tmp_path / "store")
    for more in ((), ("--dry-run",)):
        refused = call("embed", recipe, *store, "--workers", "2", *more)
        assert refused.exit_code == 4 and "Add --ray" in refused.stderr
    refused = call("embed", recipe, *store, "--ray", "--shard", "1/2")
    assert refused.exit_code == 4 and "exclude each other" in refused.stderr
    assert not (tmp_path / "store").exists()
