"""The experts of routing whose topics are known."""

from __future__ import annotations

import numpy as np
import pytest
from routing_doubles import planted

from moee_topics.evaluate.expert_report import ExpertReport
from moee_topics.evaluate.topic_experts import find_experts


@pytest.fixture(scope="module")
def report() -> ExpertReport:
    weights, topics = planted(np.random.default_rng(0))
    return find_experts(weights, topics, rng=np.random.default_rng(1))
