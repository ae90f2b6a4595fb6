"""What a layer carries of the topics, beside what it carries of shuffled ones."""

from __future__ import annotations

import numpy as np
import pytest
from routing_doubles import planted

from moee_topics.evaluate.expert_report import ExpertReport


def test_a_layer_without_topics_carries_what_shuffled_topics_carry(report: ExpertReport) -> None:
    silent, telling, _ = report.information
    assert abs(silent.information - silent.information_shuffled) < 0.03
    assert telling.information > 5 * telling.information_shuffled
    assert telling.recovered > 1.5 * telling.recovered_shuffled
    assert 0.5 < silent.balance < 1


def test_information_agrees_with_scikit_learn(report: ExpertReport) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    weights, topics = planted(np.random.default_rng(0))
    inside = topics >= 0
    top = weights[inside, 1].argmax(-1)
    entropy = metrics.mutual_info_score(topics[inside], topics[inside])
    assert report.information[1].information == pytest.approx(
        metrics.mutual_info_score(top, topics[inside]) / entropy, abs=1e-4
    )
