"""How much memory this process has held, as the operating system counts it."""

from __future__ import annotations

import sys


def peak_memory_bytes() -> int:
    """The most resident memory this process has held."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
