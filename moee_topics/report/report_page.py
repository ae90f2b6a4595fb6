"""The report: one HTML file of a run that needs no network and runs nothing but its own script."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from moee_topics.errors import InputError
from moee_topics.report.chapter import Chapter
from moee_topics.report.chapters import CHAPTERS
from moee_topics.report.page_data import documents_data, embedded_json, first_data
from moee_topics.report.settings import ReportSettings
from moee_topics.report.template import render, template_text
from moee_topics.run_folder import RunFolder
from moee_topics.store import write_text


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
    pages = [(chapter, chapter.html(run, longest)) for chapter in CHAPTERS]
    chapters = [(chapter, html) for chapter, html in pages if html is not None]
    return render(
        "report.html.j2",
        script=page_script([chapter for chapter, _ in chapters]),
        run=run,
        chapters=chapters,
        first=Markup(embedded_json(first_data(run, settings.map_documents))),
        packed=Markup(packed),
    )


def page_script(chapters: Sequence[Chapter]) -> str:
    """The script of a page with these chapters: what all share, the panel, a part for each chapter, the address."""
    parts = [template_text("page.js"), template_text("panel.js")]
    parts += [chapter_script(chapter.script) for chapter in chapters if chapter.script]
    # A block of its own keeps the names of the parts from those of the browser.
    return "\n".join(['"use strict";', "{", *parts, template_text("address.js"), "}"])


def chapter_script(name: str) -> str:
    """A script beside the module of its chapter."""
    return files("moee_topics.report").joinpath(name).read_text(encoding="utf-8")
