"""The application ``moee-topics``: all commands, in the order of the work.

Data goes to stdout, everything else to stderr. Nothing here or in the command files imports a heavy package before a
command runs, so that ``--help`` is quick.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Annotated

import typer

from moee_topics import __version__
from moee_topics.cli import (
    init_commands,
    model_commands,
    recipe_commands,
    run_commands,
    score_commands,
    serve_commands,
    topic_commands,
    update_commands,
)
from moee_topics.cli.command_group import group_of

app = group_of(
    [
        init_commands.init,
        run_commands.run,
        run_commands.estimate,
        run_commands.embed,
        run_commands.fit,
        run_commands.report,
        run_commands.export,
        run_commands.predict,
        update_commands.update,
        update_commands.diff,
        score_commands.compare,
        score_commands.score,
        serve_commands.serve,
        model_commands.doctor,
    ],
    help="Topic models on the hidden states and routing weights of mixture-of-experts language models.",
    epilog="\b\nStart with:\n  moee-topics run quickstart\n  moee-topics init\n\n\b\nExit codes:\n"
    "  0  done\n"
    "  1  a check of doctor failed\n"
    "  2  no such command or option\n"
    "  3  invalid recipe\n"
    "  4  input, model or embeddings missing or damaged\n"
    "  5  not enough memory or disk\n"
    "  6  interrupted; the same command goes on",
)
groups = {
    "topics": group_of(
        [
            topic_commands.topics_ls,
            topic_commands.topics_show,
            topic_commands.topics_name,
            topic_commands.topics_label,
            topic_commands.topics_check,
            topic_commands.topics_merge,
            topic_commands.topics_drop,
            topic_commands.topics_split,
            topic_commands.topics_pin,
            topic_commands.topics_note,
            topic_commands.topics_seed,
            topic_commands.topics_apply,
            topic_commands.topics_undo,
        ],
        help="List the topics of a run, and decide on them.",
    ),
    "recipes": group_of(
        [recipe_commands.ls, recipe_commands.show_recipe, recipe_commands.cp, recipe_commands.check],
        help="List, show, copy and check recipes.",
    ),
    "models": group_of(
        [
            model_commands.models_ls,
            model_commands.models_inspect,
            model_commands.models_quantize,
            model_commands.models_carve,
            model_commands.models_distil,
        ],
        help="List, inspect, quantize and make mixture-of-experts models.",
    ),
    "store": group_of(
        [model_commands.store_ls, model_commands.store_verify, model_commands.store_merge],
        help="List stores of embeddings, verify and merge them.",
    ),
}
for name, group in groups.items():
    app.add_typer(group, name=name)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"moee-topics {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of ``moee-topics``."""
    # A scheduler's SIGTERM ends a run as Ctrl-C does: what is finished is kept, and the exit code says it can go on.
    signal.signal(signal.SIGTERM, _terminated)
    app(prog_name="moee-topics")


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
