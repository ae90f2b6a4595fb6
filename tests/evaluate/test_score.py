"""Scores can be read: every bound has a side for better and one for worse, and nothing has no mean."""

from __future__ import annotations

import numpy as np
import pytest

from moee_topics.evaluate.score import Reading, mean_or_none
from moee_topics.evaluate.stability import STABILITY_READINGS
from moee_topics.evaluate.topic_scores import SCORES

READINGS = {**{score.key: score.reading for score in SCORES.values() if score.reading}, **STABILITY_READINGS}


def test_of_nothing_there_is_no_mean() -> None:
    assert mean_or_none(np.zeros(0)) is None and mean_or_none(np.array([1.0, 2.0])) == 1.5


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
def test_a_reading_has_two_bounds_and_three_sentences(reading: Reading) -> None:
    assert reading.fair != reading.good and reading.title
    sentences = (reading.weak_text, reading.fair_text, reading.good_text)
    assert len(set(sentences)) == 3 and all(text.endswith(".") for text in sentences)
