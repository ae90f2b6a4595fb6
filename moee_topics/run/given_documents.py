"""Documents that were handed over as objects: written into the run folder, where a recipe reads them again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from moee_topics.corpus import CorpusSettings, is_table, object_batches
from moee_topics.defaults import RUNS
from moee_topics.errors import InputError
from moee_topics.recipe import Recipe, load_recipe
from moee_topics.run_folder import RunFolder, save_batches
from moee_topics.store import writing_alone

DEFAULT_FOLDER = RUNS / "documents"
DEFAULT_RECIPE = "quickstart"


@dataclass(frozen=True)
class GivenDocuments:
    """Documents as objects of Python; see :func:`moee_topics.corpus.object_batches`."""

    documents: Any
    ids: Iterable[Any] | None = None
    labels: Iterable[Any] | None = None
    timestamps: Iterable[Any] | None = None

    def recipe_in(self, folder: Path | str | None, recipe: Recipe | None) -> tuple[Recipe, Path]:
        """Writes the documents into the folder of a run, and gives a recipe that reads them there, and the folder.

        So whatever comes later, another fit, an update, the command line, finds them as those of any other run.

        Args:
            folder: of the run; ``runs/documents`` unless told, where no run of other documents is replaced.
            recipe: with its own source changed; for None the recipe ``quickstart``.

        Raises:
            InputError: the documents cannot be read, there is none, or ``runs/documents`` holds others.
        """
        batches = object_batches(self.documents, self.ids, self.labels, self.timestamps)
        # Before any folder is made: what is wrong with the first 10,000 documents leaves nothing behind.
        first = next((batch for batch in batches if batch.num_rows), None)
        if first is None:
            raise InputError("There are no documents: the list, column, table or generator of them is empty.")
        run = RunFolder(DEFAULT_FOLDER if folder is None else folder)
        with writing_alone(run.path):
            self._write(run, chain([first], batches), may_replace=folder is not None)
        source = RunFolder.corpus.path(run)
        if recipe is None:
            recipe = load_recipe(DEFAULT_RECIPE).model_copy(update={"corpus": CorpusSettings(str(source))})
        columns: dict[str, Any] = (
            {} if is_table(self.documents) else {"text": "text", "id": None, "label": None, "timestamp": None}
        )
        corpus = replace(recipe.corpus, source=str(source), **columns)
        return recipe.model_copy(update={"corpus": corpus}), run.path

    def _write(self, run: RunFolder, batches: Iterator[pa.RecordBatch], *, may_replace: bool) -> None:
        path = RunFolder.corpus.path(run)
        if may_replace or not (path.exists() or RunFolder.manifest.exists(run)):
            with RunFolder.corpus.changing(run):
                save_batches(path, batches)
            return
        # A second run of other documents would change the topics under whoever still works with the first.
        if not path.exists() or not _same_rows(pq.ParquetFile(path).iter_batches(), batches):
            raise InputError(
                f"{run.path} holds a run of other documents. Name a folder for this one, such as with: "
                "run(documents=…, folder='runs/posts')"
            )


def _same_rows(before: Iterable[pa.RecordBatch], now: Iterable[pa.RecordBatch]) -> bool:
    rows = ((str(row) for batch in batches for row in batch.to_pylist()) for batches in (before, now))
    return all(one == other for one, other in zip_longest(*rows))
