"""Scores vectors on tasks: encode once, evaluate each fusion with mteb, keep mteb's own result files.

Results are in mteb's layout below the output folder, so mteb's tools read them, a run that was stopped goes on where it
was, and a run that is repeated computes nothing.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from moee_topics.defaults import STORE_NAME
from moee_topics.embed import Embedder
from moee_topics.encode import EncoderSource, get_prompt
from moee_topics.errors import InputError, import_extra
from moee_topics.fuse import AlphaChoice, BatchFusion, Fusion, grid_search_alpha, grid_search_alpha_pairs
from moee_topics.messages import counted
from moee_topics.mteb.board import Board, Scores, TaskScores
from moee_topics.mteb.board_columns import ChosenAlphas, Column, columns_of
from moee_topics.mteb.fusion_encoder import AnyFusion, MTEBEncoder, model_meta
from moee_topics.mteb.results import Results
from moee_topics.mteb.score_recipe import ScoreRecipe
from moee_topics.mteb.tasks import (
    TaskSource,
    VersionedTask,
    clustering_rows,
    local_task,
    pair_rows,
    texts_of,
    without_retries,
)
from moee_topics.progress import Progress, resumable
from moee_topics.store import make_folder

REFERENCE_NOTE = (
    "Columns marked batch-z standardize each batch with its own mean and deviation, as the code published with the "
    "paper does. A vector then depends on its neighbours, on the batch size and on the order; use them to compare with "
    "published numbers and for nothing else."
)
V_MEASURE_NOTE = (
    "V-measure is mteb's own and grows with the number of clusters. AMI and ARI are of one k-means on the different "
    "documents and corrected for chance. In brackets: the same with shuffled labels, where there is nothing to find."
)
Z_NOTE = "What is marked z or +words is standardized or weighed once, with the statistics of {statistics}."
SUMMEVAL_NOTE = (
    "The task SummEval averages correlations with their p-values (mteb issue 1156); SummEvalSummarization.v2 does not."
)
LEFT_OUT_NOTE = "Not scored, for want of a text or a label, or of a second kind of candidate to rank: {counts}."
AUTO_NOTE = "alpha was chosen {how}. {chosen}."


def score(
    recipe: ScoreRecipe,
    output: Path,
    *,
    store: Path | None = None,
    progress: Progress | None = None,
    embedder: Embedder | None = None,
) -> Board:
    """Scores a recipe's vectors on its tasks; mteb's own result files are below ``output/results``.

    Args:
        recipe: encoder, tasks and vectors.
        output: folder for results.
        store: root folder of the embeddings; ``output/store`` unless told.
        progress: is told how far the work is.
        embedder: where embeddings come from, instead of the recipe's encoder.

    Raises:
        InputError: a task, a file or its data cannot be had.
        ModelError: the model cannot be loaded.
        Interrupted: stopped by the user; run it again to go on.
    """
    progress = progress or Progress()
    root = store or output / STORE_NAME
    make_folder(output)
    with resumable("Finished tasks and encoded texts are kept: run the same command again to go on."):
        run = ScoringRun(recipe, output, embedder or embedder_of(recipe, root), progress)
        return run.board(recipe.sources())


def embedder_of(recipe: ScoreRecipe, root: Path) -> Embedder:
    """The stored embeddings of a recipe's encoder; weights are loaded when a text is missing, not before."""
    encoder = EncoderSource(recipe.encoder)
    return Embedder(encoder, root, key=encoder.stored_key(root))


def embedders_of(recipe: ScoreRecipe, root: Path) -> Callable[[str], Embedder]:
    """Stored embeddings under any prompt; the weights are loaded once for all of them."""
    base = EncoderSource(replace(recipe.encoder, prompt="none", prompts=None))
    base.keep_to(root)

    def embedder(prompt: str) -> Embedder:
        template = get_prompt(prompt).template
        encoder = EncoderSource(replace(base.settings, prompt=prompt, prompts=None))
        key = encoder.stored_key(root) or {**base.key(), "prompt": template}
        return Embedder(lambda: base().with_prompt(template), root, key=key)

    return embedder


def bytes_per_text(recipe: ScoreRecipe) -> int:
    """What the store keeps of one text, from the model's configuration alone.

    Raises:
        ModelError: there is no such model.
    """
    return EncoderSource(recipe.encoder).bytes_per_document


class ScoringRun:
    """The columns of a recipe, task by task: read what was scored before, compute and keep the rest."""

    def __init__(self, recipe: ScoreRecipe, output: Path, embedder: Embedder, progress: Progress) -> None:
        self.section, self.embedder, self.progress = recipe.score, embedder, progress
        self.columns = columns_of(recipe)
        uses = {
            "development": ("score.alpha=auto", any(column.chooses_alpha for column in self.columns)),
            "statistics": ("score.standardize=both or score.lexical", any(column.learns for column in self.columns)),
        }
        for key, (needed, is_used) in uses.items():
            if getattr(self.section, key) is not None and not is_used:
                raise InputError(f"score.{key} would do nothing: it is for {needed}. Set that, or leave it out.")
        if uses["development"][1] and self.section.development is None:
            raise InputError(
                "score.alpha=auto needs score.development, a labelled file to choose by. Without labels a small fixed "
                "alpha is better than any choice: set score.alpha=0.25, or several numbers to compare them."
            )
        in_batches = any(isinstance(column.fusion, BatchFusion) for column in self.columns)
        idle = {
            "prompts is for compare, and each text goes through encoder.prompt": bool(self.section.prompts),
            "batch_size is for score.standardize=reference": (
                "batch_size" in self.section.model_fields_set and not in_batches
            ),
        }
        # Told and not refused: one recipe is for score and compare, and eval_mteb.py is always given a batch size.
        for what in [what for what, holds in idle.items() if holds]:
            progress.note(f"score.{what}: here it does nothing.")
        self.results = Results(output)
        self.alphas = ChosenAlphas(output / "alphas.json")
        file = self.section.development
        self.development = VersionedTask.of(local_task(recipe.locate(file))) if file else None
        embedder.progress = progress

    def board(self, sources: Sequence[TaskSource]) -> Board:
        """The scores of all tasks.

        Raises:
            InputError: a task cannot be scored and the recipe does not skip such ones, or none can.
        """
        tasks, skipped = [], {}
        for source in sources:
            try:
                tasks.append(self.score(VersionedTask.of(source)))
            except InputError as error:
                if not self.section.skip_missing:
                    raise
                skipped[source.name] = str(error)
                self.progress.note(f"Left out: {error}")
        if not tasks:
            raise InputError("No task could be scored: " + " ".join(skipped.values()))
        labels = [column.label for column in self.columns]
        return Board(dict(self.embedder.key), labels, tasks, self.notes(tasks), skipped)

    def score(self, task: VersionedTask) -> TaskScores:
        """The scores of every column on one task."""
        source = task.source
        scores = {column.label: self.scored_before(task, column) for column in self.columns}
        missing = [column for column in self.columns if scores[column.label] is None]
        if missing:
            scores |= self.evaluate(task, missing)
        else:
            self.progress.skip(task.name, "scored before")
        alphas = {column.label: self.chosen_alpha(task, column) for column in self.columns}
        return TaskScores(
            name=task.name,
            type=source.type,
            main_score=source.main_score,
            revision=task.revision,
            scores={label: numbers for label, numbers in scores.items() if numbers is not None},
            alphas={label: alpha for label, alpha in alphas.items() if alpha is not None},
            local=source.local,
            left_out=source.left_out,
        )

    def scored_before(self, task: VersionedTask, column: Column) -> Scores | None:
        """What an earlier run computed from the same vectors on the same data."""
        alpha = self.chosen_alpha(task, column)
        if column.chooses_alpha and alpha is None:
            return None
        meta = model_meta(self.embedder.key, column.with_alpha(alpha), column.statistics_name)
        return self.results.load(task, meta)

    def evaluate(self, task: VersionedTask, columns: Sequence[Column]) -> dict[str, Scores]:
        """Encodes the texts of a task once and evaluates each column with mteb."""
        started = time.perf_counter()
        self.progress.begin(task.name, task.source.type)
        with _quiet():
            # All texts at once: the encoder fills its packs better than with mteb's batches of 64.
            texts = texts_of(task.source)
        encoded = self.embedder.ensure_texts(texts)
        scores = {}
        for done, column in enumerate(columns):
            self.progress.advance(done, len(columns), "vectors")
            if column.chooses_alpha and self.chosen_alpha(task, column) is None:
                self.alphas.remember(self.alpha_key(task, column), self.choose_alpha(column).alpha)
            fusion = column.fit(column.with_alpha(self.chosen_alpha(task, column)), self.embedder, texts)
            encoder = MTEBEncoder(self.embedder, fusion, statistics=column.statistics_name)
            with _quiet(), without_retries(task.source):
                import_extra("mteb", "mteb").evaluate(
                    encoder,
                    task.source.make(),
                    cache=self.results.cache,
                    overwrite_strategy="always",
                    encode_kwargs={"batch_size": column.batch_size, "show_progress_bar": False},
                    co2_tracker=False,
                    show_progress_bar=False,
                )
            scores[column.label] = self.results.read_back(task, encoder.mteb_model_meta)
        outcome = f"{len(texts):,} texts, {encoded:,} encoded now"
        self.progress.end(task.name, time.perf_counter() - started, outcome)
        return scores

    def chosen_alpha(self, task: VersionedTask, column: Column) -> float | None:
        """The alpha that was chosen for a column on a task; None where none was, or none is to be."""
        return self.alphas.get(self.alpha_key(task, column)) if column.chooses_alpha else None

    def alpha_key(self, task: VersionedTask, column: Column) -> str:
        """Names what an alpha was chosen for: the data, the vectors and the development file."""
        meta = model_meta(self.embedder.key, column.fusion, column.statistics_name)
        key = f"{task.name} {task.revision} {meta.name} {meta.revision} {meta.experiment_name}"
        return key if self.development is None else f"{key} development {self.development.revision}"

    def choose_alpha(self, column: Column) -> AlphaChoice:
        """The alpha of a column by the labels of the development file."""
        assert self.development is not None
        source = self.development.source
        if source.type == "STS":
            first, second, gold = pair_rows(source)
            fusion = column.fit(column.fusion, self.embedder, list(dict.fromkeys([*first, *second])))
            pairs = self.embedder.embed(first), self.embedder.embed(second)
            return grid_search_alpha_pairs(*pairs, gold, fusion=_weighing(fusion))
        if source.type == "Clustering":
            texts, labels = clustering_rows(source)
            fusion = column.fit(column.fusion, self.embedder, texts)
            return grid_search_alpha(self.embedder.embed(texts), labels, metric="ami", fusion=_weighing(fusion))
        raise InputError(f"A development file is for Clustering or STS, and this one is for {source.type}.")

    def notes(self, tasks: Sequence[TaskScores]) -> list[str]:
        """What a reader of these numbers must know."""
        how = "" if self.development is None else f"on the development file {self.development.name}"
        chosen = [f"{task.name}: {label} {alpha:g}" for task in tasks for label, alpha in task.alphas.items()]
        left_out = [
            f"{counted(task.left_out, 'row or candidate', 'rows or candidates')} of {task.name}"
            for task in tasks
            if task.left_out
        ]
        # One for all: the columns of a recipe share their statistics.
        statistics = self.columns[0].statistics.description
        notes = {
            V_MEASURE_NOTE: any(task.type == "Clustering" for task in tasks),
            SUMMEVAL_NOTE: any(task.name == "SummEval" and not task.local for task in tasks),
            Z_NOTE.format(statistics=statistics): any(column.learns for column in self.columns),
            REFERENCE_NOTE: any(isinstance(column.fusion, BatchFusion) for column in self.columns),
            LEFT_OUT_NOTE.format(counts="; ".join(left_out)): bool(left_out),
            AUTO_NOTE.format(how=how, chosen="; ".join(chosen)): bool(chosen),
        }
        return [note for note, applies in notes.items() if applies]


def _weighing(fusion: AnyFusion) -> Fusion:
    assert isinstance(fusion, Fusion)  # BatchFusion weighs nothing, so no column of it chooses an alpha
    return fusion


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without bars, and without warnings about old task versions, which are on purpose, and labels never predicted."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    disabled = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if not disabled:
            enable_progress_bars()
