"""A finished run to work with from Python: predict, update, decide, label, export, undo, compare versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from moee_topics.corpus import Record, document_of, plain_name
from moee_topics.errors import InputError
from moee_topics.evaluate import LabelCheck
from moee_topics.progress import Progress, Warnings
from moee_topics.report import VersionComparison, compare_versions, export_report
from moee_topics.run.decision_versions import decide
from moee_topics.run.given_documents import GivenDocuments
from moee_topics.run.label_trial import check_labels
from moee_topics.run.labelling import label
from moee_topics.run.policies import Policy
from moee_topics.run.predictor import PredictedTopic, Predictor
from moee_topics.run.reading import UNREAD, own_reading
from moee_topics.run.updates import undo, update
from moee_topics.run_folder import VERSIONS, RunFolder, Searcher
from moee_topics.topics import OUTLIERS, CheckSettings, Decision, LabelSettings

if TYPE_CHECKING:
    import pandas as pd

VERSION_COLUMNS = ("version", "parent", "policy", "created", "documents", "topics", "added", "changed", "removed")


class Run(RunFolder):
    """A run folder with what can be done to it. :func:`run` gives one, ``Run.read("runs/posts")`` opens another.

    ::

        run = moee_topics.run(documents=df.body, ids=df.id)
        new["topic"] = run.predict(new.body)["topic"]
        run = run.update(new.body, ids=new.id, policy="grow")
        run = run.decide({"name": "Space flight", "topic": 3}, {"merge": [4, 7]})
        run = run.label(LabelSettings("openai", "qwen3", "http://localhost:11434/v1"))
        run.check_labels().sentence
        run.export("atlas", "xlsx")
        run.diff(1, run.number)
        run = run.undo()

    An object stands for one version and never changes to another. :meth:`update`, :meth:`decide`, :meth:`label` and
    :meth:`undo` change the folder and return the version that holds from then on. What the command line would print as
    a note, such as a decision in conflict, is given as a warning.
    """

    @property
    def number(self) -> int:
        """Which version this is; 1 is the run's own fit."""
        return int(self.path.name.removeprefix("v")) if self.path.parent.name == VERSIONS else 1

    @property
    def versions(self) -> pd.DataFrame:
        """One row per version, those that were undone too: what made it of which, when, and of how many documents."""
        import pandas as pd

        root = RunFolder(self.root.path)
        own = {
            "version": 1,
            "parent": None,
            "policy": "fit",
            "created": root.manifest.get("created"),
            "documents": len(root.result),
            "topics": root.result.topic_count,
        }
        records = root.history["versions"] if root.history else []
        frame = pd.DataFrame([own, *records], columns=list(VERSION_COLUMNS))
        return frame.astype(dict.fromkeys(("parent", "added", "changed", "removed"), "Int64"))

    def predict(self, documents: Any, ids: Iterable[Any] | None = None) -> pd.DataFrame:
        """The topics of new documents: one row for each in their order, with the index that a column of pandas has.

        The model of the run is loaded with the first call, and stays in memory with this object. Nothing is changed.

        Args:
            documents: texts or :class:`Document`, as a list, a generator or a column, or a table with the columns of
                the run. They are read as the run read its own.
            ids: one for each text; without, they are called "row 0", "row 1" and so on.

        Returns:
            id, topic (-1 for the outliers), name of the topic, probability, fitted, which is true where the fit had
            the same text, and far, which is true where it is unlike anything before. A document without a text to see
            is an outlier with the probability 0. ``attrs["drift"]`` of the table says how the new documents differ from
            those of the fit and what is advised, or is None where none was new.

        Raises:
            InputError: documents cannot be read, or a file of the run is missing or damaged.
            ModelError: the model is gone, or is not the one the run was encoded with.
        """
        import pandas as pd

        given = GivenDocuments(documents, ids)
        reading = given.corpus_like({**own_reading(self), **UNREAD}, name="predict").settings
        records = list(given.records(reading))
        found = [document_of(record, reading) for record in records]
        predicted = self._predictor.stream(document for document in found if document is not None)
        rows = [
            _without_text(record) if document is None else next(predicted)
            for record, document in zip(records, found, strict=True)
        ]
        index = getattr(documents, "index", None)  # of a list it is a method
        frame = pd.DataFrame(
            [asdict(row) for row in rows],
            columns=[field.name for field in fields(PredictedTopic)],
            index=index if isinstance(index, pd.Index) else None,
        )
        drift = predicted.drift()
        frame.attrs["drift"] = drift.to_json() if drift else None
        return frame

    def update(
        self,
        documents: Any = None,
        policy: Policy = "assign",
        *,
        ids: Iterable[Any] | None = None,
        labels: Iterable[Any] | None = None,
        timestamps: Iterable[Any] | None = None,
        sources: Sequence[str] = (),
        remove_missing: bool = False,
        progress: Progress | None = None,
    ) -> Self:
        """Brings new and changed documents into the run; topics keep their ids. See :func:`moee_topics.update`.

        Args:
            documents: as for :meth:`predict`; without any and without sources, the run's own source is read again.
            policy: ``assign`` keeps all topics, ``grow`` adds new ones, ``refit`` fits again and finds the old ones in
                it.
            ids, labels, timestamps: one for each text.
            sources: files of documents.
            remove_missing: documents of the run that are not among these go.
            progress: is told how far the work is.

        Returns:
            The new version.

        Raises:
            InputError: there is no such policy, nothing new, or what cannot be read.
            ModelError: the model is gone, or is not the one the run was encoded with.
        """
        update(
            self.root.path,
            sources,
            policy,
            documents=documents,
            ids=ids,
            labels=labels,
            timestamps=timestamps,
            remove_missing=remove_missing,
            progress=progress or Warnings(),
        )
        return type(self).read(self.root.path)

    def decide(self, *decisions: Decision | Mapping[str, Any], progress: Progress | None = None) -> Self:
        """Names, merges, splits, drops topics or pins documents, now and after every update and refit.

        Args:
            decisions: as entries of ``decisions.yaml``: ``{"name": "Space flight", "topic": 3}``,
                ``{"merge": [4, 7]}``, ``{"split": 2, "parts": 3}``, ``{"drop": 5}``,
                ``{"pin": ["post-17"], "topic": 3}``, ``{"note": "Two readers agree", "topic": 3}``,
                ``{"seed": ["orbit", "nasa"]}``. Without any, those that somebody wrote into the file.
            progress: is told how far the work is, and which decisions are in conflict.

        Returns:
            The new version; the one that holds where nothing of it is new.

        Raises:
            InputError: there is no such topic or document.
            RecipeError: one of them is not a decision.
        """
        read = [one if isinstance(one, Decision) else Decision.from_plain(one, "decide()") for one in decisions]
        decide(self.root.path, read, progress=progress or Warnings())
        return type(self).read(self.root.path)

    def label(
        self, settings: LabelSettings | None = None, *, every: bool = False, progress: Progress | None = None
    ) -> Self:
        """Lets a language model name the topics that are called by their words. See :func:`moee_topics.run.label`.

        Args:
            settings: who is asked, by default the model of the run, and what of a topic is shown.
            every: also topics that have a name already.
            progress: is told how far the work is, and which answers were not taken.

        Returns:
            The new version; the one that holds where no name is new.

        Raises:
            InputError: a prompt is too long for the model.
            ModelError: the model is missing, or the endpoint does not answer; the answers so far are kept.
        """
        label(self.root.path, settings, every=every, progress=progress or Warnings())
        return type(self).read(self.root.path)

    def check_labels(
        self,
        settings: CheckSettings | None = None,
        *,
        labels: Mapping[int, str] | None = None,
        progress: Progress | None = None,
    ) -> LabelCheck:
        """Judges whether the label of each topic fits its documents. See :func:`moee_topics.run.check_labels`.

        The topics are those of the version that holds, in whose folder and report the result is kept.

        Args:
            settings: who judges, by default the run's own encoder, and by how many documents.
            labels: of every topic, to be judged in the place of the names; nothing is kept of them.
            progress: is told how far the work is.

        Raises:
            InputError: there are fewer than two topics, or one has no label.
            ModelError: the model is missing, or the endpoint does not answer; the answers so far are kept.
        """
        return check_labels(self.root.path, settings, labels=labels, progress=progress or Warnings())

    def export(self, *forms: str, output: Path | str | None = None) -> list[Path]:
        """Writes this version in the forms that other tools read. See :func:`moee_topics.export_report`.

        Args:
            forms: one or more, such as "atlas", "duckdb" or "hub".
            output: the folder to write into; ``exports`` in the version's own unless told.

        Returns:
            The files written.

        Raises:
            InputError: there is no such form, or a file of the run is missing or damaged.
            MissingExtraError: a package that a form needs is not installed.
        """
        return export_report(self.path, forms, output)

    def undo(self) -> Self:
        """Takes back the last update or decision of the run, and gives the version that it was made of.

        Raises:
            InputError: there is no update or decision to take back.
        """
        return self.root.version(undo(self.root.path))

    def diff(self, first: int | None = None, second: int | None = None) -> VersionComparison:
        """What became of the topics between two versions; without numbers, from the one before to this one.

        Raises:
            InputError: there is no such version, or this is the first.
        """
        second = second or self.number
        if first is None:
            if second == 1:
                raise InputError(
                    "Version 1 is the run's own fit, and there is none before it. Give two: run.diff(1, 3)."
                )
            made = self.versions.set_index("version")["parent"]
            first = int(made[second]) if second in made.index else 1
        return compare_versions(self.root.path, first, second)

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor.of(self)

    @cached_property
    def _searcher(self) -> Searcher:
        # With the model that predicts, which is then in memory once.
        return Searcher(self, self._predictor.model.voters, self._predictor.embedder)


def _without_text(record: Record) -> PredictedTopic:
    return PredictedTopic(plain_name(record.id) or record.place, OUTLIERS, "", 0.0, fitted=False, far=False)
