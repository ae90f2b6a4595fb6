from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bag_of_words import NarrowCone, themed_corpus
from fitted_topics import DOCUMENTS, backend, fit, fitted, fresh, saved, vectors

from moee_topics.errors import InputError
from moee_topics.fuse import RAW
from moee_topics.topics import NEW, FitSettings, TopicModel, fit_topics
from moee_topics.topics.backend import MoEEBackend
from moee_topics.topics.result import TopicResult


def test_predict_needs_one_vector_per_document_and_of_the_right_width() -> None:
    with pytest.raises(InputError, match="2 documents and 1 vector;"):
        fitted().predict(["a", "b"], np.ones((1, vectors().shape[1])))
    with pytest.raises(InputError, match="fitted on vectors of"):
        fitted().predict(["a"], np.ones((1, 3)))
    with pytest.raises(InputError, match="vectors X"):
        TopicModel.load(saved()).predict(["a"])


def test_predict_of_nothing_is_nothing() -> None:
    topics, shares = fitted().predict([])
    assert len(topics) == len(shares) == 0


def test_predict_takes_a_column_or_an_array_as_well_as_a_list() -> None:
    some = DOCUMENTS[:3]
    expected = fitted().predict(some, vectors()[:3])
    for column in (pd.Series(some), np.array(some), iter(some)):
        np.testing.assert_array_equal(fitted().predict(column, vectors()[:3]), expected)


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


def test_what_a_backend_learnt_of_the_documents_is_saved_and_given_to_the_next_one(tmp_path: Path) -> None:
    mine = MoEEBackend(NarrowCone())
    X = mine.embed_documents(DOCUMENTS)
    fit_topics(DOCUMENTS, X, backend=mine, representation="ctfidf", positions=X[:, :2]).save(tmp_path / "model")
    other = MoEEBackend(NarrowCone())
    model = TopicModel.load(tmp_path / "model", other)
    assert not other.learns
    np.testing.assert_array_equal(other.embed(DOCUMENTS[:5]), mine.embed(DOCUMENTS[:5]))
    assert np.array_equal(model.predict(DOCUMENTS[:9])[0], model.result.topics[:9])
    own = MoEEBackend(NarrowCone(), RAW)
    TopicModel.load(tmp_path / "model", own)
    assert own.fusion == RAW


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


@pytest.mark.parametrize(
    ("key", "value"), [("topic", [0]), ("count", "9"), ("name", None), ("words", [["a", "b"]]), ("aspects", [])]
)
def test_a_topic_of_another_form_is_refused_by_place(tmp_path: Path, key: str, value: Any) -> None:
    fitted().save(tmp_path)
    topics = json.loads((tmp_path / "topic_info.json").read_text())
    (tmp_path / "topic_info.json").write_text(json.dumps([topics[0] | {key: value}, *topics[1:]]))
    with pytest.raises(InputError, match=rf"topic_info\.json is damaged \(0\.{key}"):
        TopicModel.load(tmp_path)


@pytest.mark.parametrize("name", ["topic_settings.json", "config.json"])
def test_settings_that_are_no_json_are_refused_by_name(tmp_path: Path, name: str) -> None:
    fitted().save(tmp_path)
    (tmp_path / name).write_bytes(b"{\xff")
    with pytest.raises(InputError, match=f"{name} cannot be read"):
        TopicModel.load(tmp_path)


def test_a_model_that_would_load_another_from_the_hub_is_refused(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "embedding_model": "someone/large"}))
    with pytest.raises(InputError, match="someone/large"):
        TopicModel.load(tmp_path)


def test_a_document_of_the_fit_gets_its_fitted_topic_before_saving_and_after() -> None:
    topics = fitted().result.topics
    for model in (fitted(), TopicModel.load(saved())):
        predictions, shares = model.predict([*DOCUMENTS, "never seen"], np.vstack([vectors(), vectors()[:1]]))
        assert np.array_equal(predictions[:-1], topics)
        assert np.array_equal(model.fitted_topics([*DOCUMENTS, "never seen"]), [*topics, NEW])
        assert ((shares >= 0) & (shares <= 1 + 1e-6)).all()


def test_an_unchanged_copy_is_what_was_fitted() -> None:
    assert np.array_equal(fresh().result.topics, fitted().result.topics)
