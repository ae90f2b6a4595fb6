"""The interval of a share that was counted."""

from __future__ import annotations

import math

Z_95 = 1.96


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of ``count`` trials, by Wilson (1927, doi:10.1080/01621459.1927.10502953).

    It stays within 0 and 1 and is sound for few trials and for shares of 0 and 1, where the usual one has no width.
    """
    middle = share + Z_95**2 / (2 * count)
    around = Z_95 * math.sqrt(share * (1 - share) / count + Z_95**2 / (4 * count**2))
    whole = 1 + Z_95**2 / count
    return max(0.0, (middle - around) / whole), min(1.0, (middle + around) / whole)
