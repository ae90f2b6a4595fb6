"""The words of ``score`` and ``compare``: a recipe, changes to it, and the reference implementation's flags."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from moee_topics.errors import RecipeError
from moee_topics.schema import did_you_mean


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
"""The options of the commands themselves, which typer reads before words are sorted."""


class Words(NamedTuple):
    """A recipe, if one is named, and ``key=value`` changes."""

    recipe: str | None
    overrides: list[str]


def read_words(words: Iterable[str]) -> Words:
    """Sorts words into a recipe and changes to it; flags of the reference implementation become changes.

    Raises:
        RecipeError: a flag that is not known or lacks its value, or a second recipe.
    """
    recipe: str | None = None
    overrides: list[str] = []
    flags: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            flags.update([_flag(word, rest)])
        elif recipe is None and not overrides and ("=" not in word or Path(word).is_file()):
            recipe = word
        elif "=" in word:
            overrides.append(word)
        else:
            raise RecipeError(f"{word!r} is no change such as score.tasks=STS12, and one recipe comes first.")
    laid = [f"{flag.key}={_yaml(flags[name])}" for name, flag in REFERENCE_FLAGS.items() if name in flags and flag.key]
    # What is written out as key=value wins over a flag.
    return Words(recipe, [*laid, *overrides])


def _yaml(value: str) -> str:
    """A flag's value as YAML: numbers as they are, everything else as quoted text, for a prompt has its own quotes."""
    return value if value.replace(".", "", 1).isdigit() else json.dumps(value)


def _flag(word: str, rest: Iterator[str]) -> tuple[str, str]:
    """A flag's name and value; the value is in the word, or the next word, or fixed."""
    name, equals, value = word.partition("=")
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
