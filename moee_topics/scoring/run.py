"""Scores vectors on tasks: encode once, evaluate each variant with mteb, keep mteb's own result files.

Results are in mteb's layout below the output folder, so mteb's tools read them, a run that was stopped goes on where it
was, and a run that is repeated computes nothing.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moee_topics.alpha import choose_alpha
from moee_topics.errors import InputError, import_extra
from moee_topics.fusion import Standardizer
from moee_topics.mteb_encoder import Embedder, MTEBEncoder, Variant, model_meta
from moee_topics.mteb_tasks import TaskSource, texts_of
from moee_topics.pipeline.encoding import EncoderSource, bytes_per_document
from moee_topics.pipeline.progress import Progress, resumable
from moee_topics.prompts import PromptTokenizer, get_prompt
from moee_topics.scoring.board import Board, Scores, TaskScores
from moee_topics.scoring.recipe import AUTO, ScoreRecipe

if TYPE_CHECKING:
    from moee_topics.encoder import MoEEncoder

STORE = "store"
CHOICE_SAMPLE = 2000
REFERENCE_NOTE = (
    "Columns marked batch-z standardize each batch with its own mean and deviation, as the code published with the "
    "paper does. A vector then depends on its neighbours, on the batch size and on the order; use them to compare with "
    "published numbers and for nothing else."
)
V_MEASURE_NOTE = "V-measure grows with the number of clusters; AMI and ARI are corrected for chance."
SUMMEVAL_NOTE = (
    "The task SummEval averages correlations with their p-values (mteb issue 1156); SummEvalSummarization.v2 does not."
)
AUTO_NOTE = "alpha was chosen for each task without labels, by shared neighbours (moee_topics.alpha). {chosen}."


@dataclass(frozen=True)
class Column:
    """A column of the board: a variant, and whether its alpha is chosen for each task."""

    variant: Variant
    choose: bool = False

    @property
    def label(self) -> str:
        """What heads the column."""
        label = self.variant.label
        return label.replace(f"sum {self.variant.alpha:g}", "sum auto") if self.choose else label


def columns_of(recipe: ScoreRecipe) -> list[Column]:
    """The columns that a recipe asks for."""
    auto = recipe.score.alpha == AUTO
    return [Column(variant, auto and variant.method == "weighted_sum") for variant in recipe.variants()]


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


def make_folder(path: Path) -> None:
    """Makes the folder of the results.

    Raises:
        InputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {path} cannot be made: {error.strerror}. Give another one as output.") from error


def embedder_of(recipe: ScoreRecipe, root: Path) -> Embedder:
    """The stored embeddings of a recipe's encoder; weights are loaded when a text is missing, not before."""
    source = EncoderSource(recipe.encoder)
    return Embedder(load=source, key=source.stored_key(root) or source.key(), root=root)


def embedders_of(recipe: ScoreRecipe, root: Path) -> Callable[[str], Embedder]:
    """Stored embeddings under any prompt; the weights are loaded once for all of them."""
    base = EncoderSource(recipe.encoder)

    def load(template: str) -> MoEEncoder:
        encoder = copy.copy(base())
        encoder.spec = replace(encoder.spec, prompt=template)
        encoder.prompted = PromptTokenizer(encoder.tokenizer, get_prompt(template), encoder.spec.max_tokens)
        return encoder

    def embedder(prompt: str) -> Embedder:
        template = get_prompt(prompt).template
        source = EncoderSource(recipe.encoder.model_copy(update={"prompt": prompt}))
        key = source.stored_key(root) or {**base.key(), "prompt": template}
        return Embedder(load=lambda: load(template), key=key, root=root)

    return embedder


def bytes_per_text(recipe: ScoreRecipe) -> int:
    """What the store keeps of one text, from the model's configuration alone.

    Raises:
        ModelError: there is no such model.
    """
    from moee_topics.models.support import describe

    section = recipe.encoder
    card = describe(section.model, revision=section.revision)
    averaged = section.pooling == "mean" or section.long_documents == "chunk"
    return bytes_per_document(card.layers, card.experts, card.hidden_size, averaged=averaged)


class _Run:
    """One scoring run: the columns of a recipe, task by task."""

    def __init__(self, recipe: ScoreRecipe, output: Path, embedder: Embedder, progress: Progress) -> None:
        self.section, self.embedder, self.progress = recipe.score, embedder, progress
        self.columns = columns_of(recipe)
        self.cache = import_extra("mteb", "mteb").ResultCache(output)
        self.choices = _Choices(output / "alphas.json")
        self.statistics = self._saved_statistics()
        embedder.progress = lambda done, total: progress.advance(done, total, "texts")

    def board(self, sources: Sequence[TaskSource]) -> Board:
        tasks, skipped = [], {}
        for source in sources:
            try:
                tasks.append(self._task(source))
            except InputError as error:
                if not self.section.skip_missing:
                    raise
                skipped[source.name] = str(error)
                self.progress.note(f"Left out: {error}")
        if not tasks:
            raise InputError("No task could be scored: " + " ".join(skipped.values()))
        labels = [column.label for column in self.columns]
        return Board(dict(self.embedder.key), labels, tasks, self._notes(tasks), skipped)

    def _task(self, source: TaskSource) -> TaskScores:
        revision = str(source.make().metadata.revision)
        found = {column.label: self._cached(source, column, revision) for column in self.columns}
        if any(scores is None for scores in found.values()):
            found = self._evaluate(source, found, revision)
        else:
            self.progress.skip(source.name, "scored before")
        kept = {label: scores for label, scores in found.items() if scores is not None}
        return TaskScores(
            source.name,
            source.type,
            source.main_score,
            revision,
            kept,
            {column.label: self._alpha(source, column, revision) for column in self.columns if column.choose},
            source.local,
            source.left_out,
        )

    def _alpha(self, source: TaskSource, column: Column, revision: str) -> float:
        return self.choices.known(self._choice_key(source, column, revision)) or 0.0

    def _cached(self, source: TaskSource, column: Column, revision: str) -> Scores | None:
        """What an earlier run found with the same vectors on the same data."""
        variant = column.variant
        if column.choose:
            alpha = self.choices.known(self._choice_key(source, column, revision))
            if alpha is None:
                return None
            variant = replace(variant, alpha=alpha)
        result = self.cache.load_task_result(source.name, self._meta(variant))
        # mteb takes a complete result for valid even if the data has changed since.
        if result is None or result.dataset_revision != revision:
            return None
        return scores_of(result)

    def _evaluate(
        self, source: TaskSource, found: Mapping[str, Scores | None], revision: str
    ) -> dict[str, Scores | None]:
        self.progress.begin(source.name, f"{source.type}")
        with _quiet():
            texts = texts_of(source)
        self.embedder.ensure(texts)
        scores = dict(found)
        missing = [column for column in self.columns if scores[column.label] is None]
        for done, column in enumerate(missing):
            self.progress.advance(done, len(missing), "vectors")
            scores[column.label] = self._run(source, self._fixed(source, column, texts, revision), texts)
        self.progress.advance(len(missing), len(missing), "vectors")
        return scores

    def _run(self, source: TaskSource, variant: Variant, texts: Sequence[str]) -> Scores:
        encoder = MTEBEncoder(
            self.embedder,
            variant,
            standardizer=self._standardizer(variant, texts),
            statistics=self._statistics_name(variant),
        )
        options = {"batch_size": self.section.batch_size, "show_progress_bar": False}
        with _quiet():
            import_extra("mteb", "mteb").evaluate(
                encoder,
                source.make(),
                cache=self.cache,
                overwrite_strategy="always",
                encode_kwargs=options,
                co2_tracker=False,
                show_progress_bar=False,
            )
        # Read back, because mteb rounds what it writes: a run that was resumed must give the same numbers.
        return scores_of(self.cache.load_task_result(source.name, encoder.mteb_model_meta, raise_if_not_found=True))

    def _fixed(self, source: TaskSource, column: Column, texts: Sequence[str], revision: str) -> Variant:
        if not column.choose:
            return column.variant
        key = self._choice_key(source, column, revision)
        alpha = self.choices.known(key)
        if alpha is None:
            rows = np.random.default_rng(0).permutation(len(texts))[:CHOICE_SAMPLE]
            sample = self.embedder.embed([texts[i] for i in sorted(rows)])
            alpha = choose_alpha(sample, standardizer=self._standardizer(column.variant, texts)).alpha
            self.choices.remember(key, alpha)
        return replace(column.variant, alpha=alpha)

    def _choice_key(self, source: TaskSource, column: Column, revision: str) -> str:
        meta = self._meta(column.variant)
        return f"{source.name} {revision} {meta.name} {meta.revision} {meta.experiment_name}"

    def _standardizer(self, variant: Variant, texts: Sequence[str]) -> Standardizer | None:
        if variant.standardize not in ("routing_weights", "both"):
            return None
        if self.statistics is not None:
            return self.statistics[1]
        both = variant.standardize == "both"
        return Standardizer.fit(self.embedder.blocks(texts), hidden_states=both)

    def _saved_statistics(self) -> tuple[str, Standardizer] | None:
        path = self.section.statistics
        if path is None:
            return None
        standardizer = Standardizer.load(path)
        return f"{path.stem}-{_file_digest(path)}", standardizer

    def _meta(self, variant: Variant) -> Any:
        return model_meta(self.embedder.key, variant, self._statistics_name(variant))

    def _statistics_name(self, variant: Variant) -> str:
        if variant.standardize == "reference":
            return f"batches-of-{self.section.batch_size}"
        return self.statistics[0] if self.statistics else "task"

    def _notes(self, tasks: Sequence[TaskScores]) -> list[str]:
        used = {column.variant.plain().standardize for column in self.columns}
        notes = []
        if any(task.type == "Clustering" for task in tasks):
            notes.append(V_MEASURE_NOTE)
        if any(task.name == "SummEval" for task in tasks):
            notes.append(SUMMEVAL_NOTE)
        if used & {"routing_weights", "both"}:
            notes.append(f"Columns marked z are standardized once, with the statistics of {self._statistics_words()}.")
        if "reference" in used:
            notes.append(REFERENCE_NOTE)
        chosen = [f"{task.name}: {label} {alpha:g}" for task in tasks for label, alpha in task.alphas.items()]
        if chosen:
            notes.append(AUTO_NOTE.format(chosen="; ".join(chosen)))
        return notes

    def _statistics_words(self) -> str:
        return f"{self.statistics[0]}" if self.statistics else "the different texts of the task, labels unseen"


class _Choices:
    """Alphas that were chosen, kept in a file so that a repeated run chooses nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, float] = {}
        if path.is_file():
            self._known = _read_choices(path)

    def known(self, key: str) -> float | None:
        return self._known.get(key)

    def remember(self, key: str, alpha: float) -> None:
        self._known[key] = alpha
        _write_json(self.path, dict(sorted(self._known.items())))


def _read_choices(path: Path) -> dict[str, float]:
    try:
        return {str(key): float(alpha) for key, alpha in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}). Delete it, and alpha is chosen again.") from error


def scores_of(result: Any) -> dict[str, float]:
    """The numbers of an mteb result, by name: the mean over its splits and subsets."""
    entries = [entry for split in result.scores.values() for entry in split]
    names = [name for name, value in entries[0].items() if _is_score(value)]
    return {name: float(np.mean([entry[name] for entry in entries])) for name in names}


def _is_score(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _file_digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=4).hexdigest()


def _write_json(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.part")
    scratch.write_text(json.dumps(data, indent=1, ensure_ascii=False, sort_keys=False) + "\n", encoding="utf-8")
    scratch.replace(path)


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
