"""What is remembered of new documents: the topics of all, the vectors of a random part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_runs import write_corpus

from moee_topics import run as pipeline
from moee_topics.corpus import CorpusSettings, open_corpus
from moee_topics.evaluate import far_documents
from moee_topics.run import Predictor, new_documents
from moee_topics.run.new_documents import NewDocuments
from moee_topics.run_folder import RunFolder


@pytest.fixture(scope="module")
def predictor(finished: Path) -> Predictor:
    return Predictor.load(finished / "run")


def shown(predictor: Predictor, vectors: np.ndarray, topics: list[int]) -> NewDocuments:
    seen = NewDocuments(predictor.known, predictor.own, predictor.model.result.topics, 0)
    for start in range(0, len(vectors), 10):
        part = vectors[start : start + 10]
        seen.add(part, predictor.nearest(part), topics[start : start + 10], np.ones(len(part), bool))
    return seen


def elsewhere(predictor: Predictor, count: int) -> np.ndarray:
    """Vectors in directions by chance, which in many dimensions are near to nothing."""
    shape = count, predictor.model.voters.vectors.shape[1]
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_documents_of_the_same_kind_do_not_drift(finished: Path, tmp_path: Path) -> None:
    new = open_corpus(CorpusSettings(str(write_corpus(tmp_path / "new.jsonl", 60, first=1000))))
    predictions = pipeline.predict(finished / "run", new)
    assert predictions.drift() is None, "none was asked for yet"
    rows = list(predictions)
    drift = predictions.drift()
    assert drift is not None and drift.documents == 60 and drift.routing is None
    assert drift.far == pytest.approx(np.mean([row.far for row in rows])) and drift.far < 0.2
    now = {share.topic: share.now for share in drift.topics if share.now}
    assert now == {topic: pytest.approx(sum(row.topic == topic for row in rows) / 60) for topic in now}
    before = {share.topic: share.before for share in drift.topics if share.before}
    own = RunFolder(finished / "run").result.topics
    assert before == {topic: pytest.approx(np.mean(own == topic)) for topic in before}


def test_documents_of_the_fit_are_no_new_ones(finished: Path, corpus: Path) -> None:
    predictions = pipeline.predict(finished / "run", open_corpus(CorpusSettings(str(corpus))))
    assert not any(row.far for row in predictions) and predictions.drift() is None


def test_far_is_what_few_documents_of_the_fit_are(predictor: Predictor) -> None:
    own = predictor.model.voters.nearest_others()
    assert len(own) == len(predictor.model.voters.rows) and own.max() <= 1.001
    assert far_documents(own, own).mean() == pytest.approx(0.05, abs=0.02)


def test_vectors_that_lie_elsewhere_are_far_and_in_one_topic_to_be_refitted(predictor: Predictor) -> None:
    drift = shown(predictor, elsewhere(predictor, 40), [0] * 40).drift()
    assert drift is not None and drift.far > 0.9 and drift.advice == "refit" and "unlike" in drift.reasons[0]


def test_memory_does_not_grow_with_the_documents_and_topics_are_of_all(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_documents, "SAMPLE", 25)
    near = predictor.model.voters.vectors[:1].astype(np.float32)
    vectors = np.concatenate([np.repeat(near, 500, axis=0), elsewhere(predictor, 500)])
    seen = shown(predictor, vectors, [0] * 500 + [1] * 500)
    assert len(seen._kept) == 25 and all(one.base is None for one, _ in seen._kept)
    drift = seen.drift()
    assert drift is not None and drift.documents == 1000 and 0.2 < drift.far < 0.8, "all are as likely to be kept"
    assert {share.topic: share.now for share in drift.topics if share.now} == {0: 0.5, 1: 0.5}
