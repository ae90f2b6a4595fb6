"""What a run folder holds: every file by one typed attribute, with its reader, its writer and its digest.

    run.json                     manifest: who ran what on what, with which versions
    stages.json                  stages: which stages are done with which inputs
    topics.parquet               \\
    documents.parquet             } result: topics, words and the topic of every document
    topic_info.json              /
    scores.json, hierarchy.json, over_time.json, per_class.json, experts.json, stability.json
    model/                       what new documents need: BERTopic's files, fusion, encoder, voters
    stability/                   a file for each refit
    report.html, exports/        made of the others
    digests.json                 the digest of every file above

A damaged file is told by its digest and never shown as a result; files without one, as in runs of 0.1.0, by their form.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray
from pyarrow import ArrowException
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from typing_extensions import TypedDict  # pydantic refuses the one of typing before Python 3.12

from moee_topics.errors import InputError
from moee_topics.evaluate import ExpertReport
from moee_topics.fuse import Fusion
from moee_topics.store import atomic_folder, disk_errors, make_folder, read_json, write_json, write_text
from moee_topics.topics import OUTLIERS, Topic, TopicModel, TopicResult

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

PIECE = 2**20
# What readers of JSON, Parquet, safetensors and BERTopic's own files raise at bytes that are not theirs.
DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, ArrowException, SafetensorError)


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


class ClassShare(TypedDict):
    """A topic among the documents of one label: how many, and its words there."""

    topic: int
    label: str
    frequency: int
    words: str


Scores = dict[str, ScoreRecord]
Manifest = dict[str, Any]


class Digests:
    """The xxh3 digest of every file of a run folder, in ``digests.json``; that file holds one of itself too.

    xxh3 reads memory at 10 GB/s and more, so a check costs what reading the file costs; it is no proof against forgery.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "digests.json"

    def read(self) -> dict[str, str]:
        """Digests by the name of the file; none where a run of 0.1.0 left none.

        Raises:
            InputError: the file is damaged.
        """
        mend = f"Make it again with: {run_command(self.folder)}"
        content = read_json(self.path, kind=dict, default={}, mend=mend)
        files = content.get("files", {})
        if content and (not isinstance(files, dict) or content.get("digest") != _seal(files)):
            raise InputError(f"{self.path} is damaged: its content is not what was written. {mend}")
        return {name: str(digest) for name, digest in files.items()}

    def damaged(self, path: Path) -> list[Path]:
        """The files at or below a path that are gone or not what was written.

        Raises:
            InputError: the digests are damaged themselves.
        """
        recorded = {self.folder / name: digest for name, digest in self.read().items() if is_inside(name)}
        return [
            file
            for file, digest in recorded.items()
            if (file == path or path in file.parents) and not _has_digest(file, digest)
        ]

    @contextmanager
    def changing(self, *paths: Path) -> Iterator[None]:
        """Forgets the digests of files and folders while they are written, and takes the new ones afterwards.

        A kill in between leaves whole files without a digest, which is no damage: all is written atomically. One
        process at a time may write, see :func:`moee_topics.store.writing_alone`.
        """
        try:
            before = self.read()
        except InputError:  # what is written now is known again; a run makes the rest anew
            before = {}
        kept = {
            name: digest
            for name, digest in before.items()
            if not any(path in (self.folder / name, *(self.folder / name).parents) for path in paths)
        }
        if kept != before:
            self._write(kept)
        yield
        new = {file.relative_to(self.folder).as_posix(): digest_of(file) for path in paths for file in _files(path)}
        self._write({**kept, **new})

    def _write(self, files: Mapping[str, str]) -> None:
        write_json(self.path, {"files": dict(sorted(files.items())), "digest": _seal(files)})


def _seal(files: Mapping[str, Any]) -> str:
    return xxhash.xxh3_128_hexdigest(json.dumps(files, sort_keys=True).encode())


def digest_of(file: Path) -> str:
    """The xxh3 digest of a file, 32 hexadecimal digits."""
    digest = xxhash.xxh3_128()  # streamed: voters and documents of a large run are gigabytes
    with file.open("rb") as opened:
        while piece := opened.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _has_digest(file: Path, digest: str) -> bool:
    try:
        return digest_of(file) == digest
    except OSError:  # gone, a folder, not readable, or on a disk that fails: nobody can say that it is whole
        return False


def _files(path: Path) -> Iterator[Path]:
    """A file, or those below a folder, through no link."""
    if path.is_file() and not path.is_symlink():
        yield path
    elif not path.is_symlink():
        for parent, _, names in os.walk(path):
            yield from (file for name in names if not (file := Path(parent, name)).is_symlink())


def is_inside(name: str) -> bool:
    """Whether a name from a file stays in the folder that it is joined to."""
    return bool(name) and not re.search(r"^[/\\]|^[a-zA-Z]:|(^|[/\\])\.\.([/\\]|$)|\0", name)


def named_folder(output: Path, name: str) -> Path:
    """The folder of a run by its name: one folder in the output folder, and no other place.

    Raises:
        InputError: the name leads elsewhere, is that of the embeddings, or is another run's but for case.
    """
    if not is_inside(name) or re.search(r"[/\\\x00-\x1f]|^\.|[. ]$", name) or name.casefold() == "store":
        raise InputError(
            f"A run cannot have the name {name!r}: it is a folder in {output}, where 'store' holds the embeddings. "
            "Give one without slashes and without dots at its ends, and the folder it goes into as --output."
        )
    # On macOS and Windows the two would be one folder, and the second run would take the place of the first.
    others = [path.name for path in output.iterdir()] if output.is_dir() else []
    if name not in others and (same := [other for other in others if other.casefold() == name.casefold()]):
        raise InputError(
            f"{output} has the run {same[0]!r}, whose name differs from {name!r} by case alone. Use another."
        )
    return output / name


def run_command(folder: Path) -> str:
    """The command that makes a run folder again; what is whole in it stays."""
    return f"moee-topics run RECIPE --output {folder.parent} --name {folder.name}"


@dataclass(frozen=True)
class RunFile(Generic[T]):
    """One thing that a run keeps, in a file, in several or in a folder.

    Attributes:
        path: the file, or the folder.
        load: reads it.
        save: writes it, atomically.
        command: makes it again, for messages.
        digests: of the run folder; None for a folder that is not yet in its place.
        beside: further files that belong to it.
    """

    path: Path
    load: Callable[[Path], T]
    save: Callable[[Path, T], None]
    command: str
    digests: Digests | None = None
    beside: tuple[Path, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """All its files, or its folder."""
        return (self.path, *self.beside)

    @property
    def exists(self) -> bool:
        """Whether all of it is there."""
        return all(path.exists() for path in self.paths)

    def damaged(self) -> list[Path]:
        """Files of it that are gone or are not what was written, by their digests.

        Raises:
            InputError: the digests are damaged themselves.
        """
        return [] if self.digests is None else [file for path in self.paths for file in self.digests.damaged(path)]

    def check(self) -> None:
        """Compares its files with their digests, without reading what they say.

        Raises:
            InputError: one is missing or damaged; the message names it and the command that makes it again.
        """
        if damaged := self.damaged():
            state = "is damaged: it is not what was written" if damaged[0].is_file() else "is missing"
            raise InputError(f"{damaged[0]} {state}. {self._mend}")
        if missing := [path for path in self.paths if not path.exists()]:
            raise InputError(f"{missing[0]} is missing. {self._mend}")

    def read(self) -> T:
        """What it holds.

        Raises:
            InputError: it is missing or damaged; the message names the file and the command that makes it again.
        """
        self.check()
        try:
            return self.load(self.path)
        except InputError as error:
            raise InputError(f"{error} {self._mend}") from error
        except DAMAGE as error:
            raise InputError(f"{self.path} is damaged ({type(error).__name__}: {error}). {self._mend}") from error

    def read_if_there(self) -> T | None:
        """What it holds, or None where the run did not make it.

        Raises:
            InputError: it is damaged, or was made and is gone.
        """
        return self.read() if any(path.exists() for path in self.paths) or self.damaged() else None

    def write(self, value: T) -> None:
        """Writes it, whole or not at all, in the place of what was there.

        Raises:
            ResourceError: the disk is full.
            StoreError: it cannot be written for another reason.
        """
        with self.changing():
            self.save(self.path, value)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keeps its digests true while it is written in another way than by :meth:`write`."""
        if self.digests is None:
            yield
            return
        _replace_links(self.path.parent, self.digests.folder)
        with self.digests.changing(*self.paths):
            yield

    def remove(self) -> None:
        """Deletes it, and nothing that a link points to.

        Raises:
            StoreError: it cannot be deleted.
        """
        with disk_errors(self.path), self.changing():
            for path in self.paths:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

    @property
    def _mend(self) -> str:
        return f"Make it again with: {self.command}"


def _replace_links(folder: Path, top: Path) -> None:
    """Puts folders in the place of links between a run folder and a file, which would lead writers out of it."""
    for part in [*reversed(folder.relative_to(top).parents), folder.relative_to(top)]:
        if (top / part).is_symlink() and top / part != top:
            (top / part).unlink()
    make_folder(folder)


@cache
def _form(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _read_as(kind: Any) -> Callable[[Path], Any]:
    """Reads JSON and checks its form, so that no reader meets a missing key or a word where a number should be."""

    def read(path: Path) -> Any:
        content = read_json(path)
        try:
            _form(kind).validate_python(content, strict=True)
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"])) or "its content"
            raise InputError(f"{path} is damaged ({place}: {fault['msg']}).") from error
        return content

    return read


class ModelFiles:
    """What new documents need, in the folder ``model`` of a run; BERTopic's own files are in it too.

    Attributes:
        path: the folder.
        topics: the topic model; its result lies beside the folder.
        fusion: what makes vectors of embeddings, with its statistics.
        encoder: options of the encoder, and its key in the store.
    """

    def __init__(self, path: Path, command: str, digests: Digests | None = None) -> None:
        self.path, self._digests = path, digests

        def file(name: str, load: Callable[[Path], T], save: Callable[[Path, T], None]) -> RunFile[T]:
            return RunFile(path / name, load, save, command, digests)

        self.topics: RunFile[TopicModel] = file("", TopicModel.load, lambda to, it: it.save(to, with_result=False))
        self.fusion: RunFile[Fusion] = file("fusion.safetensors", Fusion.load, lambda to, it: it.save(to))
        self.encoder: RunFile[dict[str, Any]] = file("encoder.json", _read_as(dict[str, Any]), write_json)

    @contextmanager
    def rewriting(self) -> Iterator[ModelFiles]:
        """The same files in a new folder to fill, which takes the old one's place at the end."""
        with self.topics.changing(), atomic_folder(self.path) as new:
            yield ModelFiles(new, self.topics.command)


class RunFiles:
    """Every file of a run folder by one attribute; nothing is read or checked before it is asked for.

    Attributes:
        path: the run folder.
        manifest: who ran what on what, with which versions; written when a run is complete.
        stages: finished stages by name.
        result: the topics, and the topic of every document.
        scores: by name.
        hierarchy: mergers of topics, the nearest first.
        over_time: topics by span of time.
        per_class: topics by label.
        experts: what routing says about the topics.
        stability: what other fits have in common with this one.
        refits: the folder with one file for each of those fits; see :meth:`refit`.
        model: what new documents need.
        report: the page.
        exports: folder of other forms of the report.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = folder = Path(path)
        self.digests = digests = Digests(folder)
        fit, report = run_command(folder), f"moee-topics report {folder}"

        def json_file(name: str, kind: type[T], **options: Any) -> RunFile[T]:
            return RunFile(folder / name, _read_as(kind), lambda to, it: write_json(to, it, **options), fit, digests)

        self.manifest = json_file("run.json", Manifest)
        self.stages = json_file("stages.json", dict[str, dict[str, Any]])
        self.scores = json_file("scores.json", Scores)
        self.hierarchy = json_file("hierarchy.json", list[Merger])
        self.over_time = json_file("over_time.json", list[Moment])
        self.per_class = json_file("per_class.json", list[ClassShare])
        self.stability = json_file("stability.json", dict[str, Any])
        self.experts: RunFile[ExpertReport] = RunFile(
            folder / "experts.json", ExpertReport.load, lambda to, it: it.save(to), fit, digests
        )
        self.result: RunFile[TopicResult] = RunFile(
            folder / "topics.parquet",
            lambda _: TopicResult.load(folder),
            lambda _, it: it.save(folder),
            fit,
            digests,
            (folder / "documents.parquet", folder / "topic_info.json"),
        )
        self.model = ModelFiles(folder / "model", fit, digests)
        self.report: RunFile[str] = RunFile(
            folder / "report.html", lambda page: page.read_text(encoding="utf-8"), write_text, report, digests
        )
        self.refits = self._folder("stability", fit)
        self.exports = self._folder("exports", report)

    def _folder(self, name: str, command: str) -> RunFile[None]:
        """A folder that others fill; it can be checked and removed as a file can."""
        return RunFile(self.path / name, lambda _: None, lambda to, _: make_folder(to), command, self.digests)

    def refit(self, kind: str, number: int) -> RunFile[dict[str, Any]]:
        """One of the fits that say how stable the topics are."""
        path = self.refits.path / f"{kind}-{number}.json"
        return RunFile(path, _read_as(dict[str, Any]), write_json, self.refits.command, self.digests)

    def whole(self, parts: Iterable[RunFile[Any]]) -> bool:
        """Whether some parts are as they were written, by their digests; parts without one are trusted."""
        try:
            return not any(part.damaged() for part in parts)
        except InputError:
            return False


class RunFolder:
    """A run as one finds it on disk: its files, and what they say, each read once when it is first asked for.

    Attributes:
        path: the folder.
        files: every file of it.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.files = RunFiles(self.path)

    @classmethod
    def read(cls, path: Path | str) -> RunFolder:
        """A run that has topics; whatever else it has is read when it is asked for.

        Raises:
            InputError: there is no folder, or no finished topic model in it, or a damaged one.
        """
        run = cls(path)
        if not run.path.is_dir():
            raise InputError(f"There is no run folder {path}. Give the folder that `moee-topics run` wrote.")
        if not run.files.result.path.exists() and not run.files.manifest.exists:
            raise InputError(
                f"{path} holds no finished run: topics.parquet is missing. Make one with: {run_command(run.path)}"
            )
        run.result  # noqa: B018 (what is no run is told now, before anything is made of it)
        return run

    @cached_property
    def manifest(self) -> Manifest:
        """Who ran what on what, with which versions; empty where a run is not complete."""
        return self.files.manifest.read_if_there() or {}

    @cached_property
    def result(self) -> TopicResult:
        """The topics, and the topic of every document."""
        return self.files.result.read()

    @cached_property
    def scores(self) -> Scores:
        """Scores by name, each with value, description and higher_is_better."""
        return self.files.scores.read_if_there() or {}

    @cached_property
    def hierarchy(self) -> list[Merger]:
        """Mergers of topics; empty where there are none."""
        return self.files.hierarchy.read_if_there() or []

    @cached_property
    def over_time(self) -> list[Moment]:
        """Topics by span of time; empty where documents have no time."""
        return self.files.over_time.read_if_there() or []

    @cached_property
    def experts(self) -> ExpertReport | None:
        """What routing says about the topics, where the model has routers."""
        return self.files.experts.read_if_there()

    @cached_property
    def stability(self) -> dict[str, Any] | None:
        """What other fits have in common with this one, where that was asked for."""
        return self.files.stability.read_if_there()

    @property
    def topics(self) -> pd.DataFrame:
        """One row per topic: topic, count, share, name, words."""
        return self.result.topics_frame()

    @property
    def documents(self) -> pd.DataFrame:
        """One row per document: id, text, topic, name, probability, x, y, and label and timestamp where known."""
        return self.result.to_pandas()

    @property
    def name(self) -> str:
        """The title that the recipe gives the report, or the run's name, or its folder's."""
        recipe = self.section("recipe").get("report")
        title = recipe.get("title") if isinstance(recipe, Mapping) else None
        return str(title or self.manifest.get("name") or self.path.resolve().name)

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

    def section(self, name: str) -> Mapping[str, Any]:
        """One section of the manifest, empty where it is missing."""
        section = self.manifest.get(name)
        return section if isinstance(section, Mapping) else {}

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
