"""Help pages in the words of people: no name of a Python type, no option broken over two lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand

# The class has no public name: typer 0.29 carries its own copy of click.
HelpFormatter: Any = typer.Context.formatter_class

TYPE = re.compile(r"<(?:list\[)?(str|int|float|path|Path)(?: range)?\]?>")
PLACEHOLDERS = {"str": "TEXT", "int": "N", "float": "NUMBER", "path": "PATH", "Path": "PATH"}
NO_BREAK = "\u2011"
"""A hyphen to the eye; what fills lines breaks words at the other one."""


class HelpPage(HelpFormatter):  # type: ignore[misc]
    """A help page.

    typer 0.29 shows ``<list[str]>`` beside an argument, ``x>=1`` behind an option, and breaks ``--least-squares``.
    """

    def write_text(self, text: str) -> None:
        """Writes paragraphs, filled."""
        super().write_text(text.replace("-", NO_BREAK))

    def write_dl(self, rows: Sequence[tuple[str, str]], *args: Any, **kwargs: Any) -> None:
        """Writes arguments, options or commands with what they are."""
        plain = []
        for name, what in rows:
            # An argument is called by what stands for its value, an option has that beside it.
            name = TYPE.sub(lambda match: PLACEHOLDERS[match[1]], name) if name[0] == "-" else TYPE.sub("", name)
            plain.append((name.strip(), re.sub(r"x>=(\S+)\]", r"at least \1]", what).replace("-", NO_BREAK)))
        super().write_dl(plain, *args, **kwargs)

    def getvalue(self) -> str:
        """The whole page."""
        page: str = super().getvalue()
        return page.replace(NO_BREAK, "-")


class PageContext(typer.Context):
    """The context of a command whose help is a :class:`HelpPage`."""

    formatter_class = HelpPage


class Command(TyperCommand):
    """A command whose help is a :class:`HelpPage`."""

    context_class = PageContext
