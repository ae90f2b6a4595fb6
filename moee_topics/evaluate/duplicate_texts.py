"""Texts that stand several times in a corpus: what is corrected for chance must count each once.

Copies have one topic and often one label, so they agree with themselves in any clustering. With 200 texts in five
copies each and random labels, AMI is 0.26 and ARI 0.07 over all documents and some 60 experts pass as significant; over
the different texts all three are 0.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import NDArray


def first_of_each(values: Iterable[Hashable]) -> NDArray[np.int64]:
    """Where each different value stands first, in rising order."""
    rows: dict[Hashable, int] = {}
    for row, value in enumerate(values):
        rows.setdefault(value, row)
    return np.fromiter(rows.values(), dtype=np.int64, count=len(rows))
