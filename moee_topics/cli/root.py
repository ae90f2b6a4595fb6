"""The typer application, errors to exit codes, and what every command shares.

Data goes to stdout, everything else to stderr. Nothing here or in the command files imports a heavy package before a
command runs, so that ``--help`` is quick.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from moee_topics import __version__
from moee_topics.errors import Interrupted, MoEETopicsError

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, errors included.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never ask the network; use what is on this machine.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
RecipeName = Annotated[
    str, typer.Argument(help="A shipped recipe (see 'recipes ls') or a YAML file.", metavar="RECIPE")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Changes to the recipe, such as fusion.alpha=0.5.", metavar="[KEY=VALUE]...")
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the runs; one run is a folder in it.")]
Store = Annotated[
    Path | None,
    typer.Option("--store", envvar="MOEE_TOPICS_STORE", help="Folder of the embeddings [default: OUTPUT/store]."),
]
RunName = Annotated[str | None, typer.Option("--name", help="Name of the run [default: the recipe's].")]

RUNS = Path("runs")
# the class has no public name: typer 0.29 carries its own copy of click
USAGE_ERROR: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class Commands(TyperGroup):
    """A group of commands whose errors are one line and an exit code.

    Attributes:
        wants_json: whether the command at work was given ``--json``.
    """

    wants_json = False

    def invoke(self, ctx: Any) -> Any:
        """Runs a command; an error of this package ends it with the error's exit code."""
        try:
            return super().invoke(ctx)
        except MoEETopicsError as error:
            leave(error, as_json=self.wants_json)
        except KeyboardInterrupt:
            leave(Interrupted("Interrupted. Run the same command again to go on."), as_json=self.wants_json)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Parses and runs; a usage error is JSON too where JSON was asked for."""
        given: Sequence[str] = kwargs.get("args") or (args[0] if args and args[0] else sys.argv[1:])
        Commands.wants_json = "--json" in given
        if not self.wants_json or not kwargs.get("standalone_mode", True):
            return super().main(*args, **kwargs)
        return self._main_json(*args, **kwargs)

    def _main_json(self, *args: Any, **kwargs: Any) -> NoReturn:
        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except USAGE_ERROR as error:
            print_json({"error": {"kind": "UsageError", "message": error.format_message(), "exit_code": 2}})
            sys.exit(2)
        sys.exit(code if isinstance(code, int) else 0)


app = typer.Typer(
    name="moee-topics",
    cls=Commands,
    help="Topic modelling on the hidden states and routing weights of mixture-of-experts language models.",
    epilog="Exit codes: 0 done, 2 usage, 3 invalid recipe, 4 missing input or model, 5 not enough memory or disk, "
    "6 interrupted and can be resumed.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"moee-topics {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def leave(error: MoEETopicsError, *, as_json: bool) -> NoReturn:
    """Ends the command with an error: its message on stderr, or JSON on stdout, and its exit code."""
    kind = type(error).__name__
    if as_json:
        print_json({"error": {"kind": kind, "message": str(error), "exit_code": error.exit_code}})
    else:
        typer.echo(f"{'stopped' if isinstance(error, Interrupted) else 'error'}: {error}", err=True)
    raise typer.Exit(error.exit_code)


def print_json(data: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def go_offline(offline: bool) -> None:
    """Tells the hub libraries, before they are imported, to stay on this machine."""
    if offline:
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
            os.environ[name] = "1"


def main() -> None:
    """Entry point of ``moee-topics``."""
    signal.signal(signal.SIGTERM, _terminated)
    app(prog_name="moee-topics")


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
