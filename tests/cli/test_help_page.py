"""A help page holds words of people: placeholders for types, whole options, bounds in words."""

from __future__ import annotations

from typing import Annotated

import typer
from typer.testing import CliRunner

from moee_topics.cli.help_page import Command, PageContext

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(cls=Command)
def sing(
    songs: Annotated[list[str], typer.Argument(help="What to sing.", metavar="SONG")],
    very_loud_indeed: Annotated[float, typer.Option(help="How loud; more than --very-loud-indeed=9 is a crime.")] = 1.0,
    verses: Annotated[int, typer.Option(min=1, help="How many.")] = 2,
    voices: Annotated[list[str] | None, typer.Option(help="Whose.")] = None,
) -> None:
    """Sing a few songs, and with --very-loud-indeed let the neighbours listen to --very-loud-indeed songs too."""


def test_types_are_placeholders_bounds_are_words_and_no_option_is_broken() -> None:
    assert Command.context_class is PageContext
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "60"}).stdout
    shown = [line.strip() for line in text.splitlines()]
    assert any(line.startswith("SONG  What to sing.") for line in shown)
    for line in ("--very-loud-indeed NUMBER", "--verses N", "--voices TEXT"):
        assert any(one.startswith(line) for one in shown), line
    assert "at least 1]" in text and "list[" not in text and "x>" not in text
    assert text.count("--very-loud-indeed") == 4 and not any(line.endswith("-") for line in shown)
