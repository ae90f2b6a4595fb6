"""The report: one HTML file of a run that needs no network and runs nothing but its own script."""

from __future__ import annotations

import json
from pathlib import Path

from markupsafe import Markup

from moee_topics.errors import InputError
from moee_topics.fuse import METHODS
from moee_topics.report.chapters import (
    expert_rows,
    label_chapter,
    label_counts,
    manifest_tables,
    outlier_chapter,
    topic_rows,
)
from moee_topics.report.citations import references
from moee_topics.report.page_data import documents_data, embedded_json, first_data
from moee_topics.report.settings import ReportSettings
from moee_topics.report.stability_chapter import stability_chapter
from moee_topics.report.template import render, template_text
from moee_topics.report.verdicts import HEADLINE, score_verdict
from moee_topics.run_folder import RunFolder
from moee_topics.store import write_text

LARGEST = 10


def write_report(
    run_folder: Path | str, output: Path | str | None = None, settings: ReportSettings | None = None
) -> Path:
    """Writes the report of a finished run as one self-contained HTML file.

    Args:
        run_folder: the folder of a finished run; nothing else is read.
        output: where to write; ``report.html`` in the run folder by default.
        settings: the recipe's section ``report``.

    Returns:
        The path of the file.

    Raises:
        InputError: the folder holds no finished topic model, a file of it is damaged, or the map would be empty.
    """
    settings = settings or ReportSettings()
    if settings.map_documents < 1:
        raise InputError(f"The map needs at least one document, got map_documents={settings.map_documents}.")
    run = RunFolder.read(run_folder)
    page = render_report(run, settings)
    if output is None:
        own = RunFolder(run_folder)  # the page of an updated run stays where it was, and shows the current version
        RunFolder.report.write(own, page)
        return RunFolder.report.path(own)
    write_text(Path(output), page)
    return Path(output)


def render_report(run: RunFolder, settings: ReportSettings) -> str:
    """The report as text."""
    packed, longest = documents_data(run)
    counts = label_counts(run)
    # A run of an older version can have no section, or a method that is gone.
    method = METHODS.get(str(run.section("fusion").get("method")))
    return render(
        "report.html.j2",
        script=template_text("report.js"),
        run=run,
        rows=topic_rows(run, counts),
        largest=run.ranked_topics[:LARGEST],
        topics_total=len(run.ranked_topics),
        outliers=outlier_chapter(run, counts),
        scores=[score_verdict(name, score) for name, score in run.scores.items()],
        headline=[score_verdict(name, run.scores[name]) for name in HEADLINE if name in run.scores],
        labels=label_chapter(run, counts),
        expert_rows=expert_rows(run),
        manifest=manifest_tables(run),
        left_out=list(run.section("left_out").items()),
        recipe=json.dumps(run.manifest.get("recipe", {}), indent=2, ensure_ascii=False),
        references=references(run),
        first=Markup(embedded_json(first_data(run, settings.map_documents))),
        packed=Markup(packed),
        longest=longest,
        stability=stability_chapter(run),
        method=method,
        circular=method is not None and "routing_weights" in method.reads,
    )
