from __future__ import annotations

import numpy as np

from moee_topics.topics.duplicate_rows import distinct_rows


def test_distinct_rows_are_found_in_order_and_zero_has_no_sign() -> None:
    X = np.array([[1.0, 2], [0.0, 1], [1, 2], [-0.0, 1], [3, 3]], np.float32)
    first, which = distinct_rows(X)
    assert first.tolist() == [0, 1, 4] and which.tolist() == [0, 1, 0, 1, 2]
