"""What a run tells whoever started it while it works, and how errors of the machine reach the user."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from moee_topics.errors import Interrupted, ResourceError
from moee_topics.messages import first_lines


class Progress:
    """Is told what happens; this one does nothing with it, the command line's draws bars."""

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


class Warnings(Progress):
    """Says in warnings of Python what a person should know, where no command line shows it."""

    def note(self, message: str) -> None:
        """Warns."""
        warnings.warn(message, stacklevel=2)


@contextmanager
def resumable(how: str) -> Iterator[None]:
    """An interruption inside becomes an error that says how to go on, and lack of memory or disk what to do."""
    try:
        with disk_space(how):
            yield
    except KeyboardInterrupt as error:
        raise Interrupted(f"Interrupted. {how}") from error
    except MemoryError as error:
        raise ResourceError(f"Not enough memory. {LESS_MEMORY}") from error
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError" and "can't allocate memory" not in str(error):
            raise
        raise ResourceError(f"Not enough memory ({first_lines(error)}). {LESS_MEMORY}") from error


@contextmanager
def disk_space(how: str) -> Iterator[None]:
    """A full disk of a library inside, whose caches are not ours to write, becomes an error that says what to do.

    Raises:
        ResourceError: the disk is full; ``how`` ends the message.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        if full := full_disk(error, how):
            raise full from error
        raise


def full_disk(error: BaseException | None, how: str) -> ResourceError | None:
    """What to tell the user where a full disk is the cause of an error, or the cause of its cause."""
    while error is not None:
        numbers = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        is_full = isinstance(error, OSError) and error.errno in numbers
        if is_full or str(error).startswith("Not enough disk space"):  # datasets asks before it fetches
            # numba, joblib and others write to an opened file, and the error has no name then.
            place = getattr(error, "filename", None) or "a cache or a temporary file of a library"
            return ResourceError(
                f"The disk is full: {place} could not be written ({error}). Make room, or name other places with "
                f"TMPDIR, NUMBA_CACHE_DIR and HF_HOME. {how}"
            )
        error = error.__cause__ or error.__context__
    return None


LESS_MEMORY = (
    "Try encoder.tokens_per_batch=4096, a smaller encoder.max_tokens, encoder.quantize=nf4 or corpus.limit=N; "
    "moee-topics estimate RECIPE says what is needed. What is stored so far is kept."
)
