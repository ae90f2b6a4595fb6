"""``moee-topics recipes``: list, show, copy and check recipes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moee_topics.cli.root import Commands, Json, Overrides, RecipeName, print_json

if TYPE_CHECKING:
    from moee_topics.mteb import ScoreRecipe
    from moee_topics.recipe import Recipe


def register(app: typer.Typer) -> None:
    """Adds the group to the application."""
    group = typer.Typer(cls=Commands, help="List, show, copy and check recipes.", no_args_is_help=True)
    group.command("ls")(ls)
    group.command("show")(show)
    group.command("cp")(cp)
    group.command("check")(check)
    app.add_typer(group, name="recipes")


def ls(as_json: Json = False) -> None:
    """List the recipes that come with the package."""
    from moee_topics.recipe import shipped_recipes

    found = shipped_recipes()
    if as_json:
        print_json([{"name": recipe.name, "summary": recipe.summary, "path": recipe.path} for recipe in found])
        return
    width = max((len(recipe.name) for recipe in found), default=0)
    for recipe in found:
        typer.echo(f"{recipe.name:<{width}}  {recipe.summary}")


def show(recipe: RecipeName, overrides: Overrides = None, as_json: Json = False) -> None:
    """Print a recipe: its file, or with overrides or --json every value it comes to."""
    from moee_topics.recipe import find_recipe

    loaded = _load(recipe, overrides or [])
    if as_json:
        print_json(loaded.to_json())
    elif overrides:
        import yaml

        typer.echo(yaml.safe_dump(loaded.to_json(), sort_keys=False, allow_unicode=True), nl=False)
    else:
        typer.echo(find_recipe(recipe).read_text(encoding="utf-8"), nl=False)


def cp(
    recipe: RecipeName,
    target: Annotated[Path, typer.Argument(help="File or folder to copy it to.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
    as_json: Json = False,
) -> None:
    """Copy a recipe, comments included, to change it."""
    from moee_topics.errors import InputError
    from moee_topics.recipe import find_recipe
    from moee_topics.store import write_bytes

    source = find_recipe(recipe)
    path = target / source.name if target.is_dir() else target
    if path.exists() and not force:
        raise InputError(f"{path} exists already. Give another name, or --force to overwrite it.")
    write_bytes(path, source.read_bytes())
    if as_json:
        print_json({"path": path})
    else:
        typer.echo(path)


def check(recipe: RecipeName, overrides: Overrides = None, as_json: Json = False) -> None:
    """Check a recipe: its keys and values, and what UMAP, HDBSCAN, BERTopic and the prompt would say to it."""
    from moee_topics.recipe import Recipe

    loaded = _load(recipe, overrides or [])
    if isinstance(loaded, Recipe):
        from moee_topics.run import check as check_recipe

        check_recipe(loaded)
    if as_json:
        print_json({"recipe": recipe, "valid": True})
    else:
        typer.echo(f"{recipe} is valid.")


def _load(recipe: str, overrides: list[str]) -> Recipe | ScoreRecipe:
    from moee_topics.recipe import is_scoring, load_recipe, read_recipe

    if is_scoring(read_recipe(recipe)):
        from moee_topics.mteb import load_score_recipe

        return load_score_recipe(recipe, overrides)
    return load_recipe(recipe, overrides)
