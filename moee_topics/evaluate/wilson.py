"""The interval of a share that was counted."""

from __future__ import annotations

import math

Z_95, Z_99 = 1.96, 2.576
"""Standard errors on each side of an interval that holds 95 and 99 of 100."""


def wilson_interval(share: float, count: int, z: float = Z_95) -> tuple[float, float]:
    """The interval of a share of ``count`` trials, by Wilson (1927, doi:10.1080/01621459.1927.10502953); of 95 %.

    It stays within 0 and 1 and is sound for few trials and for shares of 0 and 1, where the usual one has no width.
    """
    middle = share + z**2 / (2 * count)
    around = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    whole = 1 + z**2 / count
    return max(0.0, (middle - around) / whole), min(1.0, (middle + around) / whole)
