"""What a task is here: a name and a way to make it afresh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from moee_topics.errors import import_extra


@dataclass(frozen=True)
class TaskSource:
    """A task that can be made again and again.

    Attributes:
        name: its name in results and tables.
        type: mteb's task type.
        main_score: the score mteb ranks it by.
        make: makes a fresh mteb task object.
        local: whether its data is a local file.
        left_out: rows and candidates of the file that are not scored.
    """

    name: str
    type: str
    main_score: str
    make: Callable[[], Any] = field(repr=False)
    local: bool = False
    left_out: int = 0


@dataclass(frozen=True)
class VersionedTask:
    """A task and the version of its data, which a stored result must be of.

    Attributes:
        source: the task.
        revision: of the data set; of a local file a digest of its content and of how it is sampled.
    """

    source: TaskSource
    revision: str

    @classmethod
    def of(cls, source: TaskSource) -> VersionedTask:
        """Asks the task itself."""
        return cls(source, str(source.make().metadata.revision))

    @property
    def name(self) -> str:
        """The task's name."""
        return self.source.name


def mteb(module: str = "") -> Any:
    """mteb, or one of its modules; it is an extra.

    Raises:
        MissingExtraError: it is not installed.
    """
    return import_extra(f"mteb.{module}" if module else "mteb", "mteb")
