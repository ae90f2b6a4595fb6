"""Errors of the machine reach the user with what to do; all others stay what they are."""

from __future__ import annotations

import errno

import pytest

from moee_topics.errors import Interrupted, ResourceError
from moee_topics.progress import Progress, Warnings, resumable


class OutOfMemoryError(RuntimeError):
    """Called as torch's is."""


def test_an_interruption_says_how_to_go_on() -> None:
    with pytest.raises(Interrupted, match=r"Interrupted\. Run it again\."), resumable("Run it again."):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "error",
    [MemoryError(), OutOfMemoryError("CUDA out of memory\nmore"), RuntimeError("allocator: can't allocate memory: x")],
)
def test_lack_of_memory_says_what_to_change(error: Exception) -> None:
    with pytest.raises(ResourceError, match=r"encoder\.tokens_per_batch") as told, resumable("Run it again."):
        raise error
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("named", [True, False])
def test_a_full_disk_of_a_library_says_where_and_how_to_go_on(named: bool) -> None:
    """Such as the cache of compiled code, which numba writes without a word of ours."""
    full = OSError(errno.ENOSPC, "No space left on device", *(["/cache/x.nbi"] if named else []))
    with (
        pytest.raises(ResourceError, match=r"NUMBA_CACHE_DIR and HF_HOME\. Run it again") as told,
        resumable("Run it again."),
    ):
        raise ValueError("wrapped by a library") from full
    assert ("/cache/x.nbi" if named else "a temporary file of a library") in str(told.value)
    with pytest.raises(ResourceError, match="Needed: 3 GiB"), resumable(""):
        raise OSError("Not enough disk space. Needed: 3 GiB")
    with pytest.raises(FileNotFoundError), resumable(""):
        raise FileNotFoundError("x")


def test_any_other_error_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), resumable("Run it again."):
        raise RuntimeError("shapes differ")


def test_a_progress_that_nobody_listens_to_hears_everything() -> None:
    silent = Progress()
    silent.begin("fit", "topics")
    silent.advance(1, 2)
    silent.end("fit", 1.0, "done")
    silent.skip("fit", "done already")
    silent.note("something")


def test_from_python_a_note_is_a_warning() -> None:
    with pytest.warns(UserWarning, match="Not applied: merge 4 and 7"):
        Warnings().note("Not applied: merge 4 and 7")
