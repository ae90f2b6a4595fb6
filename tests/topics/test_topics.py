from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_of_words import THEMES, BagOfWords, themed_corpus
from fitted_topics import DOCUMENTS, HIDDEN_STATES, LABELS, TIMESTAMPS, backend, fit, fitted, fresh, saved, vectors

from moee_topics.errors import InputError, MissingExtraError
from moee_topics.evaluate import prediction_agreement
from moee_topics.fuse import Fusion
from moee_topics.topics import NEW, FitSettings, OutlierReduction, Prediction, TopicModel, fit_topics
from moee_topics.topics.backend import MoEEBackend
from moee_topics.topics.prediction import centroids
from moee_topics.topics.result import TopicResult
from moee_topics.topics.settings import representations
from moee_topics.topics.vectorizer import frequent_words


def theme_of(topic_words: list[str]) -> set[str]:
    return {theme for theme, words in THEMES.items() if set(topic_words) & set(words.split())}


def test_every_theme_becomes_a_topic_whose_words_are_the_themes_words() -> None:
    result = fitted().result
    pairs = Counter(zip(LABELS, result.topics.tolist(), strict=True))
    found = {theme: max(range(4), key=lambda topic: pairs[theme, topic]) for theme in THEMES}
    assert sorted(found.values()) == [0, 1, 2, 3]
    for theme, topic in found.items():
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


def test_positions_that_are_given_are_kept_and_change_no_topic() -> None:
    settings, places = FitSettings(representation="ctfidf"), np.arange(2.0 * len(DOCUMENTS)).reshape(-1, 2)
    result = fit_topics(DOCUMENTS, vectors(), settings, positions=places).result
    assert np.array_equal(result.positions, places) and result.topics.tolist() == fitted().result.topics.tolist()
    with pytest.raises(InputError, match="positions needs one entry per document"):
        fit_topics(DOCUMENTS, vectors(), settings, positions=places[1:])


def test_topics_are_listed_by_size_and_count_every_document_once() -> None:
    info = fitted().result.topic_info
    counts = [topic.count for topic in info if topic.topic >= 0]
    assert counts == sorted(counts, reverse=True)
    assert sum(topic.count for topic in info) == len(DOCUMENTS)


def test_representative_documents_are_rows_of_their_own_topic_without_repeats() -> None:
    result = fitted().result
    for topic in result.topic_info:
        rows = list(topic.representative_docs)
        assert 3 <= len(rows) <= 5
        assert all(result.topics[row] == topic.topic for row in rows)
        assert len({result.texts[row] for row in rows}) == len(rows)


def test_two_fits_with_one_seed_are_equal() -> None:
    one, two = fitted().result, fit().result
    assert np.array_equal(one.topics, two.topics)
    assert np.array_equal(one.probabilities, two.probabilities)
    assert np.array_equal(one.positions, two.positions)
    assert one.topic_info == two.topic_info


def test_topic_vectors_are_the_means_of_their_documents() -> None:
    model = fitted()
    assert np.allclose(model.model.topic_embeddings_, centroids(vectors(), model.result.topics))


def test_documents_of_the_fit_are_not_embedded_again() -> None:
    encoder = BagOfWords()
    fit(backend=MoEEBackend(encoder, HIDDEN_STATES), representation=["keybert", "mmr"])
    assert not set(encoder.encoded) & set(DOCUMENTS)


def test_keybert_compares_words_with_the_documents_of_their_own_topic() -> None:
    """Upstream compares every topic with the first documents of the corpus (_keybert.py:113 in 0.17.4)."""
    order = np.argsort([theme != "cooking" for theme in LABELS], kind="stable")
    documents = [DOCUMENTS[row] for row in order]
    result = fit_topics(documents, vectors()[order], backend=backend()).result
    for topic in result.topic_info:
        if topic.topic >= 0:
            best = [word for word, _ in topic.words][:5]
            themes = [theme for theme in THEMES if LABELS[order[topic.representative_docs[0]]] == theme]
            assert theme_of(best) == set(themes)


def test_several_representations_lie_side_by_side_and_the_first_is_main() -> None:
    result = fit(representation=["ctfidf", "keybert", {"mmr": {"diversity": 0.9}}]).result
    first = next(topic for topic in result.topic_info if topic.topic >= 0)
    assert set(first.aspects) == {"keybert", "mmr"}
    assert [word for word, _ in first.words] != [word for word, _ in first.aspects["keybert"]]
    assert all(word for words in (first.words, *first.aspects.values()) for word, _ in words)


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
        ({"labels": ["one"]}, "labels needs one entry"),
        ({"ids": ["one"]}, "ids needs one entry"),
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
        (["a"] * 9 + [None], np.ones((10, 3)), "document 9 is NoneType"),
        (["a"] * 10, np.full((10, 3), np.nan), "NaN or infinity"),
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


def test_a_vocabulary_of_one_word_still_describes_the_topics() -> None:
    result = fit(representation="ctfidf", vectorizer={"token_pattern": "people", "stop_words": None}).result
    assert {word for topic in result.topic_info for word, _ in topic.words if word} == {"people"}


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


def test_predict_gives_new_documents_of_a_theme_its_topic() -> None:
    documents, labels = themed_corpus(per_theme=5, noise=0, seed=9)
    topics, shares = fitted().predict(documents)
    of_theme = {theme: fitted().result.topics[LABELS.index(theme)] for theme in THEMES}
    assert topics.tolist() == [of_theme[theme] for theme in labels]
    assert ((shares > 0.5) & (shares <= 1.0)).all()


def test_predict_needs_one_vector_per_document_and_of_the_right_width() -> None:
    with pytest.raises(InputError, match="2 documents and 1 vectors"):
        fitted().predict(["a", "b"], np.ones((1, vectors().shape[1])))
    with pytest.raises(InputError, match="fitted on vectors of"):
        fitted().predict(["a"], np.ones((1, 3)))
    with pytest.raises(InputError, match="vectors X"):
        TopicModel.load(saved()).predict(["a"])


def test_predict_of_nothing_is_nothing() -> None:
    topics, shares = fitted().predict([])
    assert len(topics) == len(shares) == 0


def test_a_saved_model_predicts_as_before() -> None:
    documents, _ = themed_corpus(per_theme=5, noise=3, seed=9)
    X = backend().embed_documents(documents)
    for one, two in zip(fitted().predict(documents, X), TopicModel.load(saved()).predict(documents, X), strict=True):
        assert np.array_equal(one, two)


def test_a_saved_model_comes_back_with_result_settings_and_words() -> None:
    model = TopicModel.load(saved(), backend=backend())
    assert model.settings == FitSettings.from_json(json.loads(json.dumps(fitted().settings.to_json())))
    assert np.array_equal(model.result.topics, fitted().result.topics)
    assert [topic.name for topic in model.result.topic_info] == [topic.name for topic in fitted().result.topic_info]
    assert model.model.get_topic(0)[0][0] == fitted().model.get_topic(0)[0][0]
    assert np.allclose(model.model.c_tf_idf_.toarray(), fitted().model.c_tf_idf_.toarray())


def test_a_saved_model_holds_no_pickle(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors", ".parquet"}


def test_the_result_may_lie_beside_the_model_as_in_a_run_folder(tmp_path: Path) -> None:
    fitted().result.save(tmp_path)
    fitted().save(tmp_path / "model", with_result=False)
    assert len(list((tmp_path / "model").glob("*.parquet"))) == 0
    assert len(TopicModel.load(tmp_path / "model").result) == len(DOCUMENTS)


def test_words_left_out_by_min_df_do_not_keep_a_model_from_being_saved(tmp_path: Path) -> None:
    fit(vectorizer={"max_df": 0.9}, representation="ctfidf").save(tmp_path)
    assert isinstance(TopicModel.load(tmp_path).result, TopicResult)


@pytest.mark.parametrize("missing", ["topic_embeddings.safetensors", "prediction.safetensors", "topic_settings.json"])
def test_an_incomplete_model_is_refused_by_name(tmp_path: Path, missing: str) -> None:
    fitted().save(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(InputError, match=missing):
        TopicModel.load(tmp_path)


def test_a_model_that_would_load_another_from_the_hub_is_refused(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "embedding_model": "someone/large"}))
    with pytest.raises(InputError, match="someone/large"):
        TopicModel.load(tmp_path)


def test_a_large_fit_keeps_part_of_its_documents_and_every_topic() -> None:
    rng = np.random.default_rng(0)
    topics = np.array([0] * 500 + [1] * 480 + [2] * 20)
    prediction = Prediction.fit(rng.normal(size=(1000, 4)), topics, most=100)
    assert 100 <= len(prediction.rows) <= 130
    assert Counter(prediction.topics.tolist())[2] >= 15
    assert np.array_equal(prediction.topics, topics[prediction.rows])


def test_a_prediction_is_the_topic_with_the_largest_sum_of_cosines_among_the_nearest() -> None:
    rng = np.random.default_rng(3)
    X, new = rng.normal(size=(60, 5)), rng.normal(size=(8, 5))
    topics = rng.integers(-1, 3, 60)
    found, shares = Prediction.fit(X, topics).predict(new)
    for row, vector in enumerate(new):
        cosines = X @ vector / np.linalg.norm(X, axis=1) / np.linalg.norm(vector)
        nearest = np.argsort(-cosines)[:5]
        votes = {topic: cosines[nearest[topics[nearest] == topic]].sum() for topic in set(topics[nearest].tolist())}
        best = max(votes, key=lambda topic: votes[topic])
        assert found[row] == best
        assert shares[row] == pytest.approx(0.0 if best == -1 else votes[best] / sum(votes.values()), abs=2e-3)


def test_as_many_documents_vote_as_the_smallest_topic_has() -> None:
    for sizes, neighbors in (([20, 9], 5), ([20, 4], 4), ([20, 2], 3)):
        topics = np.repeat(np.arange(len(sizes)), sizes)
        X = np.random.default_rng(0).normal(size=(len(topics), 4))
        assert Prediction.fit(X, topics).neighbors == neighbors


def test_a_topic_of_three_documents_is_predicted_for_a_new_one_of_its_kind() -> None:
    """With fifteen voters it could never be: BERTopic's users met 11 of 60 such topics."""
    rng = np.random.default_rng(0)
    large, small = rng.normal((5, 0), 0.1, (60, 2)), rng.normal((0, 5), 0.1, (3, 2))
    prediction = Prediction.fit(np.vstack([large, small]), np.repeat([0, 1], [60, 3]))
    assert prediction.predict([[0.1, 5.0]])[0].tolist() == [1]


def test_copies_of_a_document_have_one_vote() -> None:
    X = np.vstack([np.repeat([[1.0, 0.2]], 50, axis=0), [[1.0, 0.0], [1.0, -0.01], [1.0, 0.01]]])
    prediction = Prediction.fit(X, np.repeat([0, 1], [50, 3]))
    assert len(prediction.rows) == 4
    assert prediction.predict([[1.0, 0.05]])[0].tolist() == [1]


def test_a_document_of_the_fit_gets_its_fitted_topic_before_saving_and_after() -> None:
    topics = fitted().result.topics
    for model in (fitted(), TopicModel.load(saved())):
        found, shares = model.predict([*DOCUMENTS, "never seen"], np.vstack([vectors(), vectors()[:1]]))
        assert np.array_equal(found[:-1], topics)
        assert np.array_equal(model.fitted_topics([*DOCUMENTS, "never seen"]), [*topics, NEW])
        assert ((shares >= 0) & (shares <= 1 + 1e-6)).all()


def test_a_fitted_document_amid_another_topic_is_told_with_little_confidence() -> None:
    X = np.vstack([np.random.default_rng(0).normal((5, 0), 0.1, (30, 2)), [[5.0, 0.01]]])
    prediction = Prediction.fit(X, np.repeat([0, 1], [30, 1]))
    topics, shares = prediction.predict(X[-1:], np.array([1]))
    assert topics.tolist() == [1] and shares[0] <= 1 / 3 + 0.01
    gone, none = prediction.predict(X[-1:], np.array([7]))
    assert (gone.tolist(), none.tolist()) == ([7], [0.0])


def test_left_out_one_by_one_random_topics_are_predicted_by_chance_and_real_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    topics = np.arange(600) % 6
    noise = Prediction.fit(rng.normal(size=(600, 8)), topics).leave_one_out()
    clear = Prediction.fit(np.eye(8)[topics] + rng.normal(0, 0.1, (600, 8)), topics).leave_one_out()
    assert prediction_agreement(*noise).value == pytest.approx(1 / 6, abs=0.06)
    assert prediction_agreement(*clear).value == 1.0


def test_spacy_and_language_models_are_asked_for_by_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for representation in ("pos", "llm", {"llm": {"provider": "openai"}}):
        with pytest.raises(MissingExtraError, match="pip install"):
            fit(representation=representation)


def test_labels_of_a_language_model_name_the_topics_and_leave_the_words_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from bertopic.representation import BaseRepresentation

    from moee_topics.topics import representations as module

    class Shouting(BaseRepresentation):  # type: ignore[misc]
        def __init__(self, model: str) -> None:
            self.model = model

        def extract_topics(self, topic_model: Any, documents: Any, c_tf_idf: Any, topics: Any) -> Any:
            return {topic: [(f"{self.model} {words[0][0].upper()}", 1)] for topic, words in topics.items()}

    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    monkeypatch.setattr(module.upstream, "LiteLLM", Shouting)
    given = {"llm": {"model": "loud"}}
    for representation in (given, ["ctfidf", given]):
        for topic in fit(representation=representation).result.topic_info:
            assert topic.name == f"loud {topic.words[0][0].upper()}"
    with pytest.raises(InputError, match="'model'"):
        fit(representation={"llm": {"modl": "loud"}})


def test_a_topic_of_nearly_everything_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    from moee_topics.topics.fit import _check_topics

    _check_topics(np.array([0] * 900 + [1] * 100), 15)
    assert "topic 0 holds 90 %" in caplog.text
    caplog.clear()
    _check_topics(np.array([0] * 400 + [1] * 300 + [-1] * 300), 15)
    assert not caplog.text


def test_settings_survive_json() -> None:
    settings = FitSettings(
        umap={"n_neighbors": 3}, representation=["keybert", {"mmr": {"diversity": 0.2}}], outliers=OutlierReduction()
    )
    again = FitSettings.from_json(json.loads(json.dumps(settings.to_json())))
    assert again == settings
    assert representations(again) == [("keybert", {}), ("mmr", {"diversity": 0.2})]


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(InputError, match="representation"):
        FitSettings.from_json({"representations": "mmr"})


def test_stop_words_can_be_learned_from_the_corpus() -> None:
    assert set(frequent_words(["el gato come", "el perro duerme", "el sol", "la luna"], 0.5)) == {"el"}
    vocabulary = fit(vectorizer={"stop_words": "auto"}, representation="ctfidf").model.vectorizer_model.vocabulary_
    assert not set(vocabulary) & {"the", "with", "about"}


def test_an_unchanged_copy_is_what_was_fitted() -> None:
    assert np.array_equal(fresh().result.topics, fitted().result.topics)
