"""A finished run in other forms: Markdown, tables, figures."""

from __future__ import annotations

import csv
import importlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from moee_topics.defaults import COLOURS, GREY, OUTLIERS
from moee_topics.errors import InputError, MissingExtraError
from moee_topics.messages import counted
from moee_topics.report.atlas_export import export_atlas
from moee_topics.report.citations import references
from moee_topics.report.hub_export import export_hub
from moee_topics.report.map_points import clipped_places, sampled_rows, topic_colours
from moee_topics.report.numerals import as_percent, markdown_text
from moee_topics.report.run_tables import tables_of, topic_table
from moee_topics.report.svg import layers_svg, map_svg, topics_svg
from moee_topics.report.table_files import export_duckdb, export_xlsx
from moee_topics.report.verdicts import score_verdict
from moee_topics.run_folder import RunFolder, title
from moee_topics.store import atomic_path, make_folder, write_json, write_text

FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")
MAP_POINTS = 20_000


def export_report(run_folder: Path | str, formats: Sequence[str], output: Path | str | None = None) -> list[Path]:
    """Writes a finished run in other forms into a folder.

    Args:
        run_folder: the folder of a finished run.
        formats: ``markdown`` (report.md), ``csv`` and ``parquet`` (topics, documents, experts), ``json`` (report.json),
            ``svg`` (map, topics, layers), ``png`` (the map; needs matplotlib), ``datamapplot`` (its picture of the
            map; needs that extra), ``atlas`` (for Embedding Atlas), ``xlsx`` and ``duckdb`` (the tables in one file;
            the extras excel and duckdb), ``hub`` (a folder that plain BERTopic loads, with a card).
        output: the folder to write into, made where it is missing; ``exports`` in the run folder by default.

    Returns:
        The files written.

    Raises:
        InputError: an unknown format, no finished run, or a damaged one.
        MissingExtraError: a package that a figure needs is not installed.
    """
    unknown = [name for name in formats if name not in EXPORTS]
    if unknown:
        raise InputError(f"There is no export format {unknown[0]!r}. Choose from {', '.join(EXPORTS)}.")
    run, own = RunFolder.read(run_folder), RunFolder(run_folder)  # of an updated run the current version is read
    with RunFolder.exports.changing(own) if output is None else nullcontext():
        folder = RunFolder.exports.path(own) if output is None else Path(output)
        make_folder(folder)
        return [path for name in dict.fromkeys(formats) for path in EXPORTS[name](run, folder)]


def export_markdown(run: RunFolder, output: Path) -> list[Path]:
    """``report.md``: the corpus, the scores, the topics with their experts, whom to cite."""
    text = markdown_text
    corpus, encoder = run.section("corpus"), run.section("encoder")
    source = f" from {text(corpus['source'])}" if corpus.get("source") else ""
    model = f", read by {text(encoder['model'])}," if encoder.get("model") else ""
    outliers = run.outliers.count / max(len(run.result), 1) if run.outliers else 0.0
    topics = f"{counted(len(run.ranked_topics), 'topic')}; {as_percent(outliers)} in none."
    lines = [f"# {text(run.name)}", "", f"{counted(len(run.result), 'document')}{source}{model} in {topics}", ""]

    lines += ["## Scores", "", "| score | value | reading |", "|---|--:|---|"]
    for name, score in run.scores.items():
        verdict = score_verdict(name, score)
        lines.append(f"| {text(name)} | {verdict.value} | {text(verdict.text or verdict.description)} |")

    lines += ["", "## Topics", "", "| nr | topic | documents | words | experts (lift) |", "|--:|---|--:|---|---|"]
    experts = {topic.topic: list(topic.experts)[:3] for topic in run.experts.topics} if run.experts else {}
    for topic in run.ranked_topics:
        words = text(", ".join(word for word, _ in list(topic.words)[:10] if word))
        lifts = ", ".join(f"L{e.layer} E{e.expert} (× {e.lift:.2f})" for e in experts.get(topic.topic, []))
        lines.append(f"| {topic.topic} | {text(title(topic))} | {topic.count:,} | {words} | {lifts} |")

    lines += ["", "## How to cite", ""]
    lines += [f"- {text(work)} {text(key)} ({purpose})" for work, key, purpose in references(run)]
    write_text(output / "report.md", "\n".join(lines) + "\n")
    return [output / "report.md"]


def export_json(run: RunFolder, output: Path) -> list[Path]:
    """``report.json``: all of a run but its documents."""
    content = {
        "run": run.manifest,
        "scores": run.scores,
        "topics": topic_table(run),
        "hierarchy": run.hierarchy,
        "over_time": run.over_time,
        "experts": run.experts.to_json() if run.experts else None,
        "stability": run.stability,
    }
    write_json(output / "report.json", content)
    return [output / "report.json"]


def export_csv(run: RunFolder, output: Path) -> list[Path]:
    """Topics, documents and experts, each a CSV file."""
    paths = []
    for name, table in tables_of(run).items():
        path = output / f"{name}.csv"
        with (
            atomic_path(path) as temporary,
            temporary.open("w", encoding="utf-8", errors="replace", newline="") as file,
        ):
            # errors="replace" above: half a surrogate pair in a text is no UTF-8. Topics can lack a column of others.
            writer = csv.DictWriter(file, fieldnames=list(table[0]), restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows({key: spreadsheet_cell(value) for key, value in row.items()} for row in table)
        paths.append(path)
    return paths


def spreadsheet_cell(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula, with a quote before it that keeps it text; all else as it is.

    The characters are those of OWASP's page on CSV injection and, to be on the safe side, their full-width forms.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def export_parquet(run: RunFolder, output: Path) -> list[Path]:
    """Topics, documents and experts, each a Parquet file."""
    paths = []
    for name, table in tables_of(run).items():
        with atomic_path(output / f"{name}.parquet") as temporary:
            pq.write_table(pa.Table.from_pylist(table), temporary, compression="zstd")
        paths.append(output / f"{name}.parquet")
    return paths


def export_svg(run: RunFolder, output: Path) -> list[Path]:
    """The map, the largest topics, and the layers of the experts, each a figure."""
    figures = {output / "map.svg": map_svg(run), output / "topics.svg": topics_svg(run)}
    if run.experts:
        figures[output / "layers.svg"] = layers_svg(run.experts)
    for path, figure in figures.items():
        write_text(path, figure)
    return list(figures)


def export_png(run: RunFolder, output: Path) -> list[Path]:
    """``map.png``, by matplotlib."""
    _need("matplotlib")
    from matplotlib.figure import Figure

    rows, places, colours = sampled_rows(run.result.topics, MAP_POINTS), clipped_places(run), topic_colours(run)
    topics = run.result.topics[rows].tolist()
    figure = Figure(figsize=(9, 9), dpi=160)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_axis_off()
    paint = [GREY if topic == OUTLIERS else COLOURS[colours.get(topic, 0)] for topic in topics]
    axes.scatter(
        places[rows, 0],
        places[rows, 1],
        s=float(np.clip(30_000 / max(len(rows), 1), 3, 14)),
        c=paint,
        alpha=0.7,
        linewidths=0,
    )
    for topic in run.ranked_topics[:20]:
        x, y = np.median(places[run.result.topics == topic.topic], axis=0)
        half = min(0.0034 * len(title(topic)) + 0.005, 0.5)  # of the picture's width, at this size of letters
        x = min(max(x, half), 1 - half)
        box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
        # matplotlib reads text between dollars as mathematics, and fails where it is none.
        axes.text(x, y, title(topic).replace("$", r"\$"), ha="center", va="center", fontsize=8, bbox=box)
    with atomic_path(output / "map.png") as temporary:
        figure.savefig(temporary, format="png")
    return [output / "map.png"]


def export_datamapplot(run: RunFolder, output: Path) -> list[Path]:
    """``datamap.png``, the map as the package datamapplot draws it."""
    _need("datamapplot")
    import datamapplot

    names = {topic.topic: title(topic) for topic in run.ranked_topics}
    labels = np.array([names.get(topic, "Unlabelled") for topic in run.result.topics.tolist()], dtype=object)
    with _no_font_download():
        figure, _ = datamapplot.create_plot(run.positions, labels, noise_label="Unlabelled", title=run.name)
    with atomic_path(output / "datamap.png") as temporary:
        figure.savefig(temporary, format="png", bbox_inches="tight", dpi=160)
    return [output / "datamap.png"]


@contextmanager
def _no_font_download() -> Iterator[None]:
    """The package (seen in 0.2.2) asks fonts.googleapis.com for its fonts, and fails without a network."""
    rendering = importlib.import_module("datamapplot.plot_rendering")
    offline = {"get_google_font": lambda *_, **__: None, "can_reach_google_fonts": lambda *_, **__: False}
    before = {name: getattr(rendering, name) for name in offline if hasattr(rendering, name)}
    for name in before:
        setattr(rendering, name, offline[name])
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(rendering, name, function)


def _need(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(package, "datamap")


EXPORTS: dict[str, Callable[[RunFolder, Path], list[Path]]] = {
    "markdown": export_markdown,
    "csv": export_csv,
    "parquet": export_parquet,
    "json": export_json,
    "svg": export_svg,
    "atlas": export_atlas,
    "xlsx": export_xlsx,
    "duckdb": export_duckdb,
    "hub": export_hub,
    "png": export_png,
    "datamapplot": export_datamapplot,
}
