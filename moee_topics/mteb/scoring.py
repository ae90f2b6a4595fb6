"""Scores vectors on tasks: encode once, evaluate each fusion with mteb, keep mteb's own result files.

Results are in mteb's layout below the output folder, so mteb's tools read them, a run that was stopped goes on where it
was, and a run that is repeated computes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from moee_topics.embed import Embedder
from moee_topics.encode import EncoderSource, get_prompt
from moee_topics.errors import InputError, import_extra
from moee_topics.fuse import AlphaChoice, BatchFusion, Fusion, choose_alpha, grid_search_alpha, grid_search_alpha_pairs
from moee_topics.mteb.board import Board, Scores, TaskScores
from moee_topics.mteb.protocol import AnyFusion, MTEBEncoder, model_meta
from moee_topics.mteb.score_recipe import AUTO, ScoreRecipe
from moee_topics.mteb.tasks import SHUFFLED, TaskSource, clustering_rows, local_task, pair_rows, texts_of
from moee_topics.progress import Progress, resumable
from moee_topics.store import make_folder, read_json, write_json

STORE = "store"
CHOICE_SAMPLE = 2000
REFERENCE_NOTE = (
    "Columns marked batch-z standardize each batch with its own mean and deviation, as the code published with the "
    "paper does. A vector then depends on its neighbours, on the batch size and on the order; use them to compare with "
    "published numbers and for nothing else."
)
V_MEASURE_NOTE = (
    "V-measure is mteb's own and grows with the number of clusters. AMI and ARI are of one k-means on the different "
    "documents and corrected for chance. In brackets: the same with shuffled labels, where there is nothing to find."
)
Z_NOTE = "Columns marked z are standardized once, with the statistics of {statistics}."
SUMMEVAL_NOTE = (
    "The task SummEval averages correlations with their p-values (mteb issue 1156); SummEvalSummarization.v2 does not."
)
AUTO_NOTE = "alpha was chosen {how}. {chosen}."
WITHOUT_LABELS = "for each task without labels, by shared neighbours (see moee_topics.fuse.alpha)"


@dataclass(frozen=True)
class Column:
    """A column of the board: a fusion, and whether its alpha is chosen for each task."""

    fusion: AnyFusion
    choose: bool = False

    @property
    def label(self) -> str:
        """What heads the column."""
        if isinstance(self.fusion, Fusion) and self.choose:
            return self.fusion.label.replace(f"sum {self.fusion.alpha:g}", "sum auto")
        return self.fusion.label


def columns_of(recipe: ScoreRecipe) -> list[Column]:
    """The columns that a recipe asks for."""
    auto = recipe.score.alpha == AUTO
    return [Column(fusion, auto and fusion.method == "weighted_sum") for fusion in recipe.fusions()]


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
        progress: hears how far it is.
        embedder: where embeddings come from, instead of the recipe's encoder.

    Raises:
        InputError: a task, a file or its data cannot be had.
        ModelError: the model cannot be loaded.
        Interrupted: stopped by the user; run it again to go on.
    """
    progress = progress or Progress()
    root = store or output / STORE
    make_folder(output)
    with resumable("Finished tasks and encoded texts are kept: run the same command again to go on."):
        run = _Run(recipe, output, embedder or embedder_of(recipe, root), progress)
        return run.board(recipe.sources())


def embedder_of(recipe: ScoreRecipe, root: Path) -> Embedder:
    """The stored embeddings of a recipe's encoder; weights are loaded when a text is missing, not before."""
    source = EncoderSource(recipe.encoder)
    return Embedder(source, root, key=source.stored_key(root))


def embedders_of(recipe: ScoreRecipe, root: Path) -> Callable[[str], Embedder]:
    """Stored embeddings under any prompt; the weights are loaded once for all of them."""
    base = EncoderSource(recipe.encoder)

    def embedder(prompt: str) -> Embedder:
        template = get_prompt(prompt).template
        source = EncoderSource(replace(recipe.encoder, prompt=prompt))
        key = source.stored_key(root) or {**base.key(), "prompt": template}
        return Embedder(lambda: base().with_prompt(template), root, key=key)

    return embedder


def bytes_per_text(recipe: ScoreRecipe) -> int:
    """What the store keeps of one text, from the model's configuration alone.

    Raises:
        ModelError: there is no such model.
    """
    return EncoderSource(recipe.encoder).bytes_per_document


@dataclass(frozen=True)
class _Job:
    """A task and the version of its data."""

    source: TaskSource
    revision: str

    @classmethod
    def of(cls, source: TaskSource) -> _Job:
        return cls(source, str(source.make().metadata.revision))


class _Run:
    """One scoring run: the columns of a recipe, task by task."""

    def __init__(self, recipe: ScoreRecipe, output: Path, embedder: Embedder, progress: Progress) -> None:
        self.section, self.embedder, self.progress = recipe.score, embedder, progress
        self.columns = columns_of(recipe)
        self.cache = import_extra("mteb", "mteb").ResultCache(output)
        self.choices = _Choices(output / "alphas.json")
        development = self.section.development
        self.development = _Job.of(local_task(recipe.placed(development))) if development else None
        self.statistics = _Statistics(self.section.statistics, self.section.batch_size, embedder)
        embedder.progress = progress

    def board(self, sources: Sequence[TaskSource]) -> Board:
        tasks, skipped = [], {}
        for source in sources:
            try:
                tasks.append(self._task(_Job.of(source)))
            except InputError as error:
                if not self.section.skip_missing:
                    raise
                skipped[source.name] = str(error)
                self.progress.note(f"Left out: {error}")
        if not tasks:
            raise InputError("No task could be scored: " + " ".join(skipped.values()))
        labels = [column.label for column in self.columns]
        how = f"on the development file {self.development.source.name}" if self.development else WITHOUT_LABELS
        notes = _notes(self.columns, tasks, self.statistics.words, how)
        return Board(dict(self.embedder.key), labels, tasks, notes, skipped)

    def _task(self, job: _Job) -> TaskScores:
        stored = {column.label: self._cached(job, column) for column in self.columns}
        missing = [column for column in self.columns if stored[column.label] is None]
        if not missing:
            self.progress.skip(job.source.name, "scored before")
        computed = self._evaluate(job, missing) if missing else {}
        source = job.source
        return TaskScores(
            name=source.name,
            type=source.type,
            main_score=source.main_score,
            revision=job.revision,
            scores={label: computed[label] if scores is None else scores for label, scores in stored.items()},
            alphas={column.label: self.choices.of(self._key(job, column)) for column in self.columns if column.choose},
            local=source.local,
            left_out=source.left_out,
        )

    def _cached(self, job: _Job, column: Column) -> Scores | None:
        """What an earlier run found with the same vectors on the same data."""
        if column.choose and self._key(job, column) not in self.choices:
            return None
        result = self.cache.load_task_result(job.source.name, self._meta(self._with_alpha(job, column)))
        # mteb takes a complete result for valid even if the data has changed since.
        if result is None or result.dataset_revision != job.revision:
            return None
        scores = scores_of(result)
        # Clusterings without the control were scored by version 0.1.0, whose AMI and ARI were not corrected.
        is_old = job.source.type == "Clustering" and f"v_measure{SHUFFLED}" not in scores
        return None if is_old else scores

    def _evaluate(self, job: _Job, columns: Sequence[Column]) -> dict[str, Scores]:
        name, started = job.source.name, time.perf_counter()
        self.progress.begin(name, job.source.type)
        with _quiet():
            texts = texts_of(job.source)
        encoded = self.embedder.ensure_texts(texts)
        found = {}
        for done, column in enumerate(columns):
            self.progress.advance(done, len(columns), "vectors")
            found[column.label] = self._run(job, self._fixed(job, column, texts), texts)
        outcome = f"{len(texts):,} texts, {encoded:,} encoded now"
        self.progress.end(name, time.perf_counter() - started, outcome)
        return found

    def _run(self, job: _Job, fusion: AnyFusion, texts: Sequence[str]) -> Scores:
        name = self.statistics.name(fusion)
        if isinstance(fusion, Fusion):
            fusion = self.statistics.fit(fusion, texts)
        encoder = MTEBEncoder(self.embedder, fusion, statistics=name)
        options = {"batch_size": self.section.batch_size, "show_progress_bar": False}
        with _quiet():
            import_extra("mteb", "mteb").evaluate(
                encoder,
                job.source.make(),
                cache=self.cache,
                overwrite_strategy="always",
                encode_kwargs=options,
                co2_tracker=False,
                show_progress_bar=False,
            )
        # Read back, because mteb rounds what it writes: a run that was resumed must give the same numbers.
        meta = encoder.mteb_model_meta
        return scores_of(self.cache.load_task_result(job.source.name, meta, raise_if_not_found=True))

    def _fixed(self, job: _Job, column: Column, texts: Sequence[str]) -> AnyFusion:
        """The column's fusion with its alpha, chosen now if it was not before."""
        if column.choose and self._key(job, column) not in self.choices:
            self.choices.remember(self._key(job, column), self._choose(column.fusion, texts).alpha)
        return self._with_alpha(job, column)

    def _with_alpha(self, job: _Job, column: Column) -> AnyFusion:
        if not (column.choose and isinstance(column.fusion, Fusion)):
            return column.fusion
        return column.fusion.with_alpha(self.choices.of(self._key(job, column)))

    def _choose(self, fusion: AnyFusion, texts: Sequence[str]) -> AlphaChoice:
        assert isinstance(fusion, Fusion)  # columns choose an alpha for sums only
        if self.development is not None:
            return self._search(fusion, self.development.source)
        rows = np.random.default_rng(0).permutation(len(texts))[:CHOICE_SAMPLE]
        sample = self.embedder.embed([texts[i] for i in sorted(rows)])
        return choose_alpha(sample, fusion=self.statistics.fit(fusion, texts))

    def _search(self, fusion: Fusion, source: TaskSource) -> AlphaChoice:
        """The best alpha of the grid on a development file with labels or scores."""
        if source.type == "STS":
            first, second, gold = pair_rows(source)
            fitted = self.statistics.fit(fusion, list(dict.fromkeys([*first, *second])))
            return grid_search_alpha_pairs(self.embedder.embed(first), self.embedder.embed(second), gold, fusion=fitted)
        if source.type == "Clustering":
            texts, labels = clustering_rows(source)
            fitted = self.statistics.fit(fusion, texts)
            return grid_search_alpha(self.embedder.embed(texts), labels, metric="ami", fusion=fitted)
        raise InputError(f"A development file is for Clustering or STS, and this one is for {source.type}.")

    def _key(self, job: _Job, column: Column) -> str:
        meta = self._meta(column.fusion)
        key = f"{job.source.name} {job.revision} {meta.name} {meta.revision} {meta.experiment_name}"
        return key if self.development is None else f"{key} development {self.development.revision}"

    def _meta(self, fusion: AnyFusion) -> Any:
        return model_meta(self.embedder.key, fusion, self.statistics.name(fusion))


class _Statistics:
    """What standardizes: the texts of the task, or statistics that were saved."""

    def __init__(self, path: Path | None, batch_size: int, embedder: Embedder) -> None:
        self.batch_size, self.embedder = batch_size, embedder
        self.saved = Fusion.load(path) if path else None
        self.corpus = f"{path.stem}-{_file_digest(path)}" if path else "task"
        self.words = self.corpus if path else "the different texts of the task, labels unseen"

    def name(self, fusion: AnyFusion) -> str:
        """Names the statistics in the folder of a result."""
        return f"batches-of-{self.batch_size}" if isinstance(fusion, BatchFusion) else self.corpus

    def fit(self, fusion: Fusion, texts: Sequence[str]) -> Fusion:
        if fusion.standardize == "none":
            return fusion
        return fusion.fitted_like(self.saved) if self.saved else fusion.fit(self.embedder.blocks(texts))


def _notes(columns: Sequence[Column], tasks: Sequence[TaskScores], statistics: str, how: str) -> list[str]:
    reference = any(isinstance(column.fusion, BatchFusion) for column in columns)
    standardized = any(isinstance(c.fusion, Fusion) and c.fusion.standardize != "none" for c in columns)
    chosen = [f"{task.name}: {label} {alpha:g}" for task in tasks for label, alpha in task.alphas.items()]
    every = {
        V_MEASURE_NOTE: any(task.type == "Clustering" for task in tasks),
        SUMMEVAL_NOTE: any(task.name == "SummEval" and not task.local for task in tasks),
        Z_NOTE.format(statistics=statistics): standardized,
        REFERENCE_NOTE: reference,
        AUTO_NOTE.format(how=how, chosen="; ".join(chosen)): bool(chosen),
    }
    return [note for note, wanted in every.items() if wanted]


class _Choices:
    """Alphas that were chosen, kept in a file so that a repeated run chooses nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, float] = {}
        if path.is_file():
            self._known = _read_choices(path)

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def of(self, key: str) -> float:
        return self._known[key]

    def remember(self, key: str, alpha: float) -> None:
        self._known[key] = alpha
        write_json(self.path, dict(sorted(self._known.items())))


def _read_choices(path: Path) -> dict[str, float]:
    mend = "Delete it, and alpha is chosen again."
    try:
        return {key: float(alpha) for key, alpha in read_json(path, kind=dict, mend=mend).items()}
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}). {mend}") from error


def scores_of(result: Any) -> dict[str, float]:
    """The numbers of an mteb result, by name: the mean over its splits and subsets."""
    entries = [entry for split in result.scores.values() for entry in split]
    names = [name for name, value in entries[0].items() if _is_score(value)]
    return {name: float(np.mean([entry[name] for entry in entries])) for name in names}


def _is_score(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _file_digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=4).hexdigest()


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
