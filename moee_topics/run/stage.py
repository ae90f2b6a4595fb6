"""One step of a run: what its result depends on, whether it is done, and how to do it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import RunFile


@dataclass(frozen=True)
class Outcome:
    """What a stage did.

    Attributes:
        line: for people.
        facts: what the manifest and a later run want to know; plain JSON.
    """

    line: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class Stage(ABC):
    """A step of a run. A new one is a file with a subclass and its entry in the list ``STAGES``.

    Attributes:
        name: in the recipe's order of things, the manifest and the progress.
        outputs: the files that it cannot be done without.
        optional_outputs: the files that it writes where a corpus or a recipe gives cause to.
    """

    name: ClassVar[str]
    outputs: ClassVar[tuple[RunFile[Any, Any], ...]] = ()
    optional_outputs: ClassVar[tuple[RunFile[Any, Any], ...]] = ()

    def is_wanted(self, work: Workspace) -> bool:
        """Whether the recipe asks for it."""
        return True

    @abstractmethod
    def inputs(self, work: Workspace) -> str | None:
        """Fingerprint of all that its result depends on; None where that cannot be known yet."""

    def is_done(self, work: Workspace) -> bool:
        """Whether it was finished with the same inputs and its files are there and as it wrote them."""
        inputs = self.inputs(work)
        if inputs is None or work.ledger.done(self.name, inputs) is None:
            return False
        # The record is newer than the files, but somebody may have deleted or changed some since.
        is_there = all(file.exists(work.run) for file in self.outputs)
        return is_there and work.run.whole([*self.outputs, *self.optional_outputs])

    def reason(self, work: Workspace, *, done: bool) -> str:
        """Why it must be done, or what is there already."""
        return "nothing it depends on has changed" if done else "its inputs are new or changed"

    @abstractmethod
    def run(self, work: Workspace) -> Outcome:
        """Does it; killed at any moment and begun again, it ends with the same result."""

    def drop(self, work: Workspace) -> None:
        """Takes away what it once made: it is not asked for any more, or what it was made of is made anew."""
        for file in (*self.outputs, *self.optional_outputs):
            file.remove(work.run)
