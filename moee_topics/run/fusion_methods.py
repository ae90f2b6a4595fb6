"""One recipe with every method of fusion, off the same store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from moee_topics.errors import InputError, RecipeError
from moee_topics.fuse import METHODS, find_method
from moee_topics.progress import Progress
from moee_topics.recipe import Recipe
from moee_topics.run.whole_run import run
from moee_topics.topics import LabelSection


def parse_methods(text: str) -> list[str]:
    """Methods of fusion from their names or the paper's by comma, or ``all``; each once, in the order given.

    Raises:
        RecipeError: a name that is no method, or fewer than two methods.
    """
    named = [name for name in text.split(",") if name.strip()]
    takes = f"fusion.method takes 'all' or two or more of {', '.join(METHODS)} to compare"
    try:
        methods = list(METHODS) if text.strip() == "all" else list(dict.fromkeys(map(find_method, named)))
    except InputError as error:
        raise RecipeError(f"{takes}. {error}") from error
    if len(methods) < 2:
        raise RecipeError(f"{takes}; got {text!r}.")
    return methods


def run_methods(
    recipe: Recipe, folders: Mapping[str, Path], store: Path | None = None, *, progress: Progress | None = None
) -> None:
    """Runs a recipe once with each method; only the first encodes, and what is done already is skipped.

    Args:
        recipe: its own ``fusion.method`` does not matter.
        folders: the run folder of each method.
        store: root folder of the embedding store that all share; as for :func:`moee_topics.run.run` unless told.
        progress: is told how far the work is.

    Raises:
        MoEETopicsError: any of its kinds; see :func:`moee_topics.run.run`.
    """
    for method, folder in folders.items():
        # Without names: those of every method would be asked for, and by none of them is a method compared.
        changed = {"fusion": replace(recipe.fusion, method=method), "labels": LabelSection()}
        run(recipe.model_copy(update=changed), folder, store, progress=progress)
