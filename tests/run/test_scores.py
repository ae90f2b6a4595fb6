"""The scores of a recipe: those that were asked for, in their order, and labels only where there are any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from moee_topics.run.scores import evidence_of, score_topics
from moee_topics.run_folder import RunFolder
from moee_topics.topics import TopicModel


@pytest.fixture(scope="module")
def model(finished: Path) -> TopicModel:
    return RunFolder(finished / "run").model


def test_scores_are_those_asked_for_in_their_order(model: TopicModel) -> None:
    scores = score_topics(evidence_of(model), ["outliers", "ami", "npmi"])
    assert list(scores) == ["outlier_share", "ami", "ami_without_outliers", "npmi"]
    assert scores["outlier_share"].value == pytest.approx((model.result.topics < 0).mean())


def test_without_labels_there_is_no_agreement_with_them(model: TopicModel) -> None:
    unlabelled = TopicModel(model.model, replace(model.result, labels=None), model.settings, model.voters)
    assert list(score_topics(evidence_of(unlabelled), ["ami", "ari", "v_measure", "topic_diversity"])) == [
        "topic_diversity"
    ]


def test_a_document_that_stands_often_counts_once_in_the_agreement_with_labels(model: TopicModel) -> None:
    once = score_topics(evidence_of(model), ["ami", "ari", "v_measure"])
    result, rows = model.result, [*range(len(model.result.texts)), *[0] * 50]
    columns = {name: [getattr(result, name)[row] for row in rows] for name in ("ids", "texts", "labels")}
    arrays = {name: getattr(result, name)[rows] for name in ("topics", "probabilities", "positions")}
    more = replace(result, timestamps=None, **columns, **arrays)
    copied = TopicModel(model.model, more, model.settings, model.voters)
    assert score_topics(evidence_of(copied), ["ami", "ari", "v_measure"]) == once
