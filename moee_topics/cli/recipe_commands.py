"""``moee-topics recipes``: list, show, copy and check recipes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moee_topics.cli.options import Choice, Json, RecipeName, command
from moee_topics.cli.stdout import print_json, show
from moee_topics.errors import InputError

if TYPE_CHECKING:
    from moee_topics.mteb import ScoreRecipe
    from moee_topics.recipe import Recipe


@command("moee-topics recipes ls")
def ls(as_json: Json = False) -> None:
    """List the shipped recipes: for whom each is, and what it costs here.

    Times are those that were measured, of a GPU where this machine has one, else of two CPU cores.
    """
    from moee_topics.recipe import shipped_recipes

    recipes, lines = shipped_recipes(), list[str]()
    here = "gpu" if shutil.which("nvidia-smi") else "cpu"  # to ask torch would take seconds
    for recipe in recipes:
        lines += [recipe.name, f"  {recipe.summary}"]
        lines += [f"  {key:<10} {recipe.facts[key]}" for key in ("for", "documents", "model") if key in recipe.facts]
        lines += [f"  {f'time, {here}':<10} {recipe.facts.get(here, 'not measured')}", ""]
    data = [{"name": recipe.name, "summary": recipe.summary, "path": recipe.path, **recipe.facts} for recipe in recipes]
    show(data, lines[:-1], as_json=as_json)


@command(
    "moee-topics recipes show quickstart",
    "moee-topics recipes show quickstart seed=7   # every value, defaults too",
    name="show",
)
def show_recipe(choice: Choice, as_json: Json = False) -> None:
    """Print the file of a recipe, or every value it comes to.

    With changes or --json every value, defaults too; else the file as it is, comments too.
    """
    import yaml

    from moee_topics.recipe import find_recipe

    values = _load(choice).to_json()  # first of all, so that what is printed is a recipe that works
    if as_json:
        print_json(values)
    elif choice.overrides:
        typer.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)
    else:
        typer.echo(find_recipe(choice.recipe).read_text(encoding="utf-8"), nl=False)


@command("moee-topics recipes cp quickstart mine.yaml", "moee-topics run mine.yaml")
def cp(
    recipe: RecipeName,
    target: Annotated[Path, typer.Argument(help="File or folder to copy it to.", metavar="TARGET")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
    as_json: Json = False,
) -> None:
    """Copy a recipe, comments included, to change it."""
    from moee_topics.recipe import find_recipe
    from moee_topics.store import write_bytes

    source = find_recipe(recipe)
    path = target / source.name if target.is_dir() else target
    check_new(path, force)
    write_bytes(path, source.read_bytes())
    show({"path": path}, [str(path)], as_json=as_json)


def check_new(path: Path, force: bool) -> None:
    """Refuses to overwrite a file, unless somebody said that it may be.

    Raises:
        InputError: the file is there.
    """
    if path.exists() and not force:
        raise InputError(f"{path} exists already. Give another name, or --force to overwrite it.")


@command("moee-topics recipes check mine.yaml hdbscan.min_cluster_size=30")
def check(choice: Choice, as_json: Json = False) -> None:
    """Check the keys and values of a recipe.

    UMAP, HDBSCAN, the vectorizer and BERTopic check the arguments that go to them.
    """
    from moee_topics.recipe import Recipe

    recipe = _load(choice)
    if isinstance(recipe, Recipe):
        from moee_topics.run import check as check_recipe

        check_recipe(recipe)
    show({"recipe": choice.recipe, "valid": True}, [f"{choice.recipe} is valid."], as_json=as_json)


def _load(choice: Choice) -> Recipe | ScoreRecipe:
    from moee_topics.recipe import is_scoring, read_recipe

    if is_scoring(read_recipe(choice.recipe)):
        from moee_topics.mteb import load_score_recipe

        return load_score_recipe(choice.recipe, choice.overrides or [])
    return choice.load()
