"""``moee-topics score`` and ``compare``: vectors on tasks, two runs, methods, hidden states beside routing weights."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from moee_topics.cli.root import RUNS, Json, Offline, Overrides, Quiet, Store, go_offline, print_json

if TYPE_CHECKING:
    from moee_topics.mteb import ScoreRecipe, Table
    from moee_topics.report import MethodsComparison

COMPARISON = RUNS / "comparison"
REFERENCE = "Names of the reference implementation (tianyi-lab/MoE-Embedding, eval_mteb.py)"


def register(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    app.command("score")(score)
    app.command("compare")(compare)


def score(
    recipe: Annotated[
        str | None, typer.Argument(help="A scoring recipe, or nothing and options.", metavar="[RECIPE]")
    ] = None,
    overrides: Overrides = None,
    model: Annotated[str | None, typer.Option("--model", "--base_model", help="Hub name, folder or pocket.")] = None,
    quantize: Annotated[Literal["none", "int8", "nf4"] | None, typer.Option(help="Bits of the weights.")] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", "--embed_method", help="Name of a prompt, or a template with {text}.")
    ] = None,
    pooling: Annotated[Literal["last_token", "mean"] | None, typer.Option(help="Which tokens.")] = None,
    tasks: Annotated[str | None, typer.Option("--tasks", "--task_names", help="Tasks of mteb, by comma.")] = None,
    task_types: Annotated[
        str | None,
        typer.Option(
            "--task-types", "--task_types", help="Task types, by comma: alone, the paper's data sets of them."
        ),
    ] = None,
    benchmark: Annotated[str | None, typer.Option(help="A benchmark of mteb, such as 'MTEB(eng, v2)'.")] = None,
    local: Annotated[
        list[str] | None,
        typer.Option(help="[TYPE=]FILE[,key=value...], for example Clustering=posts.csv,label=group,sample=2000."),
    ] = None,
    methods: Annotated[str | None, typer.Option(help="HS, RW, concat, sum, by comma.")] = None,
    alpha: Annotated[
        str | None, typer.Option("--alpha", "--similarity_weights", help="Weights of RW in sum, by comma, or auto.")
    ] = None,
    development: Annotated[
        str | None, typer.Option(help="A labelled file, as for --local, that alpha is searched on; with --alpha auto.")
    ] = None,
    standardize: Annotated[
        str | None, typer.Option(help="By comma: none, both, routing_weights, reference (the published per-batch one).")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", "--batch_size", help="Of mteb; only 'reference' depends on it.")
    ] = None,
    skip_missing: Annotated[bool, typer.Option(help="Leave out tasks whose data cannot be had.")] = False,
    estimate: Annotated[bool, typer.Option("--estimate", help="Count texts and tokens, and do nothing.")] = False,
    use_4bit: Annotated[bool, typer.Option("--use_4bit", hidden=True)] = False,
    emb_info: Annotated[Literal["HS", "RW", "MoEE"] | None, typer.Option("--emb_info", hidden=True)] = None,
    similarity_ensemble: Annotated[bool, typer.Option("--similarity_ensemble", hidden=True)] = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the results.")] = RUNS / "scores",
    store: Store = None,
    offline: Offline = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Score vectors on MTEB tasks or on labelled files of your own; what is scored already is not scored again.

    The reference implementation's flags are understood: --base_model, --use_4bit, --task_types, --batch_size,
    --emb_info HS|RW|MoEE, --embed_method, --similarity_ensemble and --similarity_weights.
    """
    go_offline(offline)
    os.environ.setdefault("TQDM_DISABLE", "1")
    reference = reference_options(use_4bit, emb_info, similarity_ensemble)
    given = {
        "encoder.model": model,
        "encoder.quantize": quantize or reference.get("quantize"),
        "encoder.prompt": prompt,
        "encoder.pooling": pooling,
        "score.tasks": tasks,
        "score.task_types": task_types,
        "score.benchmark": benchmark,
        "score.local": [local_option(text) for text in local] if local else None,
        "score.methods": methods or reference.get("methods"),
        "score.alpha": alpha or ("auto" if development else None),
        "score.development": local_option(development) if development else None,
        "score.standardize": standardize,
        "score.batch_size": batch_size,
        "score.skip_missing": skip_missing or None,
    }
    opened = open_recipe(recipe, overrides or [], given)
    if estimate:
        _estimate(opened, as_json)
        return
    _score(opened, output, store, quiet, as_json)


def compare(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            help="Two run folders; or a recipe and changes to it: with --methods one of a corpus, else a scoring one.",
            metavar="[RUN_A RUN_B | RECIPE [KEY=VALUE]...]",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Hub name, folder or pocket.")] = None,
    quantize: Annotated[Literal["none", "int8", "nf4"] | None, typer.Option(help="Bits of the weights.")] = None,
    pooling: Annotated[Literal["last_token", "mean"] | None, typer.Option(help="Which tokens.")] = None,
    prompts: Annotated[str | None, typer.Option(help="Names of prompts, by comma, or 'all'.")] = None,
    tasks: Annotated[str | None, typer.Option(help="Clustering and STS tasks of mteb, by comma.")] = None,
    local: Annotated[list[str] | None, typer.Option(help="Labelled files, as for score.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Weight of RW in sum.")] = None,
    methods: Annotated[
        str | None,
        typer.Option(help="hidden_states, routing_weights, concat, weighted_sum, by comma, or 'all': run RECIPE so."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder of the results; for two runs also a page [default: runs/comparison; with --methods runs].",
        ),
    ] = None,
    store: Store = None,
    offline: Offline = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Set two runs side by side; or a corpus by several methods; or hidden states beside routing weights on tasks."""
    go_offline(offline)
    os.environ.setdefault("TQDM_DISABLE", "1")
    words = what or []
    two_runs = len(words) == 2 and all((Path(word) / "run.json").is_file() for word in words)
    if two_runs and methods is None:
        _compare_runs(Path(words[0]), Path(words[1]), output or COMPARISON, as_json)
        return
    given = {
        "encoder.model": model,
        "encoder.quantize": quantize,
        "encoder.pooling": pooling,
        "score.prompts": _prompts(prompts),
        "score.tasks": tasks,
        "score.local": [local_option(text) for text in local] if local else None,
        "score.alpha": alpha,
    }
    if methods is not None:
        _check_methods(words, two_runs, given)
        _compare_methods(words, methods, output or RUNS, store, quiet, as_json)
        return
    recipe = open_recipe(words[0] if words else None, words[1:], given)
    _compare_views(recipe, output or COMPARISON, store, quiet, as_json)


def _prompts(text: str | None) -> list[str] | str | None:
    if text != "all":
        return text
    from moee_topics.encode import PROMPTS

    # The paper compares its nine prompts, the bare text aside.
    return [name for name in PROMPTS if name != "none"]


def _compare_runs(first: Path, second: Path, output: Path, as_json: bool) -> None:
    from moee_topics.report import write_comparison

    page = output if output.suffix in (".html", ".md") else output / f"{first.name}-{second.name}.html"
    write_comparison(first, second, page)
    if as_json:
        print_json({"page": page})
    else:
        typer.echo(page)


def _check_methods(words: Sequence[str], two_runs: bool, given: Mapping[str, Any]) -> None:
    """Refuses what --methods cannot run: anything but a recipe with a corpus and changes to it."""
    from moee_topics.errors import RecipeError
    from moee_topics.recipe import is_scoring, read_recipe

    expected = "--methods runs a recipe with a corpus, such as: moee-topics compare quickstart --methods all"
    if two_runs:
        raise RecipeError(f"{expected}. Two run folders are compared without it.")
    if not words or "=" in words[0]:
        raise RecipeError(f"{expected}. Got no recipe.")
    if is_scoring(read_recipe(words[0])):
        raise RecipeError(f"{expected}. {words[0]} scores a model; its methods are its key score.methods.")
    options = [key for key, value in given.items() if value is not None]
    if options:
        raise RecipeError(f"{expected}. {options[0]} as an option is for scoring recipes; change the recipe instead.")
    changed = [word for word in words[1:] if word.startswith("fusion.method=")]
    if changed:
        raise RecipeError(f"{changed[0]} and --methods both say which method. Leave one of them out.")


def _compare_methods(
    words: Sequence[str], methods: str, output: Path, store: Path | None, quiet: bool, as_json: bool
) -> None:
    from moee_topics.cli.bars import progress_for
    from moee_topics.recipe import load_recipe
    from moee_topics.report import PAGE, write_methods
    from moee_topics.run import parse_methods, run_methods

    name = Path(words[0]).stem
    folders = {method: output / f"{name}-{method}" for method in parse_methods(methods)}
    run_methods(load_recipe(words[0], words[1:]), folders, store or output / "store", progress=progress_for(quiet))
    pages = output / f"{name}-methods"
    found = write_methods(folders, pages, name=name)
    if as_json:
        print_json({"page": pages / PAGE, **found.to_json()})
        return
    for table in _method_tables(found):
        print_table(table)
    typer.echo(f"Page: {pages / PAGE}")


def _method_tables(found: MethodsComparison) -> list[Table]:
    from moee_topics.mteb import Table

    methods = list(found.runs)
    better = {None: "", True: "higher", False: "lower"}
    rows = [[row.name, better[row.higher_is_better], *row.shown()] for row in found.rows]
    best = [None if row.best is None else row.best + 2 for row in found.rows]
    counts = [str(len(run.topics)) for run in found.runs.values()]
    ami = [[m, n, *(f"{value:.2f}" for value in line)] for m, n, line in zip(methods, counts, found.ami, strict=True)]
    return [
        Table("Topics and scores of each method", ["measure", "better", *methods], rows, best),
        Table("Agreement of every two methods (AMI)", ["method", "topics", *methods], ami),
    ]


def _compare_views(recipe: ScoreRecipe, output: Path, store: Path | None, quiet: bool, as_json: bool) -> None:
    from moee_topics.cli.bars import progress_for
    from moee_topics.mteb import STORE, embedders_of
    from moee_topics.mteb import compare as compare_views

    embedder_for = embedders_of(recipe, store or output / STORE)
    found = compare_views(recipe, output, embedder_for, progress=progress_for(quiet))
    if as_json:
        print_json(found.data)
        return
    for table in found.tables:
        print_table(table)
    typer.echo(f"Page: {output / 'comparison.html'}")


def reference_options(use_4bit: bool, emb_info: str | None, ensemble: bool) -> dict[str, str]:
    """What the reference implementation's flags come to: 4 bits are nf4, MoEE is concat, an ensemble is the sum."""
    names = {"HS": "HS", "RW": "RW", "MoEE": "concat"}
    found = {"quantize": "nf4"} if use_4bit else {}
    if ensemble:
        found["methods"] = "sum"
    elif emb_info:
        found["methods"] = names[emb_info]
    return found


def local_option(text: str) -> dict[str, Any]:
    """A task section from ``[TYPE=]FILE[,key=value...]``; other keys than a section's name columns.

    Raises:
        RecipeError: a part is not key=value.
    """
    from moee_topics.errors import RecipeError
    from moee_topics.mteb import LocalSection

    first, *rest = text.split(",")
    kind, equals, file = first.partition("=")
    section: dict[str, Any] = {"file": str(Path(file if equals else first).absolute())}
    if equals:
        section["type"] = kind
    for part in rest:
        key, equals, value = part.partition("=")
        if not equals:
            raise RecipeError(f"{part!r} in --local {text!r} is not key=value.")
        if key == "text":
            section[key] = value.split("+")
        elif key == "train":
            section[key] = str(Path(value).absolute())
        elif key in LocalSection.model_fields:
            section[key] = int(value) if value.isdigit() and key != "name" else value
        else:
            section.setdefault("columns", {})[key] = value
    return section


def open_recipe(name: str | None, overrides: Sequence[str], given: Mapping[str, Any]) -> ScoreRecipe:
    """A recipe with options laid over it, and overrides over both; without a recipe, one made of options."""
    import yaml

    from moee_topics.mteb import load_score_recipe, parse_score_recipe

    # A first argument that is an override belongs to no recipe.
    if name is not None and "=" in name and not Path(name).exists():
        return open_recipe(None, [name, *overrides], given)
    laid = [f"{key}={yaml.safe_dump(value, default_flow_style=True).strip().removesuffix('...')}"
            for key, value in given.items() if value is not None]  # fmt: skip
    if name is None:
        return parse_score_recipe({"score": {}}, [*laid, *overrides], name="options")
    return load_score_recipe(name, [*laid, *overrides])


def _score(recipe: ScoreRecipe, output: Path, store: Path | None, quiet: bool, as_json: bool) -> None:
    from moee_topics.cli.bars import progress_for
    from moee_topics.mteb import score as score_recipe
    from moee_topics.mteb import write

    board = score_recipe(recipe, output, store=store, progress=progress_for(quiet))
    found = write(board, recipe, output)
    if as_json:
        print_json(found.data)
        return
    for table in found.tables:
        print_table(table)
    typer.echo(f"Page: {output / 'scores.html'}")


def _estimate(recipe: ScoreRecipe, as_json: bool) -> None:
    from moee_topics.mteb import bytes_per_text, estimate_table, estimate_tasks, estimates_to_json

    found = estimate_tasks(recipe.sources(), bytes_per_text(recipe))
    if as_json:
        print_json(estimates_to_json(found))
    else:
        print_table(estimate_table(found))


def print_table(table: Table) -> None:
    """A table on stdout: drawn in a terminal, Markdown elsewhere."""
    if sys.stdout.isatty():
        _draw(table)
        return
    from moee_topics.mteb import to_markdown

    typer.echo(to_markdown(table))


def _draw(table: Table) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(title=Text(table.title))
    for i, header in enumerate(table.headers):
        drawn.add_column(Text(header), justify="left" if i < 2 else "right", overflow="fold")
    best = table.best or [None] * len(table.rows)
    for row, top in zip(table.rows, best, strict=True):
        drawn.add_row(*(Text(cell, style="bold" if i == top else "") for i, cell in enumerate(row)))
    console = Console(highlight=False)
    console.print(drawn)
    for note in table.notes:
        console.print(Text(f"- {note}"))
