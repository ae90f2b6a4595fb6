"""Scores: equal to plain loops, bounded by what they say, and silent where they are not defined."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import adjusted_mutual_info_score

from moee_topics.errors import InputError
from moee_topics.evaluate.duplicate_texts import first_of_each
from moee_topics.evaluate.score import Score
from moee_topics.evaluate.topic_scores import (
    SCORES,
    Evidence,
    cluster_scores,
    outlier_share,
    prediction_agreement,
)
from moee_topics.evaluate.word_scores import DocumentTerms, inverted_rbo, npmi, topic_diversity
from moee_topics.topics.voters import Voters

WORDS = ["ape", "bee", "cat", "dog", "elk", "fox"]


def corpus(documents: int, seed: int = 0) -> list[str]:
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, size=generator.integers(0, 6))) for _ in range(documents)]


def test_outliers_are_counted() -> None:
    assert outlier_share([-1, 0, 1, -1]).value == 0.5
    assert outlier_share([]).value is None
    assert not outlier_share([0]).higher_is_better


def test_a_perfect_grouping_scores_one_whatever_the_topics_are_called() -> None:
    scores = cluster_scores(["x", "x", "y", "y"], [7, 7, 3, 3])
    assert {score.value for score in scores.values()} == {1.0}


def test_outliers_are_one_topic_or_left_out_as_the_name_says() -> None:
    labels = ["x", "x", "x", "y", "y", "y"]
    topics = [0, 0, -1, 1, 1, -1]
    scores = cluster_scores(labels, topics)
    assert scores["ami_without_outliers"].value == 1.0
    assert scores["ami"].value == pytest.approx(adjusted_mutual_info_score(labels, topics))
    assert scores["ami"].value < 1.0


def test_documents_without_a_label_do_not_count() -> None:
    with_gaps = cluster_scores(["x", None, "y", "", "x", math.nan], [0, 5, 1, 1, 0, 6])
    assert {name: s.value for name, s in with_gaps.items()} == {
        name: s.value for name, s in cluster_scores(["x", "y", "x"], [0, 1, 0]).items()
    }
    assert cluster_scores([None, None], [0, 1])["ami"].value is None


def test_labels_and_topics_must_be_of_the_same_documents() -> None:
    with pytest.raises(InputError, match="got 1 for 2 documents"):
        cluster_scores(["x"], [0, 1])


def test_every_score_is_data_with_a_sentence() -> None:
    topics = [["ape", "bee"], ["cat", "dog"]]
    scores = cluster_scores(["x", "y"], [0, 1]) | {
        "npmi": npmi(topics, DocumentTerms.of(corpus(20), topics)),
        "topic_diversity": topic_diversity(topics),
        "inverted_rbo": inverted_rbo(topics, top=2),
        "outliers": outlier_share([0, -1]),
    }
    for score in scores.values():
        assert Score(**json.loads(json.dumps(asdict(score), allow_nan=False))) == score
        assert score.description.endswith(".")
        assert ". " not in score.description


def test_prediction_agrees_by_the_mean_over_topics_without_the_outliers() -> None:
    score = prediction_agreement([0, 0, 0, 0, 1, -1], [0, 0, 0, 1, 0, 0])
    assert score.value == pytest.approx((3 / 4 + 0) / 2) and score.higher_is_better
    assert prediction_agreement([-1, -1], [0, 0]).value is None


@pytest.mark.parametrize("copies", [1, 5])
def test_random_labels_and_topics_agree_on_nothing_and_v_measure_does_not_say_so(copies: int) -> None:
    rng = np.random.default_rng(copies)
    texts = np.repeat(np.arange(300), copies)
    labels, topics = (rng.integers(low, 20, 300)[texts] for low in (0, -1))
    rows = first_of_each(texts.tolist())
    scores = cluster_scores(labels[rows].tolist(), topics[rows])
    for name in ("ami", "ari", "ami_without_outliers", "ari_without_outliers"):
        assert abs(scores[name].value or 0) < 0.05, name
    shuffled = cluster_scores(rng.permutation(labels[rows]).tolist(), topics[rows])
    assert scores["v_measure"].value == pytest.approx(shuffled["v_measure"].value, abs=0.05) and (
        (shuffled["v_measure"].value or 0) > 0.2
    )


def test_prediction_from_random_vectors_agrees_as_often_as_guessing() -> None:
    rng = np.random.default_rng(0)
    texts = np.repeat(np.arange(400), 3)
    vectors, topics = rng.normal(size=(400, 16))[texts], rng.integers(0, 10, 400)[texts]
    agreement = prediction_agreement(*Voters.fit(vectors, topics).leave_one_out())
    assert agreement.value == pytest.approx(1 / 10, abs=0.05)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), documents=st.integers(1, 40))
def test_every_score_lies_in_its_range_and_is_there_or_left_out_by_what_it_needs(seed: int, documents: int) -> None:
    rng = np.random.default_rng(seed)
    texts, topics = corpus(documents, seed), rng.integers(-1, 4, documents)
    words = [list(rng.permutation(WORDS)[: rng.integers(1, 5)]) for _ in range(4)]
    votes = (topics, rng.permutation(topics))
    for labels in (None, [rng.choice(["x", "y", ""]) for _ in texts]):
        evidence = Evidence(words, topics, texts, labels, CountVectorizer(), lambda: votes)
        for score in SCORES.values():
            scores = score.of(evidence)
            assert (not scores) == (labels is None and "labelled" in score.needs)
            low, high = score.range
            assert all(one.value is None or low - 1e-9 <= one.value <= high + 1e-9 for one in scores.values())
            assert score.reading is None or score.key in scores or labels is None


def test_what_several_scores_need_is_made_once_and_only_for_them() -> None:
    calls = []
    evidence = Evidence(
        [["ape"]], [0, 0], ["ape", "bee"], None, CountVectorizer(), lambda: calls.append(1) or ([0, 0], [0, 0])
    )
    SCORES["outliers"].of(evidence)
    assert not calls
    SCORES["prediction"].of(evidence), SCORES["prediction"].of(evidence)
    assert len(calls) == 1


NEW_SCORE = """
from moee_topics.evaluate import topic_scores
reading = topic_scores.Reading("Breadth", 1, 2, "Narrow.", "Usual.", "Broad.")
breadth = lambda words: topic_scores.Score(float(len(words)), "How many topics.", True)
topic_scores.SCORES["breadth"] = topic_scores.TopicScore("topic_breadth", ("words",), breadth, (0, 1000), reading)

from moee_topics.recipe import parse_recipe
from moee_topics.report.verdicts import READINGS, score_verdict
recipe = parse_recipe({"corpus": {"source": "docstrings"}})
assert recipe.scores[-1] == "breadth"
assert parse_recipe({"corpus": {"source": "docstrings"}, "scores": ["breadth"]}).scores == ("breadth",)
assert score_verdict("topic_breadth", {"value": 2.0}).text == "Broad." and "topic_breadth" in READINGS
"""


def test_a_new_score_is_one_entry_that_recipe_and_report_learn_of() -> None:
    done = subprocess.run([sys.executable, "-c", NEW_SCORE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_names_of_the_scores_are_there_without_scikit_learn() -> None:
    code = "import sys, moee_topics.recipe; assert not {'sklearn', 'scipy', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
