"""Which rows of a matrix are copies of one before them."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def distinct_rows(X: NDArray[np.floating]) -> tuple[Rows, Rows]:
    """Where every distinct row of X stands first, (U,) in rising order, and which of these each row is, (N,)."""
    numbers: dict[bytes, int] = {}
    first: list[int] = []
    which = np.empty(len(X), dtype=np.int64)
    for row, vector in enumerate(X):
        content = hashlib.blake2b((vector + 0.0).tobytes(), digest_size=16).digest()  # + 0.0 makes one zero of two
        number = numbers.setdefault(content, len(numbers))
        if number == len(first):
            first.append(row)
        which[row] = number
    return np.asarray(first, dtype=np.int64), which
