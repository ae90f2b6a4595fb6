"""``moee-topics score`` and ``compare``."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from moee_topics.cli.options import STORE_VARIABLE, Manner, Store, command
from moee_topics.cli.score_arguments import ScoreArguments, read_arguments
from moee_topics.cli.stdout import show_tables
from moee_topics.defaults import RUNS, STORE_NAME, VIEWS_SAMPLE

if TYPE_CHECKING:
    from moee_topics.mteb import ScoreRecipe
    from moee_topics.report import MethodsComparison, TextTable

COMPARISON = RUNS / "comparison"
KEY = "fusion.method="
VIEWS = "views"
"""The first word where the views of one pass are compared."""


class Result(NamedTuple):
    """What a comparison found: its JSON, its tables and its page."""

    data: Any
    tables: Sequence[TextTable]
    page: Path


@command(
    "moee-topics score score-local score.data=FOLDER",
    "moee-topics score score.tasks=STS12,BIOSSES encoder.model=pocket",
    "moee-topics score score.local=posts.csv,label=group score.methods=HS,sum",
    "moee-topics score score.local=new.csv score.development=old.csv \\",
    "    score.alpha=auto",
    "moee-topics score --base_model allenai/OLMoE-1B-7B-0924 --use_4bit \\",
    "    --task_types STS --emb_info MoEE --embed_method prompteol",
    any_option=True,
)
def score(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            help="A scoring recipe (recipes ls) and changes to it, or changes alone.", metavar="RECIPE|KEY=VALUE"
        ),
    ] = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the results.")] = RUNS / "scores",
    store: Store = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count texts and tokens, and do nothing.")] = False,
    manner: Manner,
) -> None:
    """Score embeddings on MTEB tasks or on labelled files of your own.

    What is scored already is not scored again. The flags of eval_mteb.py, the paper's own script, are understood.
    """
    # mteb and datasets would draw bars of their own into our progress.
    os.environ.setdefault("TQDM_DISABLE", "1")
    recipe = score_recipe(read_arguments(arguments or []))
    if dry_run:
        from moee_topics.mteb import bytes_per_text, estimate_table, estimate_tasks, estimates_to_json

        counts = estimate_tasks(recipe.sources(), bytes_per_text(recipe))
        show_tables(estimates_to_json(counts), [estimate_table(counts)], None, as_json=manner.as_json)
        return
    from moee_topics.mteb import score as score_vectors
    from moee_topics.mteb import write

    written = write(score_vectors(recipe, output, store=store, progress=manner.progress), recipe, output)
    show_tables(written.data, written.tables, written.page, as_json=manner.as_json)


@command(
    "moee-topics compare runs/monday runs/tuesday",
    "moee-topics compare quickstart",
    "moee-topics compare quickstart fusion.method=concat,weighted_sum",
    "moee-topics compare score.local=posts.csv score.prompts=all",
    "moee-topics compare views quickstart corpus.source=posts.csv",
    any_option=True,
)
def compare(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="What to compare, as said above.", metavar="RUN|RECIPE|KEY=VALUE"),
    ] = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the results [default: runs/comparison; runs for a corpus]."),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", min=20, help=f"Documents whose views are compared [default: {VIEWS_SAMPLE:,}]."),
    ] = None,
    draws: Annotated[
        int | None, typer.Option("--draws", min=1, help="Such samples, compared each by itself [default: 1].")
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option("--also", help="A change of the encoder whose views are compared too; once or more."),
    ] = None,
    random_model: Annotated[
        bool, typer.Option("--random-model", help="A model of the same shape and untrained as a control.")
    ] = False,
    store: Store = None,
    manner: Manner,
) -> None:
    """Set runs, fusions, or views of a model side by side.

    \b
    RUN RUN       two finished runs: topics, scores, documents that moved
    RECIPE        of a corpus: a run for each fusion, off the same store;
                  fusion.method=A,B for some alone
    RECIPE        that scores: hidden states and routing on its tasks, with
                  each prompt of score.prompts
    views RECIPE  of a corpus: layers, poolings and routers of one pass;
                  each --also, and --random-model, is another pass
    """
    os.environ.setdefault("TQDM_DISABLE", "1")
    from moee_topics.errors import RecipeError
    from moee_topics.recipe import is_scoring, read_recipe
    from moee_topics.run_folder import RunFolder

    words = arguments or []
    given = {"sample": sample, "draws": draws, "also": also, "random_model": random_model}
    asked = {name: value for name, value in given.items() if value}
    if asked and words[:1] != [VIEWS]:
        flag = "--" + next(iter(asked)).replace("_", "-")
        raise RecipeError(f"{flag} is for `compare views`; for fewer documents use corpus.limit=N.")
    # A folder with a manifest is a run; without one the name is that of a recipe.
    folders = [Path(word) for word in words if RunFolder.manifest.path(RunFolder(word)).is_file()]
    if len(folders) == len(words) == 2:
        # The variable of the environment is of every command; what is typed is meant.
        if store is not None and str(store) != os.environ.get(STORE_VARIABLE):
            raise RecipeError("--store is not for two finished runs: what they hold is in their folders. Leave it out.")
        result = two_runs(folders[0], folders[1], output or COMPARISON)
    elif words[:1] == [VIEWS]:
        result = views_of_a_corpus(words[1:], output or COMPARISON, store, asked, manner)
    else:
        chosen = read_arguments(words)
        has_corpus = chosen.recipe is not None and not is_scoring(read_recipe(chosen.recipe))
        compared = methods_of_a_corpus if has_corpus else blocks_of_tasks
        result = compared(chosen, output, store, manner)
    show_tables(result.data, result.tables, result.page, as_json=manner.as_json)


def score_recipe(arguments: ScoreArguments) -> ScoreRecipe:
    """The scoring recipe of some arguments; without a recipe one of keys alone."""
    from moee_topics.mteb import load_score_recipe, parse_score_recipe

    if arguments.recipe is None:
        return parse_score_recipe({"score": {}}, arguments.overrides, name="these keys")
    return load_score_recipe(arguments.recipe, arguments.overrides)


def two_runs(first: Path, second: Path, output: Path) -> Result:
    """The page of two runs, in a folder or under a name of its own."""
    from moee_topics.report import write_comparison

    # A file or a folder: its ending tells.
    page = output if output.suffix in (".html", ".md") else output / f"{first.name}-{second.name}.html"
    write_comparison(first, second, page)
    return Result({"page": page}, [], page)


def methods_of_a_corpus(arguments: ScoreArguments, output: Path | None, store: Path | None, manner: Manner) -> Result:
    """One corpus by several methods of fusion: a run folder for each, and a page of all."""
    from moee_topics.recipe import load_recipe
    from moee_topics.report import PAGE, write_methods
    from moee_topics.run import parse_methods, run_methods

    output, name = output or RUNS, Path(str(arguments.recipe)).stem
    methods = [word.removeprefix(KEY) for word in arguments.overrides if word.startswith(KEY)]
    recipe = load_recipe(str(arguments.recipe), [word for word in arguments.overrides if not word.startswith(KEY)])
    # If a key comes twice, the last value holds, as everywhere.
    folders = {method: output / f"{name}-{method}" for method in parse_methods(methods[-1] if methods else "all")}
    run_methods(recipe, folders, store, progress=manner.progress)
    page = output / f"{name}-methods" / PAGE
    comparison = write_methods(folders, page.parent, name=name)
    return Result({"page": page, **comparison.to_json()}, method_tables(comparison), page)


def method_tables(comparison: MethodsComparison) -> list[TextTable]:
    """Topics and scores of each method, and how far every two agree."""
    from moee_topics.report import TextTable

    methods = list(comparison.runs)
    better = {None: "", True: "higher", False: "lower"}
    rows = [[row.name, better[row.higher_is_better], *row.shown()] for row in comparison.rows]
    best = [None if row.best is None else row.best + 2 for row in comparison.rows]
    agreement = [
        [method, str(len(run.ranked_topics)), *(f"{value:.2f}" for value in line)]
        for (method, run), line in zip(comparison.runs.items(), comparison.ami, strict=True)
    ]
    return [
        TextTable("Topics and scores of each method", ["measure", "better", *methods], rows, best),
        TextTable("Agreement of every two methods (AMI)", ["method", "topics", *methods], agreement),
    ]


def views_of_a_corpus(
    words: list[str], output: Path, store: Path | None, asked: Mapping[str, Any], manner: Manner
) -> Result:
    """The views of one pass, and of others that are asked for, on a sample of a corpus."""
    from moee_topics.errors import RecipeError
    from moee_topics.mteb import compare_views, write_views
    from moee_topics.recipe import load_recipe

    arguments = read_arguments(words)
    if arguments.recipe is None:
        raise RecipeError("compare views needs a recipe of a corpus, such as: moee-topics compare views quickstart")
    recipe = load_recipe(arguments.recipe, arguments.overrides)
    # As a shell would cut it: one change may have several keys.
    also = [shlex.split(change) for change in asked.get("also", ())]
    compared = compare_views(recipe, store or output / STORE_NAME, **{**asked, "also": also}, progress=manner.progress)
    written = write_views(compared, output)
    return Result(written.data, written.tables, written.page)


def blocks_of_tasks(arguments: ScoreArguments, output: Path | None, store: Path | None, manner: Manner) -> Result:
    """Hidden states beside routing weights on the tasks of a scoring recipe."""
    from moee_topics.mteb import compare as compare_blocks
    from moee_topics.mteb import embedders_of

    recipe, output = score_recipe(arguments), output or COMPARISON
    comparison = compare_blocks(
        recipe, output, embedders_of(recipe, store or output / STORE_NAME), progress=manner.progress
    )
    return Result(comparison.data, comparison.tables, comparison.page)
