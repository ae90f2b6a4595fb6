"""One thing that a run keeps, declared in one line: its name, how it is read, how it is written."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Never, overload

from pyarrow import ArrowException
from safetensors import SafetensorError
from typing_extensions import TypeVar  # the one of typing has defaults since Python 3.13

from moee_topics.errors import InputError, RecipeError
from moee_topics.run_folder.names import run_command
from moee_topics.store import disk_errors, link_files, make_folder, read_json, write_json

if TYPE_CHECKING:
    from moee_topics.run_folder.folder import RunFolder

T = TypeVar("T")
Absent = TypeVar("Absent", default=Never)

Maker = Literal["run", "report", "update", "topics label", "topics check"]

REQUIRED: Any = object()
DAMAGE = (
    OSError,  # a file that is a folder, or on a disk with a bad block
    ValueError,  # JSON and UTF-8 that are none, numbers where text stands, arrays of another shape
    LookupError,  # a key that a file of BERTopic lacks, a row beyond the end
    TypeError,  # BERTopic takes JSON as it comes: a list where it looks up a name,
    AttributeError,  # or whose items it asks for
    ArrowException,  # Parquet
    SafetensorError,
    RecipeError,  # a decision that is none
)
"""What readers of a run's files raise at bytes that are not what was written."""


@dataclass(eq=False)
class RunFile(Generic[T, Absent]):
    """A file of every run, several that belong together, or a folder; an attribute of the class :class:`RunFolder`.

    ``run.scores`` is what the file of one run holds, read once. ``RunFolder.scores`` is the declaration itself, whose
    methods take the run: ``RunFolder.scores.write(run, scores)``.

    Attributes:
        name: of the file in the run folder.
        load: reads it.
        save: writes it, atomically.
        absent: what is given where a run did not make it; it must be there unless this is set.
        made_by: the command that makes it again.
        beside: further files that belong to it.
    """

    name: str
    load: Callable[[Path], T]
    save: Callable[[Path, T], None]
    absent: Absent = REQUIRED
    made_by: Maker = "run"
    beside: tuple[str, ...] = ()
    attribute: str = field(default="", init=False)

    def __set_name__(self, owner: type, name: str) -> None:
        self.attribute = name

    @overload
    def __get__(self, run: None, owner: type) -> RunFile[T, Absent]: ...
    @overload
    def __get__(self, run: RunFolder, owner: type) -> T | Absent: ...
    def __get__(self, run: RunFolder | None, owner: type) -> RunFile[T, Absent] | T | Absent:
        """The declaration of the class, and of a run the content; as in ``cached_property``, the next look is free."""
        if run is None:
            return self
        content = vars(run)[self.attribute] = self.read(run)
        return content

    def path(self, run: RunFolder) -> Path:
        """The file or the folder."""
        return run.path / self.name

    def paths(self, run: RunFolder) -> list[Path]:
        """All its files, or its folder."""
        return [run.path / name for name in (self.name, *self.beside)]

    def exists(self, run: RunFolder) -> bool:
        """Whether all of it is there."""
        return all(path.exists() for path in self.paths(run))

    def damaged(self, run: RunFolder) -> list[Path]:
        """Files of it that are gone or are not what was written, by their digests; those without one are trusted.

        Raises:
            InputError: the digests are damaged themselves.
        """
        return [file for path in self.paths(run) for file in run.digests.damaged(path)]

    def check(self, run: RunFolder) -> None:
        """Compares its files with their digests, without reading what they say.

        Raises:
            InputError: one is missing or damaged; the message names it and the command that makes it again.
        """
        if damaged := self.damaged(run):
            state = "is damaged: it is not what was written" if damaged[0].is_file() else "is missing"
            raise InputError(f"{damaged[0]} {state}. {self._mend(run)}")
        if missing := [path for path in self.paths(run) if not path.exists()]:
            raise InputError(f"{missing[0]} is missing. {self._mend(run)}")

    def read(self, run: RunFolder) -> T | Absent:
        """What it holds now; ``absent`` where the run did not make it.

        Raises:
            InputError: it is damaged, or was made and is gone; the message says how it is made again.
        """
        never_made = not any(path.exists() for path in self.paths(run)) and not self.damaged(run)
        if never_made and self.absent is not REQUIRED:
            return copy(self.absent)
        self.check(run)
        try:
            return self.load(self.path(run))
        except InputError as error:
            raise InputError(f"{error} {self._mend(run)}") from error
        except DAMAGE as error:
            fault = f"{type(error).__name__}: {error}"
            raise InputError(f"{self.path(run)} is damaged ({fault}). {self._mend(run)}") from error

    def write(self, run: RunFolder, content: T) -> None:
        """Writes it, whole or not at all, in the place of what was there.

        Raises:
            ResourceError: the disk is full.
            StoreError: it cannot be written for another reason.
        """
        with self.changing(run):
            self.save(self.path(run), content)

    @contextmanager
    def changing(self, run: RunFolder) -> Iterator[None]:
        """Keeps its digests true while it is written in another way than by :meth:`write`."""
        vars(run).pop(self.attribute, None)
        # A folder takes the place of a link on the way, which would lead the writer out of the run folder.
        for folder in reversed(self.path(run).relative_to(run.path).parents):
            if folder != Path() and (run.path / folder).is_symlink():
                (run.path / folder).unlink()
        make_folder(self.path(run).parent)
        with run.digests.changing(*self.paths(run)):
            yield

    def take(self, run: RunFolder, other: RunFolder) -> None:
        """Has it as another run has it, without a copy of what it holds; nothing where that run has none.

        Raises:
            InputError: it is damaged there.
        """
        if not self.exists(other) and not self.damaged(other):
            return
        self.check(other)
        with self.changing(run):
            for path in self.paths(other):
                link_files(path, run.path / path.relative_to(other.path))

    def remove(self, run: RunFolder) -> None:
        """Deletes it, and nothing that a link points to.

        Raises:
            StoreError: it cannot be deleted.
        """
        with disk_errors(self.path(run)), self.changing(run):
            for path in self.paths(run):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

    def _mend(self, run: RunFolder) -> str:
        root, files = run.root, type(run)
        if self.made_by == "update":
            return f"Delete it to go back to the run's own fit, and update that again: moee-topics update {root.path}"
        if self.made_by == "topics label":
            return f"Delete it; the language model is asked again by: moee-topics topics label {root.path}"
        if self.made_by != "run":
            return f"Make it again with: moee-topics {self.made_by} {run.path}"
        if files.result.exists(root) and not files.model.exists(root):  # copied for its report, as those of the gallery
            return (
                f"{root.path} has no model, as a copy for reports, tables and comparisons. Predictions, updates and "
                f"decisions need the whole folder of the run: copy that. Make it again with: {run_command(root.path)}"
            )
        return f"Make it again with: {run_command(run.path)}"


@overload
def json_file(name: str, kind: type[T], absent: None, made_by: Maker = ...) -> RunFile[T, None]: ...
@overload
def json_file(name: str, kind: type[T], absent: T = ..., made_by: Maker = ...) -> RunFile[T]: ...
def json_file(name: str, kind: Any, absent: Any = REQUIRED, made_by: Maker = "run") -> RunFile[Any, Any]:
    """A file of JSON whose form is checked."""
    return RunFile(name, lambda path: read_json(path, kind=kind), write_json, absent, made_by)


def folder(name: str, made_by: Maker = "run") -> RunFile[Path, Path | None]:
    """A folder that others fill; it can be checked and removed as a file can."""
    return RunFile(name, lambda path: path, lambda path, _: make_folder(path), None, made_by)
