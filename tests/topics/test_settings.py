from __future__ import annotations

import inspect
import json
import re
from typing import Any

import pytest
from bertopic.representation import KeyBERTInspired, MaximalMarginalRelevance

from moee_topics.errors import InputError, RecipeError
from moee_topics.recipe import parse_recipe
from moee_topics.schema import section_types
from moee_topics.topics import FitSettings, OutlierReduction
from moee_topics.topics.settings import check_upstream, representations
from moee_topics.topics.upstream import RepresentationSections


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
    with pytest.raises(InputError, match=r"The setting stop_words.* of a topic model is not right"):
        FitSettings.from_json({"stop_words": 3})


@pytest.mark.parametrize(
    ("representation", "message"),
    [
        ("mmr2", "no representation 'mmr2'. Did you mean mmr? Known: keybert, mmr, pos, ctfidf, llm"),
        (["keybert", 3], "representation is 3, expected a name"),
        (None, "representation is None, expected a name"),
        ({"mmr": {}, "keybert": {}}, "one name with its arguments"),
        ({"mmr": 3}, "mmr is 3, expected a mapping"),
        ({"mmr": {"diversity": "x"}}, "mmr.diversity is 'x', expected a number, at least 0, at most 1"),
        (["keybert", {"mmr": {"diversity": 2}}], "mmr.diversity is 2, expected a number, at least 0, at most 1"),
        ({"mmr": {"diversty": 0.1}}, "there is no key mmr.diversty: mmr takes diversity, top_n_words"),
        ({"keybert": {"top_n_words": "many"}}, "keybert.top_n_words is 'many', expected a whole number, at least 1"),
        ({"pos": {"pos_patterns": [3]}}, "pos.pos_patterns"),
        ({"ctfidf": {"x": 1}}, "ctfidf takes no arguments"),
        ({"llm": {"provider": "azure"}}, "provider of language models 'azure'. Known: litellm, openai"),
        ({"llm": {"provider": ["openai"]}}, "provider of language models"),
        ({"llm": {"model": 3}}, "litellm.model is 3, expected text"),
        ({"llm": {"provider": "text_generation", "system_prompt": "x"}}, "text_generation takes provider, model"),
        ({"llm": "gpt"}, "litellm is 'gpt', expected a mapping"),
    ],
)
def test_arguments_of_a_representation_are_checked_where_the_settings_are_made(
    representation: Any, message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        FitSettings(representation=representation)
    with pytest.raises(RecipeError, match=r"representation|provider"):
        parse_recipe({"corpus": {"source": "docstrings"}, "topics": {"representation": representation}})


def test_every_argument_of_a_representation_is_upstream_s_and_none_is_left_out() -> None:
    for name, kind in {"keybert": KeyBERTInspired, "mmr": MaximalMarginalRelevance}.items():
        accepted = set(section_types(section_types(RepresentationSections)[name]))
        assert accepted == set(inspect.signature(kind).parameters)


@pytest.mark.parametrize(
    ("representation", "words", "message"),
    [
        ({"keybert": {"random_state": 3}}, None, "keybert.random_state does nothing"),
        ({"keybert": {"nr_candidate_words": 5}}, None, "keybert.nr_candidate_words is 5, too few to choose 10 words"),
        ("keybert", 101, "keybert.nr_candidate_words is 100, too few to choose 101 words"),
        ({"keybert": {"nr_samples": 4}}, None, "keybert.nr_repr_docs is above keybert.nr_samples"),
        ({"mmr": {"top_n_words": 31}}, None, "mmr has 30 words to choose from, so that 31 would be all of them"),
        ("mmr", 40, "mmr has 40 words to choose from"),
        ([{"keybert": {"top_n_words": 5}}, {"mmr": {"top_n_words": 5}}], 7, "bertopic.top_n_words does nothing"),
        ({"llm": {"provider": "text_generation"}}, None, "llm.model is missing"),
        ({"llm": {"exponential_backoff": True}}, None, "generator_kwargs={num_retries: 5} does"),
        ({"llm": {"provider": "openai", "doc_length": 9}}, None, "llm.doc_length and llm.tokenizer go together"),
        ({"llm": {"provider": "openai", "tokenizer": "char"}}, None, "llm.doc_length and llm.tokenizer go together"),
        ({"llm": {"prompt": "of [KEYWORDS]", "nr_docs": 2}}, None, "llm.nr_docs is for an llm.prompt that holds"),
        ({"llm": {"provider": "text_generation", "model": "m", "diversity": 0.1}}, None, "llm.diversity is for an"),
        ({"llm": {"generator_kwargs": {"model": "m"}}}, None, "llm.generator_kwargs.model is said by llm.model"),
    ],
)
def test_an_argument_that_does_nothing_to_the_words_or_labels_is_refused(
    representation: Any, words: int | None, message: str
) -> None:
    bertopic = {} if words is None else {"top_n_words": words}
    with pytest.raises(InputError, match=re.escape(message)):
        check_upstream(FitSettings(representation=representation, bertopic=bertopic))
    data = {"corpus": {"source": "x"}, "topics": {"representation": representation}, "bertopic": bertopic}
    with pytest.raises(RecipeError, match=re.escape(message)):
        parse_recipe(data)


@pytest.mark.parametrize("choice", ["english", "auto", "de", "grc", "zh-Hans", None, [], ["one"]])
def test_stop_words_that_may_be_there_are_taken(choice: Any) -> None:
    parse_recipe({"corpus": {"source": "x"}, "topics": {"stop_words": choice}})


@pytest.mark.parametrize("choice", ["klingon", "German", "", "de en"])
def test_stop_words_of_no_language_are_refused_with_the_recipe_whether_spacy_is_there_or_not(choice: str) -> None:
    with pytest.raises(RecipeError, match=r"nor the code of a language such as .de.; a list of words works too"):
        parse_recipe({"corpus": {"source": "x"}, "topics": {"stop_words": choice}})


def test_right_arguments_of_a_representation_are_kept_as_they_are() -> None:
    openai = {"provider": "openai", "base_url": "http://here", "model": "m", "nr_docs": 2, "generator_kwargs": {"a": 1}}
    pos = {"pos_patterns": [[{"POS": "ADJ"}, {"POS": "NOUN"}]], "top_n_words": 5}
    settings = FitSettings(representation=["ctfidf", {"pos": pos}, {"llm": openai}, {"keybert": None}])
    assert representations(settings) == [("ctfidf", {}), ("pos", pos), ("llm", openai), ("keybert", {})]


def test_outliers_by_probabilities_are_refused_at_once_where_there_are_none() -> None:
    message = r"topics\.outliers\.strategy=probabilities needs bertopic\.calculate_probabilities=true"
    outliers = {"topics": {"outliers": {"strategy": "probabilities"}}}
    with pytest.raises(RecipeError, match=message):
        parse_recipe({"corpus": {"source": "docstrings"}, **outliers})
    parse_recipe({"corpus": {"source": "docstrings"}, **outliers}, ["bertopic.calculate_probabilities=true"])
    with pytest.raises(InputError, match=message):
        check_upstream(FitSettings(outliers=OutlierReduction("probabilities")))
