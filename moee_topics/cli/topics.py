"""The main road: run, embed, fit, report, predict and estimate."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from moee_topics.cli.root import (
    RUNS,
    DryRun,
    Json,
    Offline,
    Output,
    Overrides,
    Quiet,
    RecipeName,
    RunName,
    Store,
    go_offline,
    print_json,
)

if TYPE_CHECKING:
    from moee_topics.recipe import Recipe
    from moee_topics.run import Run

RunFolder = Annotated[Path, typer.Argument(help="Folder of a finished run, such as runs/quickstart.", metavar="RUN")]
TOPICS_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    for command in (run, embed, fit, report, predict, estimate):
        app.command(command.__name__)(command)


def run(
    recipe: RecipeName,
    overrides: Overrides = None,
    output: Output = RUNS,
    store: Store = None,
    name: RunName = None,
    dry_run: DryRun = False,
    offline: Offline = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Take a corpus all the way to topics and a report; what is done already is skipped.

    Killed or stopped, the same command goes on where it was.
    """
    go_offline(offline)
    opened = _open_run(recipe, overrides, (output, store, name), quiet)
    if dry_run:
        _print_plan(opened, as_json)
        return
    _print_run(opened.everything(), as_json)


def embed(
    recipe: RecipeName,
    overrides: Overrides = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", envvar="MOEE_TOPICS_STORE", help="Folder of the embeddings.")
    ] = RUNS / "store",
    dry_run: DryRun = False,
    offline: Offline = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Encode the documents that the store lacks, and nothing more."""
    go_offline(offline)
    from moee_topics.cli.bars import progress_for
    from moee_topics.run import Run
    from moee_topics.run import embed as embed_corpus

    loaded = _load(recipe, overrides)
    if dry_run:
        plan = Run(loaded, output, output, progress_for(quiet)).plan()[0]
        _print(asdict(plan), f"{plan.name}: {plan.action}, {plan.reason}", as_json)
        return
    encoded = embed_corpus(loaded, output, progress=progress_for(quiet))
    facts = {
        "store": encoded.folder,
        "encoded": encoded.encoded,
        **encoded.survey.to_json(),
        **asdict(encoded.counts),
    }
    text = (
        f"{encoded.folder}\n{encoded.survey.documents:,} documents, {encoded.encoded:,} encoded now; "
        f"{encoded.counts.documents_cut:,} were cut, {encoded.counts.tokens_lost:,} tokens lost."
    )
    _print(facts, text, as_json)


def fit(
    recipe: RecipeName,
    overrides: Overrides = None,
    output: Output = RUNS,
    store: Store = None,
    name: RunName = None,
    offline: Offline = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Find the topics of a corpus that is encoded already; no document goes through the model."""
    go_offline(offline)
    _print_run(_open_run(recipe, overrides, (output, store, name), quiet).fit_only(), as_json)


def report(
    run: RunFolder,
    also: Annotated[
        list[str] | None,
        typer.Option(help="Another form to write beside it: markdown, csv, parquet, json, svg, png or datamapplot."),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the report of a fitted run again, and other forms of it into its folder exports/."""
    from moee_topics.cli.bars import progress_for
    from moee_topics.report import export_report
    from moee_topics.run import report as write

    path = write(run, progress=progress_for(quiet))
    exports = export_report(run, also, run / "exports") if also else []
    _print({"report": path, "exports": exports}, "\n".join(map(str, [path, *exports])), as_json)


def predict(
    run: RunFolder,
    source: Annotated[
        str, typer.Argument(help="Documents: a file, a folder, or - for one per line of stdin.", metavar="INPUT")
    ],
    form: Annotated[Literal["jsonl", "csv"], typer.Option("--format", help="Rows on stdout.")] = "jsonl",
    text: Annotated[str | None, typer.Option(help="Column of the text.")] = None,
    id: Annotated[str | None, typer.Option(help="Column of the ids.")] = None,
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda:0 [default: the run's].")] = None,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Give new documents a topic of a finished run: id, topic, name and probability, one row each."""
    go_offline(offline)
    from moee_topics.corpus import CorpusSettings, open_corpus
    from moee_topics.run import predict as predict_topics

    documents = open_corpus(CorpusSettings(source, text=text, id=id, label="none", timestamp="none"))
    rows = (asdict(row) for row in predict_topics(run, documents, device=device))
    if as_json:
        print_json(list(rows))
    else:
        _WRITERS[form](rows)


def estimate(
    recipe: RecipeName,
    overrides: Overrides = None,
    trial: Annotated[bool, typer.Option(help="Load the model and time a few documents.")] = True,
    output: Output = RUNS,
    store: Store = None,
    offline: Offline = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Say what a run needs before it is begun: tokens, memory, disk and time."""
    go_offline(offline)
    from moee_topics.cli.bars import progress_for
    from moee_topics.run import estimate as estimate_recipe

    found = estimate_recipe(
        _load(recipe, overrides), store or output / "store", trial=trial, progress=progress_for(quiet)
    )
    _print(asdict(found), found.to_text(), as_json)


def _load(recipe: str, overrides: list[str] | None) -> Recipe:
    from moee_topics.recipe import load_recipe

    return load_recipe(recipe, overrides or [])


def _open_run(
    recipe: str, overrides: list[str] | None, places: tuple[Path, Path | None, str | None], quiet: bool
) -> Run:
    loaded = _load(recipe, overrides)
    from moee_topics.cli.bars import progress_for
    from moee_topics.run import Run

    output, store, name = places
    folder = output / (name or Path(recipe).stem)
    return Run(loaded, folder, store or output / "store", progress_for(quiet))


def _print(data: Any, text: str, as_json: bool) -> None:
    if as_json:
        print_json(data)
    else:
        typer.echo(text)


def _print_plan(run: Run, as_json: bool) -> None:
    plan = run.plan()
    width = max(len(stage.name) for stage in plan)
    lines = [f"{stage.name:<{width}} {stage.action:<5} {stage.reason}" for stage in plan]
    data = {"folder": run.folder, "store": run.store, "stages": [asdict(stage) for stage in plan]}
    _print(data, "\n".join([f"{run.folder}  (embeddings in {run.store})", *lines]), as_json)


def _print_run(folder: Path, as_json: bool) -> None:
    summary = _summary(folder)
    _print(summary, _summary_text(summary), as_json)


def _summary(folder: Path) -> dict[str, Any]:
    manifest = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    topics = json.loads((folder / "topic_info.json").read_text(encoding="utf-8"))
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    page = folder / "report.html"
    return {
        "run": folder,
        "report": page if page.is_file() else None,
        "documents": manifest["corpus"]["documents"],
        "documents_cut": manifest["corpus"]["documents_cut"],
        "topics": [
            {"topic": topic["topic"], "count": topic["count"], "words": [word for word, _ in topic["words"]]}
            for topic in topics
        ],
        "scores": {name: score["value"] for name, score in scores.items()},
        "stages": manifest["stages"],
        "peak_memory_bytes": manifest["peak_memory_bytes"],
    }


def _summary_text(summary: Mapping[str, Any]) -> str:
    topics = [topic for topic in summary["topics"] if topic["topic"] >= 0]
    outliers = sum(topic["count"] for topic in summary["topics"] if topic["topic"] < 0)
    lines = [f"{len(topics)} topics in {summary['documents']:,} documents, {outliers:,} of them in none."]
    shown = topics[:TOPICS_SHOWN]
    lines += [f"{topic['topic']:>4} {topic['count']:>6}  {', '.join(topic['words'][:7])}" for topic in shown]
    if len(topics) > len(shown):
        lines.append(f"     … and {len(topics) - len(shown)} more")
    scores = [f"{name} {value:.3f}" for name, value in summary["scores"].items() if value is not None]
    lines.append("  ".join(scores))
    lines.append(f"Report: {summary['report']}" if summary["report"] else f"Run: {summary['run']}")
    return "\n".join(lines)


def _write_json_lines(rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        typer.echo(json.dumps(row, ensure_ascii=False))


def _write_csv(rows: Iterable[Mapping[str, Any]]) -> None:
    writer = csv.DictWriter(sys.stdout, ["id", "topic", "name", "probability"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


_WRITERS: Mapping[str, Callable[[Iterable[Mapping[str, Any]]], None]] = {"jsonl": _write_json_lines, "csv": _write_csv}
