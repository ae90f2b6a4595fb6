"""The peak of this process is that of the operating system, in bytes."""

from __future__ import annotations

import psutil

from moee_topics.run.peak_memory import peak_memory_bytes


def test_the_peak_is_no_less_than_what_is_held_and_never_falls() -> None:
    held = psutil.Process().memory_info().rss
    before = peak_memory_bytes()
    assert 0.9 * held < before < psutil.virtual_memory().total  # the two are counted a moment apart
    assert peak_memory_bytes() >= before
