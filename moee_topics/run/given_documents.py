"""Documents that were handed over as objects: written into the run folder, where a recipe reads them again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from moee_topics.corpus import Corpus, CorpusSettings, Record, is_table, object_batches, object_records
from moee_topics.defaults import RUNS
from moee_topics.errors import InputError
from moee_topics.recipe import Recipe, load_recipe
from moee_topics.run.reading import Reading
from moee_topics.run_folder import RunFolder, save_batches
from moee_topics.schema import build
from moee_topics.store import writing_alone

DEFAULT_FOLDER = RUNS / "documents"
DEFAULT_RECIPE = "quickstart"
NAME = "the documents given"


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
        corpus = replace(recipe.corpus, source=str(source), **self._columns)
        return recipe.model_copy(update={"corpus": corpus}), run.path

    def corpus_like(self, own: Mapping[str, Any], overrides: Sequence[str] = (), *, name: str) -> Corpus:
        """The documents read as a run read its own: the columns of a table, cleaning, how a missing value is written.

        Of a generator the corpus can be read once.

        Args:
            own: the section ``corpus`` of the run.
            overrides: ``corpus.KEY=VALUE`` where they are to be read otherwise.
            name: begins the message of an override that is not valid.

        Raises:
            RecipeError: an override is not valid.
        """
        # The run's own limit holds for its own source; these were brought to be read.
        section = {**own, "source": NAME, "limit": None, **self._columns}
        settings = build(Reading, {"corpus": section}, overrides, name=name).corpus
        return Corpus(NAME, NAME, lambda: self.records(settings), settings)

    def records(self, settings: CorpusSettings) -> Iterator[Record]:
        """One for each document, in their order, those without text too."""
        columns = {"ids": self.ids, "labels": self.labels, "timestamps": self.timestamps}
        return object_records(settings, self.documents, **columns)

    @property
    def _columns(self) -> dict[str, Any]:
        """What a recipe says of the columns: a table has its own, texts have those that object_batches() gives them."""
        return {} if is_table(self.documents) else {"text": "text", "id": None, "label": None, "timestamp": None}

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
