"""One step of a run: what its result depends on, whether it is done, and how to do it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
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
    """A step of a run. A new one is a file with a subclass and its entry in the list ``STAGES``."""

    name: ClassVar[str]

    def is_wanted(self, work: Workspace) -> bool:
        """Whether the recipe asks for it."""
        return True

    @abstractmethod
    def inputs(self, work: Workspace) -> str | None:
        """Fingerprint of all that its result depends on; None where that cannot be known yet."""

    def outputs(self, work: Workspace) -> Sequence[RunFile[Any]]:
        """The files of the run folder that it cannot be done without."""
        return ()

    def optional_outputs(self, work: Workspace) -> Sequence[RunFile[Any]]:
        """The files that it writes where a corpus or a recipe gives cause to."""
        return ()

    def is_done(self, work: Workspace) -> bool:
        """Whether it was finished with the same inputs and its files are there and as it wrote them."""
        inputs = self.inputs(work)
        if inputs is None or work.ledger.done(self.name, inputs) is None:
            return False
        outputs = self.outputs(work)
        return all(file.exists for file in outputs) and work.files.whole([*outputs, *self.optional_outputs(work)])

    def needs_work(self, work: Workspace) -> bool:
        """Whether a run would have anything to do here, for a plan."""
        return not self.is_done(work)

    @abstractmethod
    def plan(self, work: Workspace) -> str:
        """Why it must be done, or what is there already."""

    @abstractmethod
    def run(self, work: Workspace) -> Outcome:
        """Does it; killed at any moment and begun again, it ends with the same result."""

    def drop(self, work: Workspace) -> None:
        """Takes away what it once made: it is not asked for any more, or what it was made of is made anew."""
        for file in (*self.outputs(work), *self.optional_outputs(work)):
            file.remove()
