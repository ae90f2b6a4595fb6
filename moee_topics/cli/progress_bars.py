"""What a person sees on stderr while a run works: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from moee_topics.progress import Progress

SECONDS_BETWEEN_LINES = 15.0  # a log of a run of hours stays readable


def progress_for(quiet: bool) -> Progress:
    """Silence, bars or lines, whichever fits."""
    if quiet:
        return Progress()
    return Bars() if sys.stderr.isatty() else Lines()


class Lines(Progress):
    """One line when a stage begins and ends, and now and then one in between."""

    def __init__(self) -> None:
        self._stage, self._last = "", 0.0

    def begin(self, stage: str, what: str) -> None:
        """Tells the stage."""
        self._stage, self._last = stage, time.monotonic()
        say(f"{stage:<9} {what}".rstrip() + " …")

    def advance(self, done: int, total: int, unit: str = "documents") -> None:
        """Tells how far it is, at most every few seconds."""
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            say(f"{self._stage:<9} {done:,} of {total:,} {unit}")

    def end(self, stage: str, seconds: float, outcome: str) -> None:
        """Tells how long it took."""
        say(f"{stage:<9} done in {seconds:.1f} s{': ' if outcome else ''}{outcome}")

    def skip(self, stage: str, why: str) -> None:
        """Tells what need not be done."""
        say(f"{stage:<9} skipped: {why}")

    def note(self, message: str) -> None:
        """Tells it."""
        say(f"note      {message}")


class Bars(Progress):
    """A bar for the stage at work and a line for each that ended."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._stage = ""

    def begin(self, stage: str, what: str) -> None:
        """Shows a bar without a length."""
        self._close()
        self._stage = stage
        self._bar = RichProgress(
            TextColumn("{task.description:<9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,  # the line of end() takes its place
        )
        self._bar.start()
        self._task = self._bar.add_task(stage, total=None)

    def advance(self, done: int, total: int, unit: str = "documents") -> None:
        """Moves the bar."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total)

    def end(self, stage: str, seconds: float, outcome: str) -> None:
        """Replaces the bar by a line."""
        self._close()
        # Escaped: a name with [brackets] would be markup, and vanish.
        self._console.print(f"[green]✓[/] {stage:<9} {seconds:.1f} s  {escape(outcome)}")

    def skip(self, stage: str, why: str) -> None:
        """A line for what need not be done."""
        self._close()
        self._console.print(f"[dim]· {stage:<9} skipped: {escape(why)}[/]")

    def note(self, message: str) -> None:
        """A line above the bar."""
        self._console.print(f"[yellow]![/] {escape(message)}")

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None


def say(message: str) -> None:
    """One line on stderr."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
