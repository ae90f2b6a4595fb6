"""A run on disk: every file of it by one typed attribute."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from typing_extensions import TypedDict  # pydantic refuses the one of typing before Python 3.12

from moee_topics.errors import InputError
from moee_topics.evaluate import ExpertReport
from moee_topics.fuse import Fusion
from moee_topics.run_folder.decision_file import DECISIONS, read_outcomes, write_outcomes
from moee_topics.run_folder.digests import Digests
from moee_topics.run_folder.label_answers import LabelRecord, read_answers, write_answers
from moee_topics.run_folder.names import VERSIONS, run_command
from moee_topics.run_folder.run_file import RunFile, folder, json_file
from moee_topics.run_folder.searcher import Found, Searcher
from moee_topics.store import atomic_folder, atomic_path, read_json, write_json, write_text
from moee_topics.topics import (
    OUTLIERS,
    RESULT_FILES,
    Decision,
    Outcome,
    Topic,
    TopicModel,
    TopicResult,
    Voters,
    plots,
)

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


class ScoreRecord(TypedDict):
    """One score in ``scores.json``; its value is None where it could not be computed."""

    value: float | None
    description: str
    higher_is_better: bool


class Merger(TypedDict):
    """Two topics that the hierarchy joins into one."""

    parent: int
    left: int
    right: int
    distance: float
    name: str


class Moment(TypedDict):
    """A topic in one span of time: how many documents, and its words then."""

    topic: int
    timestamp: str
    frequency: int
    words: str


class EncoderRecord(TypedDict):
    """The encoder of a run: what it was told, and its key in the store."""

    options: dict[str, Any]
    key: dict[str, Any]


class ClassShare(TypedDict):
    """A topic among the documents of one label: how many, and its words there."""

    topic: int
    label: str
    frequency: int
    words: str


class VersionRecord(TypedDict):
    """One version of an updated run.

    ``lineage`` has what became of topics that are not simply there as before: an event (``born``, ``split``,
    ``merged`` or ``gone``), and the topics of the other version with their shares of the documents that both have.
    """

    version: int
    parent: int
    policy: str
    created: str
    sources: list[str]
    documents: int
    topics: int
    added: int
    changed: int
    removed: int
    encoded: int
    seconds: float
    lineage: list[dict[str, Any]]
    decisions: NotRequired[list[str]]  # those that are new in it
    drift: NotRequired[dict[str, Any]]  # the headlines of drift.json


class History(TypedDict):
    """The versions of a run: version 1 is its own fit, which ``fit`` is the fingerprint of.

    ``next_topic`` is the number of the next topic that is born; it never goes back, also not with an undo.
    """

    fit: str
    current: int
    next_topic: int
    versions: list[VersionRecord]


Scores = dict[str, ScoreRecord]
Manifest = dict[str, Any]


def read_scores(path: Path) -> Scores:
    """The scores of a run; the one that earlier versions called ``stability``, of either kind of refit, by its name."""
    scores: Scores = read_json(path, kind=Scores)
    if "stability" not in scores:
        return scores
    is_of_samples = "on bootstrap samples" in scores["stability"]["description"]
    name_now = "stability_bootstrap" if is_of_samples else "stability_seeds"
    return {name_now if name == "stability" else name: score for name, score in scores.items()}


def open_vectors(path: Path) -> NDArray[np.float32]:
    """The array of a file, mapped: only what is looked at comes into memory."""
    vectors: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    return vectors


def save_rows(
    path: Path, shape: tuple[int, int], parts: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]]
) -> None:
    """Writes a matrix as ``.npy`` from its rows in any order: their numbers, (n,), and themselves, (n, d)."""
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with atomic_path(path, size=4 * shape[0] * shape[1]) as temporary, temporary.open("wb") as file:
        # Not through a map: on a full disk its first byte that finds no room ends the process.
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        for numbers, rows in parts:
            for number, row in zip(numbers.tolist(), rows.astype("<f4"), strict=True):
                file.seek(start + row.nbytes * number)
                file.write(row.tobytes())


def save_batches(path: Path, batches: Iterable[pa.RecordBatch]) -> None:
    """Writes one batch of rows or more as Parquet while they come, whole or not at all."""
    rest = iter(batches)
    first = next(rest)
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, first.schema, compression="zstd") as writer:
        for batch in chain([first], rest):
            writer.write_batch(batch)


class RunFolder:
    """A run as one finds it on disk; nothing is read or checked before it is asked for.

    ``run.scores`` is what a file holds, read once. ``RunFolder.scores`` is its :class:`RunFile`, which says where it is
    and whether it is there and whole, and which writes it. A new kind of file is one line here.

    A damaged file is told by its digest and never shown as a result; one without, as in runs of 0.1.0, by its form.

    Attributes:
        path: the folder.
        digests: of every file in it.
    """

    # Who ran what on what, with which versions; empty until a run is complete. Then the stages that are done.
    manifest = json_file("run.json", Manifest, absent={})
    stages = json_file("stages.json", dict[str, dict[str, Any]], absent={})

    # The topics, and the topic of every document. One value in three files: it is read and written as a whole.
    result: RunFile[TopicResult] = RunFile(
        RESULT_FILES[0],
        lambda path: TopicResult.load(path.parent),
        lambda path, result: result.save(path.parent),
        beside=RESULT_FILES[1:],
    )
    scores: RunFile[Scores, Scores] = RunFile("scores.json", read_scores, write_json, absent={})
    hierarchy = json_file("hierarchy.json", list[Merger], absent=[])  # the nearest first
    over_time = json_file("over_time.json", list[Moment], absent=[])
    per_class = json_file("per_class.json", list[ClassShare], absent=[])
    experts: RunFile[ExpertReport, None] = RunFile(
        "experts.json", ExpertReport.load, lambda path, report: report.save(path), absent=None
    )

    # The vectors of a large corpus (N, d), which are mapped and not read, and the fusion that makes more of them. Kept
    # as long as the recipe asks for a reduction, so that another fit begins with them.
    vectors: RunFile[NDArray[np.float32]] = RunFile(
        "vectors.npy", open_vectors, lambda path, whole: save_rows(path, whole.shape, [(np.arange(len(whole)), whole)])
    )
    reduction: RunFile[Fusion] = RunFile("reduction.safetensors", Fusion.load, lambda path, fusion: fusion.save(path))

    # What new documents need. The two are inside the folder of the model, which write_model() makes as a whole.
    model: RunFile[TopicModel] = RunFile("model", TopicModel.load, lambda path, model: model.save(path))
    fusion: RunFile[Fusion] = RunFile("model/fusion.safetensors", Fusion.load, lambda path, fusion: fusion.save(path))
    encoder = json_file("model/encoder.json", EncoderRecord)

    # The updates of the run; where there are any, readers are given the current one.
    history = json_file(f"{VERSIONS}/history.json", History, None, "update")

    # Documents that were objects of Python and not a file: the source that the recipe of the run names then.
    corpus: RunFile[pa.Table, None] = RunFile(
        "corpus.parquet", pq.read_table, lambda path, table: save_batches(path, table.to_batches()), absent=None
    )

    # What was decided about the topics, as it was applied to them; what people write is decisions.yaml, see below.
    decisions: RunFile[list[Outcome], list[Outcome]] = RunFile(
        "decisions.json", read_outcomes, write_outcomes, absent=[]
    )

    # What a language model answered about topics and their labels, so that nothing is asked twice; and where earlier
    # versions kept that, as one piece of JSON that was written anew for each answer.
    label_answers: RunFile[dict[str, LabelRecord], dict[str, LabelRecord]] = RunFile(
        "labels.jsonl", read_answers, write_answers, {}, "topics label"
    )
    label_answers_0_2 = json_file("labels.json", dict[str, LabelRecord], {}, "topics label")

    # Whether the names of the topics fit their documents, as a judge has it.
    label_check = json_file("label_check.json", dict[str, Any], None, "topics check")

    # How the new documents of an update differ from those before.
    drift = json_file("drift.json", dict[str, Any], None)

    # What other fits have in common with this one, and a file for each of them: see refit().
    stability = json_file("stability.json", dict[str, Any], absent=None)
    refits = folder("stability")

    # Made of the others, and made again without a fit.
    report: RunFile[str] = RunFile(
        "report.html", lambda path: path.read_text(encoding="utf-8"), write_text, made_by="report"
    )
    exports = folder("exports", made_by="report")

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.digests = Digests(self.path)

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """A run that has topics, in its current version; whatever else it has is read when it is asked for.

        Raises:
            InputError: there is no folder, or no finished topic model in it, or a damaged one.
        """
        run = cls(path)
        if not run.path.is_dir():
            raise InputError(f"There is no run folder {path}. Give the folder that `moee-topics run` wrote.")
        run = run.current
        if not cls.result.path(run).exists() and not cls.manifest.exists(run):
            raise InputError(
                f"{path} holds no finished run: {cls.result.name} is missing. Make one with: {run_command(run.path)}"
            )
        run.result  # noqa: B018 (what is no run is told now, before anything is made of it)
        return run

    @staticmethod
    def refit(kind: str, number: int) -> RunFile[dict[str, Any]]:
        """One of the fits that say how stable the topics are."""
        return json_file(f"stability/{kind}-{number}.json", dict[str, Any], absent={})

    @property
    def current(self) -> Self:
        """The version that holds: the last update that was not undone, or the run itself where there is none.

        Raises:
            InputError: the list of versions is damaged.
        """
        return self if self.history is None else self.version(self.history["current"])

    def version(self, number: int) -> Self:
        """A version by its number, whether or not it is there; the first is the run itself."""
        return self if number == 1 else type(self)(self.path / VERSIONS / f"v{number}")

    def write_model(self, model: TopicModel, fusion: Fusion, encoder: EncoderRecord) -> None:
        """Puts a new folder ``model`` in the place of the old one, whole or not at all.

        Args:
            model: without its result, which lies beside the folder.
            fusion: fitted.
            encoder: the options of the encoder, and its key in the store.

        Raises:
            ResourceError: the disk is full.
            StoreError: it cannot be written for another reason.
        """
        # Together, because a kill must not leave the topics of one fit beside the fusion of another.
        with RunFolder.model.changing(self), atomic_folder(RunFolder.model.path(self)) as new:
            model.save(new, with_result=False)
            RunFolder.fusion.save(new / Path(RunFolder.fusion.name).name, fusion)
            RunFolder.encoder.save(new / Path(RunFolder.encoder.name).name, encoder)

    def write_vectors(
        self, shape: tuple[int, int], parts: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]]
    ) -> None:
        """Writes the vectors of a large corpus, whole or not at all, from a stream of their rows in any order.

        Raises:
            ResourceError: the disk is full.
            StoreError: it cannot be written for another reason.
        """
        with RunFolder.vectors.changing(self):
            save_rows(RunFolder.vectors.path(self), shape, parts)

    def whole(self, parts: Iterable[RunFile[Any, Any]]) -> bool:
        """Whether some files are as they were written; those without a digest are trusted, damaged digests are not."""
        try:
            return not any(part.damaged(self) for part in parts)
        except InputError:
            return False

    def section(self, name: str) -> Mapping[str, Any]:
        """One section of the manifest, empty where it is missing."""
        section = self.manifest.get(name)
        return section if isinstance(section, Mapping) else {}

    @property
    def name(self) -> str:
        """The title that the recipe gives the report, or the run's name, or its folder's."""
        recipe = self.section("recipe").get("report")
        title = recipe.get("title") if isinstance(recipe, Mapping) else None
        return str(title or self.manifest.get("name") or self.path.resolve().name)

    @property
    def root(self) -> Self:
        """The run that a version is of; of a run itself the run."""
        return type(self)(self.path.parent.parent) if self.path.parent.name == VERSIONS else self

    @property
    def decisions_path(self) -> Path:
        """The file of decisions, which people may write too; of a version, that of its run."""
        return self.root.path / DECISIONS

    @property
    def all_label_answers(self) -> dict[str, LabelRecord]:
        """What a language model answered, those of earlier versions too."""
        return {**self.label_answers_0_2, **self.label_answers}

    @property
    def notes(self) -> dict[int, str]:
        """What was noted on topics, by id; several notes on one topic are one text."""
        notes: dict[int, str] = {}
        for outcome in self.decisions:
            if outcome.decision.verb == "note" and outcome.state == "applied":
                (topic,), text = outcome.decision.topics, outcome.decision.text
                notes[topic] = f"{notes[topic]} · {text}" if topic in notes else text
        return notes

    @property
    def known_decisions(self) -> list[Decision]:
        """Those whose ids are of the topics of this version, not of another fit."""
        return [outcome.decision for outcome in self.decisions if outcome.known]

    @property
    def topics(self) -> pd.DataFrame:
        """One row per topic: topic, count, share, name, words, and note where something was noted."""
        frame = self.result.topics_frame()
        return frame.assign(note=frame["topic"].map(self.notes).fillna("")) if self.notes else frame

    @property
    def documents(self) -> pd.DataFrame:
        """One row per document: id, text, topic, name, probability, x, y, and label and timestamp where known."""
        return self.result.to_pandas()

    @cached_property
    def ranked_topics(self) -> list[Topic]:
        """The topics without the outliers, the largest first."""
        real = [topic for topic in self.result.topic_info if topic.topic != OUTLIERS]
        return sorted(real, key=lambda topic: (-topic.count, topic.topic))

    @cached_property
    def outliers(self) -> Topic | None:
        """The outliers, where there are any."""
        return next((topic for topic in self.result.topic_info if topic.topic == OUTLIERS), None)

    @cached_property
    def labels(self) -> list[str] | None:
        """The known class of every document as text; a document without one has an empty text."""
        if self.result.labels is None:
            return None
        return ["" if label is None else str(label) for label in self.result.labels]

    @cached_property
    def positions(self) -> NDArray[np.float64]:
        """(N, 2) map positions; a document without one is put in the middle."""
        positions = self.result.positions.astype(np.float64)
        middle = np.nan_to_num(np.nanmean(positions, axis=0)) if len(positions) else np.zeros(2)
        return np.where(np.isfinite(positions), positions, middle)

    def map(self, *, top_n_topics: int = 20) -> Figure:
        """Every document as a point of a figure of plotly, coloured by topic; pointing at one shows its text."""
        return plots.document_map(self.result, top_n_topics=top_n_topics)

    def search(self, text: str, most: int = 10) -> Found:
        """The documents and the topics of the run that are nearest to a text, by cosine.

        The model of the run is loaded with the first text, and stays in memory with this object. Of a fit with more
        than 20,000 different documents, those that vote on new ones are looked through; a topic is where the mean of
        its own is.

        Args:
            text: in words of any kind; it is read as the documents were.
            most: documents, and topics, that are given.

        Raises:
            InputError: there is no text, or a file of the run is missing or damaged.
            ModelError: the model is gone, or is not the one the run was encoded with.
        """
        return self._searcher.search(text, most)

    @cached_property
    def _searcher(self) -> Searcher:
        run = self.current
        RunFolder.model.check(run)
        return Searcher(run, Voters.load(RunFolder.model.path(run)))

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    def _repr_html_(self) -> str:
        return self.result._repr_html_()


def title(topic: Topic) -> str:
    """A topic's name to read: BERTopic's ``3_god_jesus_bible`` becomes its words, a given name stays."""
    if topic.topic == OUTLIERS:
        return "Outliers"
    if not topic.name or re.match(r"^-?\d+_", topic.name):
        return ", ".join(word for word, _ in list(topic.words)[:3] if word) or f"Topic {topic.topic}"
    return topic.name
