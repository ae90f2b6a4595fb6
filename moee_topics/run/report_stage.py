"""The stage that writes the page."""

from __future__ import annotations

import time
from dataclasses import asdict, fields
from pathlib import Path

from moee_topics import __version__
from moee_topics.progress import Progress
from moee_topics.report import ReportSettings, write_report
from moee_topics.run.fit_stage import FitStage
from moee_topics.run.ledger import fingerprint
from moee_topics.run.manifest import recipe_section, write_manifest
from moee_topics.run.stability_stage import StabilityStage
from moee_topics.run.stage import Outcome, Stage
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import RunFolder
from moee_topics.store import writing_alone


class ReportStage(Stage):
    """Writes the report, from the files of the run alone."""

    name = "report"
    outputs = (RunFolder.report,)

    def is_wanted(self, work: Workspace) -> bool:
        """Whether the recipe asks for a page."""
        return work.recipe.report.html

    def inputs(self, work: Workspace) -> str | None:
        """The fit, the stability where it is asked for, and the report's own section."""
        fitted, stability = FitStage().inputs(work), StabilityStage()
        if fitted is None:
            return None
        refits = [stability.inputs(work)] if stability.is_wanted(work) else []
        return fingerprint(fitted, asdict(work.recipe.report), __version__, *refits)

    def run(self, work: Workspace) -> Outcome:
        """Writes it anew."""
        write_manifest(work, finished=False)  # the page shows it
        return Outcome(str(write_page(work.folder, work.recipe.report, work.progress)))


def report(folder: Path, *, progress: Progress | None = None) -> Path:
    """Writes the report of a fitted run again, from its files alone.

    Raises:
        InputError: the folder holds no fitted run.
    """
    with writing_alone(folder):  # the digests of the folder have one writer at a time
        return write_page_again(folder, progress or Progress())


def write_page(folder: Path, settings: ReportSettings, progress: Progress) -> Path:
    """Writes the page of a run; whoever calls it keeps other writers out of the folder and tells the end."""
    progress.begin("report", f"a map of at most {settings.map_documents:,} documents")
    return write_report(folder, settings=settings)


def write_page_again(folder: Path, progress: Progress) -> Path:
    """:func:`report` by whoever keeps other writers out of the folder."""
    section = recipe_section(RunFolder(folder), "report")
    # The manifest of an older version may lack a key, or hold one that is gone.
    settings = ReportSettings(**{key.name: section[key.name] for key in fields(ReportSettings) if key.name in section})
    started = time.perf_counter()
    page = write_page(folder, settings, progress)
    progress.end("report", time.perf_counter() - started, str(page))
    return page
