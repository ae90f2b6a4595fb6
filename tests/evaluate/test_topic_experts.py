"""Experts of topics: the planted ones are found, and noise has none."""

from __future__ import annotations

import json

import numpy as np
import pytest
from routing_doubles import PLANTED, E, K, L, N, planted, uneven_routing

from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError
from moee_topics.evaluate.duplicate_texts import first_of_each
from moee_topics.evaluate.expert_report import ExpertReport
from moee_topics.evaluate.topic_experts import ExpertSettings, find_experts, gather_routing_weights


def test_the_first_expert_of_a_topic_is_the_planted_one(report: ExpertReport) -> None:
    for topic in report.topics[:3]:
        best = topic.experts[0]
        assert (best.layer, best.expert) == PLANTED[topic.topic]
        assert 1.5 < best.low <= best.lift <= best.high


def test_topics_without_an_expert_of_their_own_list_none_in_the_untouched_layer(report: ExpertReport) -> None:
    assert not [e for topic in report.topics for e in topic.experts if e.layer == 0]
    assert [topic.topic for topic in report.topics] == list(range(K))


def test_pure_noise_lists_nothing_in_about_the_promised_share_of_corpora() -> None:
    listed = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found = find_experts(
            uneven_routing(rng, 200), rng.integers(0, 8, 200), rng=rng, settings=ExpertSettings(resamples=1)
        )
        listed += any(topic.significant for topic in found.topics)
    assert listed <= 4


def test_copies_of_documents_are_no_evidence_when_each_text_is_given_once() -> None:
    rng = np.random.default_rng(0)
    texts = np.repeat(np.arange(200), 5)
    weights, topics = uneven_routing(rng, 200)[texts], rng.integers(0, 20, 200)[texts]
    rows = first_of_each(texts.tolist())
    once = find_experts(weights[rows], topics[rows], rows=rows, rng=rng, settings=ExpertSettings(resamples=1))
    assert sum(topic.significant for topic in once.topics) == 0 and once.documents == 200
    every = find_experts(weights, topics, rng=rng, settings=ExpertSettings(resamples=1))
    assert sum(topic.significant for topic in every.topics) > 20


def test_documents_of_an_expert_are_named_by_their_row_in_the_corpus() -> None:
    weights, topics = planted(np.random.default_rng(0))
    rows = np.arange(0, N, 2)
    half = find_experts(weights[rows], topics[rows], rows=rows, rng=np.random.default_rng(1))
    for expert in half.expert_documents:
        assert expert.weights == pytest.approx(weights[expert.rows, expert.layer, expert.expert], abs=1e-4)
        assert not any(row % 2 for row in expert.rows)


def test_an_expert_that_is_busy_everywhere_is_no_topic_s_expert() -> None:
    rng = np.random.default_rng(0)
    weights = uneven_routing(rng)
    weights[:, 0, 0] += 5
    found = find_experts(weights / weights.sum(-1, keepdims=True), rng.integers(0, K, N), rng=np.random.default_rng(3))
    assert sum(topic.significant for topic in found.topics) == 0
    assert found.threshold is None
    assert all(topic.experts == [] for topic in found.topics)


@pytest.mark.filterwarnings("error")
def test_an_expert_that_no_document_calls_is_as_heavy_in_a_topic_as_in_the_corpus() -> None:
    weights = np.random.default_rng(0).dirichlet(np.ones(4), size=(40, 2)).astype(np.float32)
    weights[:, 1, 3] = 0
    found = find_experts(weights, np.repeat([0, 1], 20), rng=np.random.default_rng(1))
    assert all(topic.lift[1, 3] == 1 and np.isfinite(topic.lift).all() for topic in found.topics)


def test_lift_and_corpus_are_means_over_topic_and_over_all_documents(report: ExpertReport) -> None:
    weights, topics = planted(np.random.default_rng(0))
    np.testing.assert_allclose(report.corpus, weights.mean(0), rtol=1e-5)
    np.testing.assert_allclose(report.topics[2].lift, weights[topics == 2].mean(0) / weights.mean(0), rtol=1e-4)


def test_z_is_the_distance_from_a_random_set_of_as_many_documents(report: ExpertReport) -> None:
    weights, topics = planted(np.random.default_rng(0))
    best = report.topics[0].experts[0]
    column, size = weights[:, best.layer, best.expert], int((topics == 0).sum())
    rng = np.random.default_rng(5)
    draws = [rng.choice(column, size, replace=False).mean() for _ in range(3000)]
    assert best.effect == pytest.approx((column[topics == 0].mean() - column.mean()) / column.std(), rel=0.02)
    assert best.z == pytest.approx((column[topics == 0].mean() - np.mean(draws)) / np.std(draws), rel=0.08)


def test_the_interval_is_that_of_a_plain_bootstrap(report: ExpertReport) -> None:
    weights, topics = planted(np.random.default_rng(0))
    best = report.topics[0].experts[0]
    column, rng = weights[:, best.layer, best.expert], np.random.default_rng(5)
    own = column[topics == 0]
    means = [rng.choice(own, len(own)).mean() / column.mean() for _ in range(2000)]
    np.testing.assert_allclose([best.low, best.high], np.quantile(means, [0.025, 0.975]), rtol=0.03)


def test_topics_with_the_same_expert_are_most_similar() -> None:
    rng = np.random.default_rng(0)
    weights, topics = uneven_routing(rng), rng.integers(0, 4, N)
    for topic, expert in {0: 1, 1: 6, 2: 1, 3: 6}.items():
        weights[topics == topic, 1, expert] += 1
    found = find_experts(weights / weights.sum(-1, keepdims=True), topics, rng=rng)
    np.testing.assert_allclose(np.diag(found.similarity), 1, atol=1e-6)
    partner = (found.similarity - 2 * np.eye(4)).argmax(1)
    assert partner.tolist() == [2, 3, 0, 1]


def test_a_sure_but_small_difference_counts_and_is_not_listed() -> None:
    rng = np.random.default_rng(0)
    weights, topics = rng.dirichlet(np.full(E, 50), size=(4000, L)), rng.integers(0, 3, 4000)
    weights[topics == 1, 0, 0] *= 1.03
    found = find_experts(
        weights / weights.sum(-1, keepdims=True), topics, rng=rng, settings=ExpertSettings(resamples=1)
    )
    assert found.topics[1].significant > 0 and not found.topics[1].experts
    bold = find_experts(
        weights / weights.sum(-1, keepdims=True),
        topics,
        rng=rng,
        settings=ExpertSettings(resamples=1, least_effect=0.02),
    )
    assert (bold.topics[1].experts[0].layer, bold.topics[1].experts[0].expert) == (0, 0)


def test_the_documents_of_an_expert_are_its_heaviest_users(report: ExpertReport) -> None:
    weights, _ = planted(np.random.default_rng(0))
    for users in report.expert_documents:
        column = weights[:, users.layer, users.expert]
        assert list(users.rows) == np.argsort(-column, kind="stable")[: len(users.rows)].tolist()
        np.testing.assert_allclose(users.weights, column[list(users.rows)], atol=1e-4)


def test_the_same_seed_gives_the_same_report_and_float16_changes_little(report: ExpertReport) -> None:
    weights, topics = planted(np.random.default_rng(0))
    again = find_experts(weights, topics, rng=np.random.default_rng(1))
    assert json.dumps(again.to_json()) == json.dumps(report.to_json())
    half = find_experts(weights.astype(np.float16), topics, rng=np.random.default_rng(1))
    np.testing.assert_allclose(half.corpus, report.corpus, rtol=1e-3)


def test_one_topic_and_topics_of_one_document_are_no_accident() -> None:
    rng = np.random.default_rng(0)
    weights = uneven_routing(rng, 30)
    one = find_experts(weights, np.zeros(30, dtype=int), rng=rng)
    assert one.information[0].information == 0 and sum(topic.significant for topic in one.topics) == 0
    alone = find_experts(weights, np.arange(30), rng=rng)
    assert len(alone.topics) == 30
    assert "NaN" not in json.dumps(alone.to_json())


@pytest.mark.parametrize(
    ("shape", "topics", "shuffles", "message"),
    [
        ((6, 0, 0), [0] * 6, 40, "model with routers"),
        ((6, 2, 4), [0] * 5, 40, "one topic for each"),
        ((6, 8), [0] * 6, 40, r"\(N, L, E\)"),
        ((6, 2, 4), [-1] * 6, 40, "Every document is an outlier"),
        ((6, 2, 4), [0] * 6, 5, "shuffles, got 5"),
    ],
)
def test_bad_input_is_one_clear_error(shape: tuple[int, ...], topics: list[int], shuffles: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_experts(
            np.ones(shape), np.array(topics), rng=np.random.default_rng(0), settings=ExpertSettings(shuffles=shuffles)
        )


def test_gathered_blocks_are_the_routing_weights_in_order() -> None:
    logits = np.random.default_rng(0).normal(size=(10, 2, 4)).astype(np.float32)
    whole = Embeddings(np.zeros((10, 3)), logits)
    gathered = gather_routing_weights((whole[i : i + 4] for i in range(0, 10, 4)), 10)
    assert gathered.dtype == np.float16
    np.testing.assert_allclose(gathered, whole.routing_weights, atol=1e-3)
    for documents in (9, 11):
        with pytest.raises(InputError, match=f"of {documents} documents"):
            gather_routing_weights([whole], documents)
