"""What version 0.1.0 stored, fused, fitted and scored comes out the same; ``make.py`` says how these values were made.

Tolerances are for processors that add in another order. What 0.2.0 does otherwise on purpose (the voters of a
prediction's probability) is not among the values.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_of_words import BagOfWords
from safetensors.numpy import load_file

from moee_topics.embeddings import Embeddings
from moee_topics.evaluate import DocumentTerms, cluster_scores, find_experts, npmi, outlier_share, topic_diversity
from moee_topics.fuse import Fusion
from moee_topics.store import EmbeddingStore, content_hash, stored_keys
from moee_topics.topics import FitSettings, TopicModel, fit, fit_topics

HERE = Path(__file__).parent
GOLDEN: dict[str, Any] = json.loads((HERE / "golden.json").read_text(encoding="utf-8"))
ROWS = [0, 17, 34, 51, 67]


@pytest.fixture(scope="module")
def stored() -> Embeddings:
    (key,) = stored_keys(HERE / "store")
    store = EmbeddingStore.open(HERE / "store", key)
    hashes = [content_hash(text) for text in GOLDEN["texts"]]
    assert store.verify() == [] and sorted(hashes) == sorted(content for _, content in store.documents())
    return store.read(hashes)


@pytest.fixture(scope="module")
def fusion(stored: Embeddings) -> Fusion:
    return Fusion("weighted_sum", alpha=0.5, standardize="both").fit([stored])


@pytest.fixture(scope="module")
def model(stored: Embeddings, fusion: Fusion) -> TopicModel:
    from sklearn.decomposition import PCA

    settings = FitSettings(hdbscan={"min_cluster_size": 6}, representation="ctfidf")
    with pytest.MonkeyPatch.context() as patch:
        # UMAP starts from eigenvectors whose last digits are the processor's, and its steps make other layouts of them.
        patch.setattr(fit, "build_reducer", lambda *_, **__: PCA(n_components=4, svd_solver="full"))
        nowhere = np.zeros((len(stored), 2), dtype=np.float32)
        return fit_topics(GOLDEN["texts"], fusion.transform(stored), settings, positions=nowhere)


def test_the_store_of_0_1_0_holds_what_its_encoder_gave(stored: Embeddings) -> None:
    encoded = BagOfWords().encode(GOLDEN["texts"]).rounded()
    np.testing.assert_array_equal(stored.hidden_states, encoded.hidden_states)
    np.testing.assert_array_equal(stored.router_logits, encoded.router_logits)


@pytest.mark.parametrize("name", sorted(load_file(HERE / "fused.safetensors")))
def test_every_fusion_gives_the_vectors_of_0_1_0(stored: Embeddings, name: str) -> None:
    method, standardize = name.split(".")
    fusion = Fusion(method, alpha=0.5, standardize=standardize)  # type: ignore[arg-type]
    vectors = fusion.fit([stored[:20], stored[20:]]).transform(stored)
    np.testing.assert_allclose(vectors[ROWS], load_file(HERE / "fused.safetensors")[name], atol=1e-5)


def test_topics_probabilities_and_words_are_those_of_0_1_0(model: TopicModel) -> None:
    result = model.result
    assert result.topics.tolist() == GOLDEN["topics"]
    np.testing.assert_allclose(result.probabilities, GOLDEN["probabilities"], atol=1e-5)
    for topic in result.topic_info:
        words = GOLDEN["words"][str(topic.topic)]
        assert [weight for _, weight in topic.words] == pytest.approx(sorted(words.values(), reverse=True), abs=1e-5)
        least = min(words.values()) + 1e-5  # which of the words with the least weight are kept, BERTopic leaves open
        heavier = {word: weight for word, weight in words.items() if weight > least}
        assert {word: weight for word, weight in topic.words if weight > least} == pytest.approx(heavier, abs=1e-5)


def test_scores_are_those_of_0_1_0(model: TopicModel) -> None:
    result = model.result
    words = [list(GOLDEN["words"][str(topic.topic)]) for topic in result.topic_info if topic.topic >= 0]
    terms = DocumentTerms.of(GOLDEN["texts"], words, model.model.vectorizer_model)
    scores = [npmi(words, terms), topic_diversity(words), outlier_share(result.topics)]
    assert [score.value for score in scores] == pytest.approx(GOLDEN["scores"], abs=1e-5)
    agreement = {name: score.value for name, score in cluster_scores(GOLDEN["labels"], result.topics).items()}
    assert {name: agreement[name] for name in GOLDEN["agreement"]} == pytest.approx(GOLDEN["agreement"], abs=1e-5)


def test_the_experts_of_topics_are_those_of_0_1_0(stored: Embeddings) -> None:
    topics = np.array(GOLDEN["topics"])
    report = find_experts(stored.routing_weights.astype(np.float16), topics, rng=np.random.default_rng(0))
    for topic in report.topics:
        golden = {(layer, expert): lift for layer, expert, lift in GOLDEN["experts"][str(topic.topic)]}
        assert {(lift.layer, lift.expert): lift.lift for lift in topic.experts} == pytest.approx(golden, abs=1e-3)


def test_new_documents_get_the_topics_of_0_1_0(model: TopicModel, fusion: Fusion) -> None:
    vectors = fusion.transform(BagOfWords().encode(GOLDEN["new_texts"]).rounded())
    topics, _ = model.predict(GOLDEN["new_texts"], vectors)
    assert topics.tolist() == GOLDEN["predicted"]
