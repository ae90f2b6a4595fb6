from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from bag_of_words import THEMES, BagOfWords, theme_of, themed_corpus
from fitted_topics import DOCUMENTS, LABELS, TIMESTAMPS, backend, fit, fitted, vectors

from moee_topics.corpus import Document
from moee_topics.errors import InputError
from moee_topics.fuse import Fusion
from moee_topics.topics import FitSettings, OutlierReduction, fit_topics
from moee_topics.topics.backend import MoEEBackend
from moee_topics.topics.fit import check_topics
from moee_topics.topics.voters import centroids


def test_every_theme_becomes_a_topic_whose_words_are_the_themes_words() -> None:
    result = fitted().result
    pairs = Counter(zip(LABELS, result.topics.tolist(), strict=True))
    topic_of = {theme: max(range(4), key=lambda topic: pairs[theme, topic]) for theme in THEMES}
    assert sorted(topic_of.values()) == [0, 1, 2, 3]
    for theme, topic in topic_of.items():
        assert pairs[theme, topic] == LABELS.count(theme)
        assert {word for word, _ in result.topic(topic).words} == set(THEMES[theme].split())


def test_rows_of_the_result_are_the_documents_in_their_order() -> None:
    result = fitted().result
    assert list(result.texts) == DOCUMENTS
    assert list(result.ids) == [str(row) for row in range(len(DOCUMENTS))]
    assert list(result.labels or []) == LABELS
    assert list(result.timestamps or []) == TIMESTAMPS
    assert result.positions.shape == (len(DOCUMENTS), 2)
    assert result.topics.tolist() == fitted().model.topics_


def test_documents_bring_their_ids_labels_and_times_and_bare_texts_have_row_numbers() -> None:
    places = np.zeros((len(DOCUMENTS), 2))
    named = [Document(f"d{row}", text, label=LABELS[row]) for row, text in enumerate(DOCUMENTS)]
    result = fit_topics(named, vectors(), representation="ctfidf", positions=places).result
    bare = fit_topics(DOCUMENTS, vectors(), representation="ctfidf", positions=places).result
    assert list(result.ids) == [document.id for document in named] and list(result.labels or []) == LABELS
    assert bare.ids[:2] == ["0", "1"] and bare.labels is None and result.timestamps is bare.timestamps is None
    assert list(result.texts) == list(bare.texts) and np.array_equal(result.topics, bare.topics)


def test_positions_that_are_given_are_kept_and_change_no_topic() -> None:
    settings, places = FitSettings(representation="ctfidf"), np.arange(2.0 * len(DOCUMENTS)).reshape(-1, 2)
    result = fit_topics(DOCUMENTS, vectors(), settings, positions=places).result
    assert np.array_equal(result.positions, places) and result.topics.tolist() == fitted().result.topics.tolist()
    with pytest.raises(InputError, match="positions needs one entry per document"):
        fit_topics(DOCUMENTS, vectors(), settings, positions=places[1:])


def test_fewer_documents_than_hdbscan_looks_for_neighbours_are_told_what_to_set() -> None:
    advice = r"could not fit 12 documents\. Try hdbscan.min_cluster_size=4 hdbscan.min_samples=1\. BERTopic says: "
    with pytest.raises(InputError, match=advice):
        fit_topics(DOCUMENTS[:12], vectors()[:12], representation="ctfidf")
    fit_topics(
        DOCUMENTS[::14], vectors()[::14], representation="ctfidf", hdbscan={"min_cluster_size": 4, "min_samples": 1}
    )


def test_two_fits_with_one_seed_are_equal() -> None:
    one, two = fitted().result, fit().result
    assert np.array_equal(one.topics, two.topics)
    assert np.array_equal(one.probabilities, two.probabilities)
    assert np.array_equal(one.positions, two.positions)
    assert one.topic_info == two.topic_info


def test_topic_vectors_are_the_means_of_their_documents() -> None:
    model = fitted()
    assert np.allclose(model.model.topic_embeddings_, centroids(vectors(), model.result.topics))


def test_without_a_backend_topics_are_described_by_counts() -> None:
    result = fit(backend=None, representation="ctfidf").result
    assert all(topic.words for topic in result.topic_info)


def test_keyword_arguments_reach_upstream() -> None:
    model = fit(
        umap={"n_neighbors": 7, "min_dist": 0.05},
        hdbscan={"min_cluster_size": 9},
        vectorizer={"ngram_range": [1, 2], "stop_words": ["orbit"]},
        ctfidf={"reduce_frequent_words": True},
        bertopic={"top_n_words": 4},
        representation="ctfidf",
        seed=7,
    )
    bertopic = model.model
    assert (bertopic.umap_model.n_neighbors, bertopic.umap_model.min_dist, bertopic.umap_model.random_state) == (
        7,
        0.05,
        7,
    )
    assert bertopic.hdbscan_model.min_cluster_size == 9
    assert bertopic.vectorizer_model.ngram_range == (1, 2)
    assert bertopic.ctfidf_model.reduce_frequent_words
    assert {len(topic.words) for topic in model.result.topic_info} == {4}
    assert "orbit" not in bertopic.vectorizer_model.vocabulary_


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"umap": {"n_neighbours": 5}}, "n_neighbors"),
        ({"hdbscan": {"min_clustersize": 5}}, "min_cluster_size"),
        ({"vectorizer": {"stopwords": None}}, "stop_words"),
        ({"ctfidf": {"bm25": True}}, "bm25_weighting"),
        ({"bertopic": {"topn_words": 5}}, "top_n_words"),
        ({"bertopic": {"umap_model": None}}, "umap_model"),
        ({"representation": "keyber"}, "keybert"),
        ({"representation": {"mmr": {"diversty": 0.1}}}, "diversity"),
        ({"representation": ["mmr", "mmr"]}, "different names"),
        ({"representation": []}, "at least one"),
        ({"nr_topics": 1}, "from 2"),
        ({"nr_topics": "automatic"}, "auto"),
        ({"seed_topic_list": ["space"]}, "list of topics"),
        ({"zeroshot_topic_list": "space"}, "list of topic names"),
        ({"umap": {"n_neighbors": -2}}, "expected a whole number, at least 2"),
        ({"vectorizer": {"min_df": 1000}}, "count topics"),
        ({"vectorizer": {"token_pattern": "xyzzy"}}, "finds no words"),
        ({"hdbscan": {"min_cluster_size": 170}}, "all 172 documents are outliers"),
        ({"backend": None}, "backend=MoEEBackend"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_the_reason(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit(**options)


@pytest.mark.parametrize(
    ("documents", "X", "message"),
    [
        (["a"] * 10, np.ones((9, 3)), "One vector per document"),
        (["a"] * 10, np.ones(10), "One vector per document"),
        (["a"] * 4, np.ones((4, 3)), "at least 5 documents"),
        (["a"] * 9 + [None], np.ones((10, 3)), "Document 9 is of type NoneType"),
        (["a"] * 10, np.full((10, 3), np.nan), "NaN or infinity"),
        ([Document("x", "a")] * 9, np.ones((10, 3)), "One vector per document"),
        ([Document("x", "a")] * 9 + ["a"], np.ones((10, 3)), "Document 0 is of type"),
    ],
)
def test_bad_documents_and_vectors_are_refused(documents: list[Any], X: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_topics(documents, X, representation="ctfidf")


def test_words_in_another_space_than_the_documents_are_refused() -> None:
    with pytest.raises(InputError, match="same model, method, alpha"):
        fit(backend=MoEEBackend(BagOfWords(), Fusion("concat", standardize="none")))


@pytest.mark.parametrize("size", [5, 6, 8, 12, 20])
def test_a_small_corpus_gives_topics_or_a_clear_error(size: int) -> None:
    documents, _ = themed_corpus(per_theme=size // 4 + 1, noise=0)
    X = backend().embed_documents(documents[:size])
    try:
        result = fit_topics(documents[:size], X, representation="ctfidf", hdbscan={"min_cluster_size": 2}).result
    except InputError as error:
        assert "No topic was found" in str(error)
    else:
        assert len(result) == size


def test_a_corpus_of_copies_is_refused_by_that_name() -> None:
    documents = ["orbit rocket planet"] * 40
    with pytest.raises(InputError, match=r"40 documents are copies of 1: .*corpus\.text"):
        fit_topics(documents, backend().embed_documents(documents), representation="ctfidf")


def test_guided_topics_leave_the_vectors_of_the_caller_alone() -> None:
    before = vectors().copy()
    result = fit(seed_topic_list=[["orbit", "rocket"], ["soil", "compost"]]).result
    assert np.array_equal(vectors(), before)
    assert {"space", "gardens"} <= {
        theme for topic in result.topic_info for theme in theme_of([w for w, _ in topic.words])
    }


def test_zero_shot_topics_carry_the_names_they_were_given() -> None:
    names = ["orbit rocket planet moon", "goalie puck skate rink"]
    result = fit(zeroshot_topic_list=names, zeroshot_min_similarity=0.6).result
    by_name = {topic.name: topic for topic in result.topic_info}
    assert set(names) <= set(by_name)
    rows = np.flatnonzero(result.topics == by_name[names[0]].topic)
    assert {LABELS[row] for row in rows} == {"space"}


def test_zero_shot_topics_that_take_every_document_keep_their_names() -> None:
    names = list(THEMES.values())
    result = fit(zeroshot_topic_list=names, zeroshot_min_similarity=0.0).result
    assert {topic.name for topic in result.topic_info} == set(names)
    for topic in result.topic_info:
        themes = Counter(LABELS[row] for row in np.flatnonzero(result.topics == topic.topic))
        assert theme_of(topic.name.split()) == {themes.most_common(1)[0][0]}


def test_topics_are_merged_until_so_many_are_left() -> None:
    result = fit(nr_topics=3, representation="ctfidf").result
    assert len(result.topic_info) == 3


def test_outliers_are_reduced_in_the_fit_where_asked() -> None:
    options = {
        "hdbscan": {"cluster_selection_method": "leaf", "min_cluster_size": 5, "min_samples": 5},
        "representation": "ctfidf",
    }
    before = fit(**options).result.topics
    after = fit(**options, outliers=OutlierReduction("embeddings", target_share=0.0)).result.topics
    assert (before == -1).any()
    assert not (after == -1).any()
    assert np.array_equal(after[before >= 0], before[before >= 0])


def test_a_topic_of_nearly_everything_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    check_topics(np.array([0] * 900 + [1] * 100), 15)
    assert "topic 0 holds 90 %" in caplog.text
    caplog.clear()
    check_topics(np.array([0] * 400 + [1] * 300 + [-1] * 300), 15)
    assert not caplog.text


def test_words_that_were_asked_for_and_are_in_no_topic_are_named(caplog: pytest.LogCaptureFixture) -> None:
    plain: dict[str, Any] = {"representation": "ctfidf", "umap": {"n_epochs": 20}}
    fit(**plain, vectorizer={"vocabulary": ["orbit", "comet"]}, ctfidf={"seed_words": ["orbit"]})
    assert "no topic" not in caplog.text
    fit(**plain, vectorizer={"vocabulary": ["orbit", "Comet", "space shuttle"]}, ctfidf={"seed_words": ["Orbit"]})
    assert "no topic: ['Orbit', 'Comet', 'space shuttle']" in caplog.text


def test_seven_texts_a_hundred_times_each_are_refused_by_their_cause_and_fitted_as_it_says() -> None:
    texts = [f"alpha {number % 7}" for number in range(700)]
    vectors = np.random.default_rng(0).normal(size=(7, 16)).astype(np.float32)[np.arange(700) % 7]
    plain: dict[str, Any] = {"representation": "ctfidf", "umap": {"n_epochs": 20}}
    with pytest.raises(InputError, match=r"700 documents, which are copies of 7 .*min_cluster_size=2 .*min_samples=1"):
        fit_topics(texts, vectors, **plain)
    model = fit_topics(texts, vectors, hdbscan={"min_cluster_size": 2, "min_samples": 1}, **plain)
    assert len(model.result.topics) == 700 and {word for word, _ in model.result.topic_info[-1].words} == {"alpha"}


def test_chinese_documents_have_words_with_a_tokenizer_and_a_warning_without(caplog: pytest.LogCaptureFixture) -> None:
    themes = (
        "我们昨天买了面包和面粉，烤箱还没有到。",
        "汽车的发动机和轮胎都换了新的。",
        "小提琴和钢琴的音乐会很好听。",
    )
    texts = [f"{themes[number % 3]}{number}" for number in range(90)]
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3, 16))[np.arange(90) % 3] + rng.normal(size=(90, 16)) / 20
    plain: dict[str, Any] = {"representation": "ctfidf", "umap": {"n_epochs": 50}, "hdbscan": {"min_cluster_size": 8}}
    fitted_words = fit_topics(texts, vectors, tokenizer="jieba", **plain).result.topic_info
    assert "topics.tokenizer=jieba" not in caplog.text
    words = {word for topic in fitted_words for word, _ in topic.words}
    assert {"面包", "轮胎", "钢琴"} <= words
    fit_topics(texts, vectors, **plain)
    assert "topics.tokenizer=jieba" in caplog.text
