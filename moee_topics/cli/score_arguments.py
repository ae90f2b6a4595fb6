"""What ``score`` and ``compare`` are called with: a recipe, changes to it, and the reference implementation's flags."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from moee_topics.errors import RecipeError
from moee_topics.messages import did_you_mean


class Flag(NamedTuple):
    """What a flag comes to.

    Attributes:
        key: the key of the recipe; None where the flag asks for what is always done here.
        value: of the key; None if the flag has a value of its own.
        names: our names of values that are called otherwise there.
    """

    key: str | None
    value: str | None = None
    names: Mapping[str, str] = {}


REFERENCE_FLAGS: Mapping[str, Flag] = {
    "--base_model": Flag("encoder.model"),
    "--use_4bit": Flag("encoder.quantize", "nf4"),
    "--dtype": Flag("encoder.dtype"),
    "--embed_method": Flag("encoder.prompt"),
    "--max_length": Flag("encoder.max_tokens"),
    "--task_types": Flag("score.task_types"),
    "--task_names": Flag("score.tasks"),
    "--batch_size": Flag("score.batch_size"),
    "--emb_info": Flag("score.methods", names={"MoEE": "concat"}),
    # After emb_info, as there: an ensemble is the sum, whatever emb_info says.
    "--similarity_ensemble": Flag("score.methods", "sum"),
    "--similarity_weights": Flag("score.alpha"),
    "--no_instruction": Flag(None, ""),
}
"""The flags of ``eval_mteb.py`` (tianyi-lab/MoE-Embedding) that mean something here, in the order they are laid."""


OPTIONS = ("--output", "--store", "--dry-run", "--offline", "--quiet", "--json", "--help")
"""The options of the commands themselves, which typer reads before the rest gets here."""


class ScoreArguments(NamedTuple):
    """A recipe, if one is named, and ``key=value`` changes."""

    recipe: str | None
    overrides: list[str]


def read_arguments(arguments: Iterable[str]) -> ScoreArguments:
    """Sorts arguments into a recipe and changes to it; flags of the reference implementation become changes.

    Raises:
        RecipeError: a flag that does not exist or lacks its value, or a second recipe.
    """
    recipe: str | None = None
    overrides: list[str] = []
    flags: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        if argument.startswith("--"):
            flags.update([_flag(argument, rest)])
        # A file may have = in its name, and a recipe can only come first.
        elif recipe is None and not overrides and ("=" not in argument or Path(argument).is_file()):
            recipe = argument
        elif "=" in argument:
            overrides.append(argument)
        else:
            raise RecipeError(f"{argument!r} is not a change such as score.tasks=STS12, and one recipe comes first.")
    laid = []
    for name, flag in REFERENCE_FLAGS.items():
        if flag.key and (value := flags.get(name)):
            # Numbers as they are, everything else as quoted YAML: a prompt has quotes and colons of its own.
            laid.append(f"{flag.key}={value if value.replace('.', '', 1).isdigit() else json.dumps(value)}")
    # What is written out as key=value wins over a flag.
    return ScoreArguments(recipe, [*laid, *overrides])


def _flag(argument: str, rest: Iterator[str]) -> tuple[str, str]:
    """A flag's name and value; the value is in the argument, or the next one, or fixed."""
    name, equals, value = argument.partition("=")
    flag = REFERENCE_FLAGS.get(name)
    if flag is None:
        near = did_you_mean(name, [*REFERENCE_FLAGS, *OPTIONS])
        raise RecipeError(f"There is no option {name}.{near} Everything else is a key of the recipe, as key=value.")
    if flag.value is not None:
        return name, flag.value
    value = value if equals else next(rest, "")
    if not value:
        raise RecipeError(f"{name} needs a value; it stands for {flag.key}=VALUE.")
    return name, flag.names.get(value, value)
