"""The main road: run, estimate, embed, fit, report and predict."""

from __future__ import annotations

import csv
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from moee_topics.cli.options import (
    STORE_VARIABLE,
    Choice,
    DryRun,
    Json,
    Manner,
    Offline,
    Places,
    Quiet,
    RunPath,
    command,
)
from moee_topics.cli.stdout import print_json, show
from moee_topics.defaults import FAR, RUNS, STORE_NAME
from moee_topics.errors import InputError
from moee_topics.messages import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from moee_topics.corpus import Corpus
    from moee_topics.evaluate import Drift
    from moee_topics.run import PredictedTopic
    from moee_topics.run_folder import RunFolder

TOPICS_SHOWN, SHARES_SHOWN = 10, 5


@command(
    "moee-topics run quickstart",
    "moee-topics run quickstart fusion.alpha=0.5 hdbscan.min_cluster_size=30",
    "moee-topics run quickstart corpus.source=posts.csv --name posts",
)
def run(choice: Choice, places: Places, *, dry_run: DryRun = False, manner: Manner) -> None:
    """Take a corpus all the way to topics and a report.

    What is done already is skipped: after an interruption the same command goes on where it was.
    """
    from moee_topics.run import plan as plan_recipe
    from moee_topics.run import run as run_recipe
    from moee_topics.run import store_of
    from moee_topics.run_folder import RunFolder

    recipe, folder = choice.load(), places.folder_of(choice)
    if not dry_run:
        _show_run(run_recipe(recipe, folder, places.store, progress=manner.progress), manner)
        return
    store = places.store or store_of(RunFolder(folder))
    plan = plan_recipe(recipe, folder, store, progress=manner.progress)
    width = max(len(stage.name) for stage in plan)
    lines = [f"{stage.name:<{width}} {stage.action:<5} {stage.reason}" for stage in plan]
    data = {"folder": folder, "store": store, "stages": [asdict(stage) for stage in plan]}
    show(data, [f"{folder}  (embeddings in {store})", *lines], as_json=manner.as_json)


@command(
    "moee-topics estimate 20newsgroups",
    "moee-topics estimate quickstart --no-trial",
    "moee-topics estimate quickstart --machines 16 --price 1.80",
)
def estimate(
    choice: Choice,
    *,
    trial: Annotated[bool, typer.Option(help="Load the model and time a few documents.")] = True,
    machines: Annotated[
        int | None, typer.Option(min=1, help="Also hours of so many machines like this one.", metavar="N")
    ] = None,
    price: Annotated[float | None, typer.Option(min=0, help="Of a machine's hour, in any currency.")] = None,
    places: Places,
    manner: Manner,
) -> None:
    """Say what a run will need: tokens, memory, disk and time.

    With --machines, 200 documents are timed, and what the hours assume is said.
    """
    from moee_topics.run import estimate as estimate_recipe
    from moee_topics.run import store_of
    from moee_topics.run_folder import RunFolder

    needs = estimate_recipe(
        choice.load(),
        places.store or store_of(RunFolder(places.folder_of(choice))),
        trial=trial,
        machines=machines,
        price_per_hour=price,
        progress=manner.progress,
    )
    show(asdict(needs), [needs.to_text()], as_json=manner.as_json)


@command(
    "moee-topics embed quickstart --output store",
    "moee-topics embed quickstart --output store --shard 3/16",
    "moee-topics embed quickstart --output store --ray --workers 8 --gpus 0.5",
    "moee-topics run quickstart --store store",
)
def embed(
    choice: Choice,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", envvar=STORE_VARIABLE, help="Folder of the embeddings.")
    ] = RUNS / STORE_NAME,
    shard: Annotated[
        str | None, typer.Option("--shard", help="Encode one of N shares of the documents.", metavar="I/N")
    ] = None,
    ray: Annotated[bool, typer.Option("--ray", help="Encode on the Ray cluster that is there, or here.")] = False,
    workers: Annotated[
        int | None, typer.Option(help="Of --ray: processes that load the model [default: all that fit].", metavar="N")
    ] = None,
    gpus: Annotated[float | None, typer.Option(help="Of --ray: GPUs of a worker, such as 0.5.", metavar="N")] = None,
    cpus: Annotated[float | None, typer.Option(help="Of --ray: cores of a worker.", metavar="N")] = None,
    dry_run: DryRun = False,
    manner: Manner,
) -> None:
    """Encode the documents that the store lacks, and nothing more.

    With --shard several machines fill one store at once, or each its own, which store merge then joins. With --ray the
    workers of a Ray cluster fill one.
    """
    from moee_topics.distributed import WHOLE, RaySettings, Share
    from moee_topics.run import embed as embed_corpus
    from moee_topics.run import plan as plan_recipe

    recipe, share = choice.load(), WHOLE if shard is None else Share.parse(shard)
    asked = RaySettings(workers, gpus, cpus)
    if not ray and asked != RaySettings():
        raise InputError("--workers, --gpus and --cpus are of the workers that --ray starts. Add --ray.")
    if dry_run:
        # This command is the first stage of a run, whose plan it therefore shares.
        stage = plan_recipe(recipe, output, output, share=share, progress=manner.progress)[0]
        show(asdict(stage), [f"{stage.name}: {stage.action}, {stage.reason}"], as_json=manner.as_json)
        return
    encoded = embed_corpus(recipe, output, share=share, ray=asked if ray else None, progress=manner.progress)
    facts = {"store": encoded.folder, "encoded": encoded.encoded, **encoded.survey.to_json(), **asdict(encoded.counts)}
    facts |= {} if share is WHOLE else {"share": str(share), "unique_of_share": encoded.unique}
    of_share = "" if share is WHOLE else f"{encoded.unique:,} different ones in share {share}, "
    line = (
        f"{counted(encoded.survey.documents, 'document')}, {of_share}{encoded.encoded:,} encoded now; "
        f"{encoded.counts.documents_cut:,} cut, {counted(encoded.counts.tokens_lost, 'token')} lost."
    )
    show(facts, [str(encoded.folder), line], as_json=manner.as_json)


@command("moee-topics fit quickstart hdbscan.min_cluster_size=30 --name coarse")
def fit(choice: Choice, places: Places, manner: Manner) -> None:
    """Find the topics of a corpus whose embeddings are stored.

    Documents that embed has not encoded are an error: the model is not loaded.
    """
    from moee_topics.run import fit as fit_recipe

    run = fit_recipe(choice.load(), places.folder_of(choice), places.store, progress=manner.progress)
    _show_run(run, manner)


@command("moee-topics report runs/quickstart --also csv --also png")
def report(
    run: RunPath,
    also: Annotated[
        list[str] | None,
        typer.Option(
            help="A form to write beside it, once or more: markdown, csv, parquet, json, svg, png, datamapplot, atlas, "
            "xlsx, duckdb, hub."
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the report of a run again, or in other forms.

    Other forms go to the folder exports of the run.
    """
    from moee_topics.report import export_report
    from moee_topics.run import report as write_report

    page = write_report(run, progress=Manner(quiet=quiet).progress)
    exports = export_report(run, also) if also else []
    show({"report": page, "exports": exports}, map(str, [page, *exports]), as_json=as_json)


@command(
    "moee-topics export runs/quickstart atlas duckdb",
    "moee-topics export runs/quickstart hub --output published",
)
def export(
    run: RunPath,
    forms: Annotated[
        list[str],
        typer.Argument(
            help="One or more of: atlas (for Embedding Atlas), duckdb, parquet, csv, xlsx, hub (a folder that BERTopic "
            "loads), datamapplot, png, svg, markdown, json.",
            metavar="FORM...",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write into [default: exports in the run's].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a run in the forms that other tools read.

    Nothing is sent anywhere: a folder for the hub is made here, and yours to upload.
    """
    from moee_topics.report import export_report

    paths = export_report(run, forms, output)
    show({"exports": paths}, map(str, paths), as_json=as_json)


@command(
    "moee-topics predict runs/posts new.csv --format csv > topics.csv", "moee-topics predict runs/posts - < lines.txt"
)
def predict(
    run: RunPath,
    source: Annotated[
        str, typer.Argument(help="Documents: a file, a folder, or - for stdin, a document a line.", metavar="INPUT")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="How to read INPUT otherwise, such as corpus.text=body.", metavar="KEY=VALUE"),
    ] = None,
    form: Annotated[
        Literal["jsonl", "csv"] | None, typer.Option("--format", help="Form of the rows [default: jsonl].")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda:0 [default: the run's].")] = None,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Give new documents a topic of a finished run.

    INPUT is read as the run read its own corpus. Each document is one row on stdout: id, topic, name of the topic,
    probability, fitted, which is true where the fit had the same text, and far, which is true where it is unlike
    anything before. How all of them differ from the fit is told on stderr, as is what is left out.
    """
    from moee_topics.run import corpus_like, idle_in_prediction, idle_note
    from moee_topics.run import predict as predict_topics

    if form and as_json:
        raise InputError(f"--format {form} is of rows, and --json is one document with all of them. Leave one out.")
    documents = corpus_like(run, source, overrides or [])
    if note := idle_note(idle_in_prediction(documents.settings, overrides or []).items()):
        typer.echo(f"note: {note}", err=True)
    predictions = predict_topics(run, documents, device=device)
    listed = [asdict(row) for row in predictions] if as_json else []
    if not as_json:
        write = _write_table if form == "csv" else _write_lines
        write(predictions)
    drift, left_out = predictions.drift(), _left_out(documents)  # of all documents, which were read by now
    if as_json:
        print_json({"predictions": listed, "left_out": left_out, "drift": drift.to_json() if drift else None})
    notes = [f"{count:,} left out: {reason}" for reason, count in left_out.items()]
    for note in [*notes, *(_drift_notes(drift, run, source) if drift else ())]:
        typer.echo(f"note: {note}", err=True)


def _write_lines(rows: Iterable[PredictedTopic]) -> None:
    """Each row as it comes, so that a pipe gets the first before the last document is read."""
    from moee_topics.store import to_json

    for row in rows:
        typer.echo(to_json(asdict(row)))


def _write_table(rows: Iterable[PredictedTopic]) -> None:
    """The same as CSV, in which nothing is a formula where it is opened as a spreadsheet."""
    from moee_topics.report import spreadsheet_cell
    from moee_topics.run import PredictedTopic

    writer = csv.DictWriter(sys.stdout, [column.name for column in fields(PredictedTopic)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: spreadsheet_cell(value) for key, value in asdict(row).items()})


def _drift_notes(drift: Drift, run: Path, source: str) -> Iterator[str]:
    """How new documents differ from those of the fit, and what is advised."""
    from moee_topics.evaluate import FEWEST, SURE

    far = f"{drift.far:.0%} of {drift.documents:,} new documents are unlike anything before"
    if drift.documents < FEWEST:
        yield f"{far}; they are fewer than {FEWEST}, so nothing is advised."
        return
    moved = f"{drift.moved.value:.0%} would have to change topics for the shares to be those of the fit"
    yield f"{far} ({FAR:.0%} without drift), and {moved} (by chance up to {drift.moved.chance:.0%})."
    for share in [share for share in drift.topics if abs(share.z) >= SURE][:SHARES_SHOWN]:
        name = "in no topic" if share.topic < 0 else f"in topic {share.topic}"
        yield f"{share.now:.0%} are {name}, of the fit {share.before:.0%} ({share.z:+.1f} standard errors)."
    if drift.advice == "none":
        yield "Nothing is advised."
    else:
        new = "NEW_FILE" if source == "-" else source
        yield f"Advised: moee-topics update {run} {new} --policy {drift.advice} – {'; '.join(drift.reasons)}."


def _left_out(documents: Corpus) -> dict[str, int]:
    """How many rows of the last pass have no topic, by reason."""
    reasons = {"without text": documents.counts.empty, **documents.counts.left_out}
    return {reason: count for reason, count in reasons.items() if count}


def _show_run(run: RunFolder, manner: Manner) -> None:
    """What a finished run came to: its largest topics, its scores, and where the report is."""
    from moee_topics.run_folder import RunFolder
    from moee_topics.topics import name_by_words

    info, corpus, page = run.result.topic_info, run.manifest["corpus"], RunFolder.report
    report = page.path(run.root) if page.exists(run.root) else None
    scores = {name: score["value"] for name, score in run.scores.items()}
    summary = {
        "run": run.path,
        "report": report,
        "documents": corpus["documents"],
        "documents_cut": corpus["documents_cut"],
        "sampled": run.result.sampled,
        "topics": [
            {"topic": t.topic, "count": t.count, "name": t.name, "words": [w for w, _ in t.words]} for t in info
        ],
        "scores": scores,
        "stages": run.manifest["stages"],
        "peak_memory_bytes": run.manifest["peak_memory_bytes"],
    }
    real = [topic for topic in info if topic.topic >= 0]
    outliers = sum(topic.count for topic in info if topic.topic < 0)
    documents = counted(corpus["documents"], "document")
    lines = [f"{counted(len(real), 'topic')} in {documents}, {outliers:,} of them in none."]
    if run.result.assigned is not None:
        lines.append(f"{run.result.sampled:,} documents were clustered, the others assigned to the topics of these.")
    if cut := corpus["documents_cut"]:
        lines.append(f"Cut at {run.manifest['encoder']['max_tokens']} tokens: {counted(cut, 'document')}.")
    for topic in real[:TOPICS_SHOWN]:
        name = "" if topic.name == name_by_words(topic.words, topic.topic) else f"{topic.name}: "
        lines.append(f"{topic.topic:>4} {topic.count:>6}  {name}{', '.join(word for word, _ in topic.words[:7])}")
    if len(real) > TOPICS_SHOWN:
        lines.append(f"     … and {len(real) - TOPICS_SHOWN} more")
    lines.append("  ".join(f"{name} {value:.3f}" for name, value in scores.items() if value is not None))
    # The last line, so that a script finds it with tail -1.
    lines.append(f"Report: {report}" if report else f"Run: {run.path}")
    show(summary, lines, as_json=manner.as_json)
