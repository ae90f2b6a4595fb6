"""A topic result of five documents, one of them hostile."""

from __future__ import annotations

import numpy as np

from moee_topics.topics.result import OUTLIERS, Topic, TopicResult

HOSTILE = "<script>alert('x')</script>"


def result(**changed: object) -> TopicResult:
    """The five documents in two topics, with some fields replaced."""
    given: dict[str, object] = {
        "ids": ["a", "b", "c", "d", "e"],
        "texts": ["orbit one", HOSTILE, "puck one", "orbit two", "puck two"],
        "topics": np.array([0, OUTLIERS, 1, 0, 0]),
        "probabilities": np.array([0.5, 0.0, 1.0, 0.9, 0.7], dtype=np.float32),
        "positions": np.arange(10, dtype=np.float32).reshape(5, 2),
        "topic_info": [
            Topic(OUTLIERS, 1, "outliers", [("the", 0.1)]),
            Topic(0, 3, "orbit", [("orbit", 0.9), (HOSTILE, 0.2)], {"mmr": [("rocket", 0.5)]}, [0, 4]),
            Topic(1, 1, "puck", [("puck", 0.8)]),
        ],
        "labels": ["space", "none", "hockey", "space", "space"],
        "timestamps": ["1993-04-01"] * 5,
    }
    return TopicResult(**{**given, **changed})  # type: ignore[arg-type]
