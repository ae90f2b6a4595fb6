from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bag_of_words import THEMES, BagOfWords, theme_of
from fitted_topics import DOCUMENTS, HIDDEN_STATES, LABELS, backend, fit, fit_words, vectors

from moee_topics.errors import InputError, MissingExtraError
from moee_topics.schema import section_types
from moee_topics.topics import fit_topics
from moee_topics.topics.backend import MoEEBackend
from moee_topics.topics.upstream import RepresentationSections


def test_documents_of_the_fit_are_not_embedded_again() -> None:
    encoder = BagOfWords()
    fit_words(backend=MoEEBackend(encoder, HIDDEN_STATES), representation=["keybert", "mmr"])
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
    result = fit_words(representation=["ctfidf", "keybert", {"mmr": {"diversity": 0.9}}]).result
    first = next(topic for topic in result.topic_info if topic.topic >= 0)
    assert set(first.aspects) == {"keybert", "mmr"}
    assert [word for word, _ in first.words] != [word for word, _ in first.aspects["keybert"]]
    assert all(word for words in (first.words, *first.aspects.values()) for word, _ in words)


KEYS = {
    "keybert": {"top_n_words": 3, "nr_repr_docs": 1, "nr_samples": 5, "nr_candidate_words": 12},
    "mmr": {"diversity": 0.9, "top_n_words": 3},
}


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in KEYS.items() for key in keys])
def test_every_argument_of_a_representation_changes_the_words(name: str, key: str) -> None:
    def words(**arguments: Any) -> Any:
        result = fit_words(representation={name: arguments}, stop_words=None).result
        return [topic.words for topic in result.topic_info]

    assert words(**{key: KEYS[name][key]}) != words()


def test_every_argument_of_a_representation_stands_in_the_table() -> None:
    for name, keys in KEYS.items():
        accepted = set(section_types(section_types(RepresentationSections)[name]))
        assert accepted - {"random_state"} == set(keys)  # which check_upstream refuses


@pytest.mark.parametrize("name", ["ctfidf", "keybert", "mmr"])
def test_so_many_words_as_bertopic_is_told_come_from_each_representation(name: str) -> None:
    for count in (3, 14):
        result = fit_words(representation=name, bertopic={"top_n_words": count}).result
        assert {len(topic.words) for topic in result.topic_info} == {count}


def test_spacy_and_language_models_are_asked_for_by_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for representation in ("pos", "llm", {"llm": {"provider": "openai"}}):
        with pytest.raises(MissingExtraError, match="pip install"):
            fit_words(representation=representation)


def test_labels_of_a_language_model_name_the_topics_and_leave_the_words_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from bertopic.representation import BaseRepresentation

    from moee_topics.topics import representations as module

    class Shouting(BaseRepresentation):  # type: ignore[misc]
        def __init__(self, model: str) -> None:
            self.model = model

        def extract_topics(self, topic_model: Any, documents: Any, c_tf_idf: Any, topics: Any) -> Any:
            return {topic: [(f"{self.model} {words[0][0].upper()}", 1)] for topic, words in topics.items()}

    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    monkeypatch.setattr(module.bertopic_representation, "LiteLLM", Shouting)
    labels = {"llm": {"model": "loud"}}
    for representation in (labels, ["ctfidf", labels]):
        for topic in fit(representation=representation).result.topic_info:
            assert topic.name == f"loud {topic.words[0][0].upper()}"
    with pytest.raises(InputError, match=r"litellm\.modl: litellm takes provider, model"):
        fit_words(representation={"llm": {"modl": "loud"}})
