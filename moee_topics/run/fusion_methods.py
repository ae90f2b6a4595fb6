"""One recipe with every method of fusion, off the same store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from moee_topics.errors import RecipeError
from moee_topics.fuse import METHODS
from moee_topics.progress import Progress
from moee_topics.recipe import Recipe
from moee_topics.run.stages import run


def parse_methods(text: str) -> list[str]:
    """Methods of fusion from their names by comma, or ``all``; each once, in the order given.

    Raises:
        RecipeError: a name that is no method, or fewer than two methods.
    """
    named = [name.strip() for name in text.split(",") if name.strip()]
    named = list(METHODS) if named == ["all"] else list(dict.fromkeys(named))
    unknown = [name for name in named if name not in METHODS]
    if unknown or len(named) < 2:
        got = f"{unknown[0]!r} is none of them" if unknown else f"got {text!r}"
        raise RecipeError(f"fusion.method takes 'all' or two or more of {', '.join(METHODS)} to compare; {got}.")
    return named


def run_methods(recipe: Recipe, folders: Mapping[str, Path], store: Path, *, progress: Progress | None = None) -> None:
    """Runs a recipe once with each method; only the first encodes, and what is done already is skipped.

    Args:
        recipe: its own ``fusion.method`` does not matter.
        folders: the run folder of each method.
        store: root folder of the embedding store that all share.
        progress: hears how far it is.

    Raises:
        MoEETopicsError: any of its kinds; see :func:`moee_topics.run.run`.
    """
    for method, folder in folders.items():
        fusion = replace(recipe.fusion, method=method)
        run(recipe.model_copy(update={"fusion": fusion}), folder, store, progress=progress)
