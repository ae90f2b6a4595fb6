"""Arguments of representations by language models, followed to what the model is asked; no server is."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from fitted_topics import fit_words

from moee_topics.errors import InputError, MissingExtraError, ModelError
from moee_topics.schema import section_types
from moee_topics.topics import FitSettings, check_packages
from moee_topics.topics import representations as module
from moee_topics.topics.upstream import RepresentationSections

OF_DOCUMENTS = {"prompt": "about [DOCUMENTS]"}
SHARED: dict[str, dict[str, Any]] = {
    "model": {"model": "another"},
    "prompt": {"prompt": "in one word: [KEYWORDS]"},
    "nr_docs": {**OF_DOCUMENTS, "nr_docs": 1},
    "diversity": {**OF_DOCUMENTS, "diversity": 0.9},
}
CUT: dict[str, dict[str, Any]] = {
    "doc_length": {**OF_DOCUMENTS, "doc_length": 2, "tokenizer": "whitespace"},
    "tokenizer": {**OF_DOCUMENTS, "doc_length": 2, "tokenizer": "char"},
}
CLIENT: dict[str, dict[str, Any]] = {
    "generator_kwargs": {"generator_kwargs": {"temperature": 0.5}},
    "delay_in_seconds": {"delay_in_seconds": 0.5},
}
KEYS: dict[str, dict[str, dict[str, Any]]] = {
    "litellm": {**SHARED, **CLIENT},
    "openai": {
        **SHARED,
        **CUT,
        **CLIENT,
        "base_url": {"base_url": "http://here"},
        "system_prompt": {"system_prompt": "You are terse."},
    },
    "text_generation": {
        **SHARED,
        **CUT,
        "pipeline_kwargs": {"pipeline_kwargs": {"max_new_tokens": 3}},
        "random_state": {"random_state": 3},
    },
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Everything that is asked of a model, a client or the clock."""
    heard: list[Any] = []

    class NoKey(Exception):
        pass

    def answer(**request: Any) -> Any:
        heard.append(str(request))
        reply = SimpleNamespace(content="a label")
        return SimpleNamespace(choices=[SimpleNamespace(message=reply)])

    def client(base_url: str | None = None) -> Any:
        if base_url == "http://without-key":
            raise NoKey("api_key must be set.")
        heard.append(base_url)
        return SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=answer)))

    def completion(**request: Any) -> Any:
        answer(**request)
        return {"choices": [{"message": {"content": "a label"}}]}

    openai, litellm = ModuleType("openai"), ModuleType("litellm")
    vars(openai).update(OpenAI=client, OpenAIError=NoKey, RateLimitError=NoKey)
    vars(litellm).update(completion=completion)
    for package, name, kind in ((openai, "_openai", "OpenAI"), (litellm, "_litellm", "LiteLLM")):
        monkeypatch.setitem(sys.modules, package.__name__, package)
        place = f"bertopic.representation.{name}"
        monkeypatch.setitem(sys.modules, place, package)  # so that it is taken away after the test
        del sys.modules[place]
        part = importlib.import_module(place)
        monkeypatch.setattr(part, "time", SimpleNamespace(sleep=heard.append), raising=False)
        monkeypatch.setattr(module.bertopic_representation, kind, getattr(part, kind))
    generation = importlib.import_module("bertopic.representation._textgeneration")
    monkeypatch.setattr(generation, "set_seed", heard.append)
    monkeypatch.setattr(
        generation,
        "pipeline",
        lambda task, model: lambda prompt, **how: [heard.append(f"{model} {prompt} {how}") or {"generated_text": "a"}],
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    return heard


@pytest.mark.parametrize(("provider", "key"), [(provider, key) for provider, keys in KEYS.items() for key in keys])
def test_every_argument_of_a_language_model_changes_what_it_is_asked(
    provider: str, key: str, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def requests(arguments: dict[str, Any]) -> list[Any]:
        asked.clear()
        fit_words(representation=["ctfidf", {"llm": {"provider": provider, "model": "m", **arguments}}])
        return list(asked)

    changed = KEYS[provider][key]
    base = {name: value for name, value in changed.items() if name != key}
    if key in CUT:  # each needs the other one
        base = {**changed, key: {"doc_length": 3, "tokenizer": "whitespace"}[key]}
    assert requests(changed) != requests(base)


def test_every_argument_of_a_language_model_stands_in_the_table() -> None:
    for provider, keys in KEYS.items():
        accepted = set(section_types(section_types(RepresentationSections)[provider]))
        assert accepted - {"provider", "exponential_backoff"} == set(keys)


@pytest.mark.parametrize("again", [True, False])
def test_a_server_with_too_much_to_do_is_asked_again_where_that_was_asked_for_and_named_otherwise(
    again: bool, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    openai, refusals = sys.modules["openai"], iter([True])
    client = openai.OpenAI()
    answer = client.chat.completions.create

    def create(**request: Any) -> Any:
        if next(refusals, False):
            raise openai.RateLimitError("too many requests")
        return answer(**request)

    client.chat.completions.create = create
    monkeypatch.setattr(openai, "OpenAI", lambda base_url: client)
    monkeypatch.setattr("bertopic.representation._utils.time.sleep", asked.append)
    labels = ["ctfidf", {"llm": {"provider": "openai", "exponential_backoff": again}}]
    if again:
        assert {topic.name for topic in fit_words(representation=labels).result.topic_info if topic.topic >= 0} == {
            "a label"
        }
    else:
        with pytest.raises(ModelError, match="language model did not answer: too many requests"):
            fit_words(representation=labels)


def test_arguments_of_a_language_model_are_not_written_into(asked: list[Any]) -> None:
    arguments: dict[str, Any] = {"provider": "openai", "generator_kwargs": {"temperature": 0.5}}
    fit_words(representation=["ctfidf", {"llm": arguments}])
    assert arguments["generator_kwargs"] == {"temperature": 0.5}  # bertopic 0.17.4 adds "stop"


def test_a_server_without_its_key_is_told_before_anything_is_encoded(asked: list[Any]) -> None:
    with pytest.raises(InputError, match="OPENAI_API_KEY"):
        check_packages(FitSettings(representation={"llm": {"provider": "openai", "base_url": "http://without-key"}}))


def test_a_model_of_one_s_own_is_not_loaded_to_see_whether_it_is_there(asked: list[Any]) -> None:
    check_packages(FitSettings(representation={"llm": {"provider": "text_generation", "model": "m"}}))
    assert not asked


@pytest.mark.parametrize("representation", ["pos", "llm", {"llm": {"provider": "openai"}}])
def test_what_is_not_installed_is_told_before_anything_is_encoded(
    representation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install"):
        check_packages(FitSettings(representation=representation))
