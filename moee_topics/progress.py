"""What the pipeline tells whoever runs it while it works, and how errors of the machine reach the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from moee_topics.errors import Interrupted, ResourceError


class Progress:
    """Listens to the pipeline; this one hears nothing, the command line's draws bars."""

    def begin(self, stage: str, what: str) -> None:
        """A stage begins."""

    def advance(self, done: int, total: int, unit: str = "documents") -> None:
        """So much of the stage is done."""

    def end(self, stage: str, seconds: float, outcome: str) -> None:
        """A stage ended."""

    def skip(self, stage: str, why: str) -> None:
        """A stage is done already."""

    def note(self, message: str) -> None:
        """Something a person should know."""


@contextmanager
def resumable(how: str) -> Iterator[None]:
    """An interruption inside becomes an error that says how to go on, and lack of memory one that says what to do."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(f"Interrupted. {how}") from error
    except MemoryError as error:
        raise ResourceError(f"Not enough memory. {LESS_MEMORY}") from error
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError" and "can't allocate memory" not in str(error):
            raise
        first = str(error).partition("\n")[0]
        raise ResourceError(f"Not enough memory ({first}). {LESS_MEMORY}") from error


LESS_MEMORY = (
    "Try encoder.tokens_per_batch=4096, a smaller encoder.max_tokens, encoder.quantize=nf4 or corpus.limit=N; "
    "moee-topics estimate RECIPE says what is needed. What is stored so far is kept."
)
