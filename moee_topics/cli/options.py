"""The options that commands share, each declared once, in sets that a command takes as one parameter.

A parameter whose type is a set of options (``manner: Manner``) becomes the options of that set on the command line.
Settings of a room are a set too: what has a description there is an option.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import typer

from moee_topics.defaults import OFFLINE_VARIABLES, RUNS
from moee_topics.remote import refuse_address

if TYPE_CHECKING:
    from moee_topics.progress import Progress
    from moee_topics.recipe import Recipe

STORE_VARIABLE = "MOEE_TOPICS_STORE"

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, errors included.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but errors.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never ask the network; use what is on this machine.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
RecipeName = Annotated[str, typer.Argument(help="A shipped recipe (recipes ls) or a YAML file.", metavar="RECIPE")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Changes to it, such as fusion.alpha=0.5.", metavar="KEY=VALUE")
]
RunPath = Annotated[Path, typer.Argument(help="Folder of a run, such as runs/quickstart.", metavar="RUN")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the runs; each is a folder in it.")]
Store = Annotated[
    Path | None,
    typer.Option("--store", envvar=STORE_VARIABLE, help="Folder of the embeddings [default: OUTPUT/store]."),
]
StoreOfRun = Annotated[
    Path | None,
    typer.Option("--store", envvar=STORE_VARIABLE, help="Folder of the embeddings [default: the run's]."),
]
StoreToFill = Annotated[
    Path | None,
    typer.Option(
        "--store", envvar=STORE_VARIABLE, help="Folder of the embeddings [default: the run's, or OUTPUT/store]."
    ),
]
StorePath = Annotated[Path, typer.Argument(envvar=STORE_VARIABLE, help="Folder of the embeddings.", metavar="STORE")]


@dataclass(frozen=True)
class Manner:
    """How a command works and speaks."""

    offline: Offline = False
    quiet: Quiet = False
    as_json: Json = False

    @cached_property
    def progress(self) -> Progress:
        """Silence, bars or lines on stderr."""
        from moee_topics.cli.progress_bars import progress_for

        return progress_for(self.quiet)


@dataclass(frozen=True)
class Choice:
    """A recipe and changes to it."""

    recipe: RecipeName
    overrides: Overrides = None

    def load(self) -> Recipe:
        """The recipe of a run, with its changes."""
        from moee_topics.recipe import load_recipe

        return load_recipe(self.recipe, self.overrides or [])


@dataclass(frozen=True)
class Places:
    """Where a run and its embeddings are."""

    output: Output = RUNS
    store: StoreToFill = None
    name: Annotated[str | None, typer.Option("--name", help="Name of the run [default: the recipe's].")] = None

    def folder_of(self, choice: Choice) -> Path:
        """Folder of the run, which has the recipe's name unless another is given."""
        from moee_topics.run_folder import named_folder

        return named_folder(self.output, self.name if self.name is not None else Path(choice.recipe).stem)


def with_options(function: Callable[..., None]) -> Callable[..., None]:
    """The command of a function: what typer sees has the options of a set in the place of each set."""
    types: dict[str, Any] = get_type_hints(function, include_extras=True)
    sets: dict[str, Any] = {name: options for name, options in types.items() if is_dataclass(options)}
    shown: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        hints = get_type_hints(sets[name], include_extras=True) if name in sets else types
        inside = inspect.signature(sets[name]).parameters if name in sets else {name: parameter}
        # By keyword, because then a set may stand behind an option with a default; to typer only the order matters.
        keyword = inspect.Parameter.KEYWORD_ONLY
        options = {key: option_of(key, hints[key]) if name in sets else hints[key] for key in inside}
        shown += [inside[key].replace(annotation=hint, kind=keyword) for key, hint in options.items() if hint]

    def command(**values: Any) -> None:
        if values.get("offline"):
            go_offline()  # before the function imports what reads it
        # What may be an address is a string to the commands that take one; a path is of this machine.
        for path in values.values():
            if isinstance(path, Path):
                refuse_address(path)
        # typer knows the options alone; the function gets each set as one value again.
        made = {name: made_of(**{item.name: values.pop(item.name) for item in fields(made_of) if item.name in values})
                for name, made_of in sets.items()}  # fmt: skip
        function(**values, **made)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return command


def option_of(name: str, hint: Any) -> Any:
    """What typer reads of a key of a set, whose field may be described for pydantic; None of one without either."""
    kind, *facts = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    described = next((fact for fact in facts if getattr(fact, "description", None)), None)
    if described is None:
        return hint if facts else None
    least = next((limit.ge for limit in described.metadata if hasattr(limit, "ge")), None)
    flag = f"--{name.replace('_', '-')}"
    return Annotated[kind, typer.Option(flag, min=least, help=described.description)]


def go_offline() -> None:
    """Tells the hub libraries, before they are imported, to stay on this machine."""
    # They are read once, at import, and a call that is not told waits for its timeout where there is no network.
    for name in OFFLINE_VARIABLES:
        os.environ[name] = "1"


def command(
    *examples: str, name: str | None = None, any_option: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Marks a function as a command.

    Args:
        examples: lines that end its help.
        name: what it is called, unless like the function.
        any_option: whether options that it does not declare reach it, among its arguments.
    """

    # Marked, not registered: what the help lists, and in which order, the application says.
    def marked(function: Callable[..., None]) -> Callable[..., None]:
        function.command_facts = (name or function.__name__, examples, any_option)  # type: ignore[attr-defined]
        return function

    return marked
