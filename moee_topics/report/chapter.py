"""A chapter of the report: what it shows of a run, and the markup that shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from moee_topics.report.template import fill
from moee_topics.run_folder import RunFolder


@dataclass(frozen=True)
class Chapter:
    """A chapter of the report. A new one is a file with its values and its markup, and its entry in ``CHAPTERS``.

    Attributes:
        key: where a link to it leads.
        name: in the menu.
        values: what the markup shows, by name; None of a run that has nothing of it, whose report lacks the chapter.
        markup: a template of the inside of its section, with a heading whose id is the key and ``-title``. It also
            knows ``run``, the sections ``corpus``, ``encoder`` and ``fusion`` of its manifest, and ``longest``, how
            many characters of a text are kept.
        script: the file beside the chapter's own with its part of the page's script; empty for none. It runs after
            ``templates/page.js``, whose names it knows; without it the markup must say the same.
    """

    key: str
    name: str
    values: Callable[[RunFolder], Mapping[str, Any] | None]
    markup: str
    script: str = ""

    def html(self, run: RunFolder, longest: int = 0) -> Markup | None:
        """The chapter of a run; None where it has none."""
        values = self.values(run)
        if values is None:
            return None
        sections = {name: run.section(name) for name in ("corpus", "encoder", "fusion")}
        return fill(self.markup, run=run, longest=longest, **sections, **values)
