"""A group of commands whose errors are one line and an exit code."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from moee_topics.cli.help_page import Command, PageContext
from moee_topics.cli.options import with_options
from moee_topics.cli.stdout import print_json
from moee_topics.errors import InputError, Interrupted, MoEETopicsError
from moee_topics.messages import shortened
from moee_topics.progress import full_disk

# The class has no public name: typer 0.29 carries its own copy of click.
USAGE_ERROR: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class Commands(TyperGroup):
    """A group of commands whose errors are one line and an exit code.

    Attributes:
        wants_json: whether the command at work was given ``--json``.
    """

    context_class = PageContext
    wants_json = False

    def invoke(self, ctx: Any) -> Any:
        """Runs a command; an error of this package ends it with the error's exit code."""
        try:
            return super().invoke(ctx)
        except MoEETopicsError as error:
            leave(error, as_json=self.wants_json)
        except OSError as error:
            if full := full_disk(error, "Then run the same command again."):
                leave(full, as_json=self.wants_json)
            if error.errno != errno.ENAMETOOLONG:
                raise
            # Any path a person types can be that long, and is asked for in many places before it is opened.
            leave(
                InputError(f"{shortened(error.filename)} is too long for the name of a file."), as_json=self.wants_json
            )
        except KeyboardInterrupt:
            leave(Interrupted("Interrupted. Run the same command again to go on."), as_json=self.wants_json)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Parses and runs; a usage error is JSON too where JSON was asked for."""
        typed: Sequence[str] = kwargs.get("args") or (args[0] if args and args[0] else sys.argv[1:])
        # Looked for here, since a usage error ends the parsing before any option has a value.
        Commands.wants_json = "--json" in typed
        if not self.wants_json or not kwargs.get("standalone_mode", True):
            return super().main(*args, **kwargs)
        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except USAGE_ERROR as error:
            print_json({"error": {"kind": "UsageError", "message": error.format_message(), "exit_code": 2}})
            sys.exit(2)
        sys.exit(code if isinstance(code, int) else 0)


def group_of(commands: Sequence[Callable[..., None]], *, help: str, epilog: str | None = None) -> typer.Typer:
    """A typer group of functions that :func:`moee_topics.cli.options.command` has marked."""
    group = typer.Typer(
        cls=Commands,
        help=help,
        epilog=epilog,
        no_args_is_help=True,
        rich_markup_mode=None,  # it would take [default: OUTPUT/store] in a help text for markup
        pretty_exceptions_show_locals=False,  # they would be whole corpora
    )
    for function in commands:
        name, examples, any_option = function.command_facts  # type: ignore[attr-defined]
        # \b keeps click from filling the lines that follow.
        epilog_of = "\b\nExamples:\n  " + "\n  ".join(examples) if examples else None
        settings = {"ignore_unknown_options": any_option}
        group.command(name, cls=Command, epilog=epilog_of, context_settings=settings)(with_options(function))
    return group


def leave(error: MoEETopicsError, *, as_json: bool) -> NoReturn:
    """Ends the command with an error: its message on stderr, or JSON on stdout, and its exit code."""
    if as_json:
        fault = {"kind": type(error).__name__, "message": str(error), "exit_code": error.exit_code}
        print_json({"error": fault})
    else:
        typer.echo(f"{'stopped' if isinstance(error, Interrupted) else 'error'}: {error}", err=True)
    raise typer.Exit(error.exit_code)
