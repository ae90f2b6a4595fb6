from __future__ import annotations

import pytest

from moee_topics.report.verdicts import score_verdict, stability_verdict, topic_verdict


@pytest.mark.parametrize(
    ("name", "value", "level", "shown"),
    [
        ("npmi", 0.2, "good", "0.20"),
        ("npmi", -0.1, "weak", "-0.10"),
        ("outlier_share", 0.1, "good", "10 %"),
        ("outlier_share", 0.3, "fair", "30 %"),
        ("outlier_share", 0.6, "weak", "60 %"),
        ("ami", None, "none", "–"),
        ("ami", float("nan"), "none", "–"),
        ("inverted_rbo", 0.5, "none", "0.500"),
    ],
)
def test_a_score_is_read_by_its_direction(name: str, value: float | None, level: str, shown: str) -> None:
    score = score_verdict(name, {"value": value, "description": "what it is"})
    assert (score.level, score.value, score.description) == (level, shown, "what it is")


@pytest.mark.parametrize(
    ("jaccard", "mark"), [(None, ""), (0.0, "dissolves"), (0.49, "dissolves"), (0.5, "in part"), (0.75, "stable")]
)
def test_a_topic_is_called_stable_and_dissolved_by_the_bounds_of_hennig(jaccard: float | None, mark: str) -> None:
    assert topic_verdict(jaccard)[1] == mark


def test_the_sentence_on_stability_counts_topics_in_the_number_of_its_verb() -> None:
    assert stability_verdict("seeds", 0.8, [0.9, 0.2]).endswith("Of 2 topics 1 is stable and 1 dissolves.")
    assert stability_verdict("bootstrap", 0.8, [0.9, 0.9]).endswith("Of 2 topics 2 are stable and 0 dissolve.")
    assert stability_verdict("seeds", None, []) == "Could not be computed."
