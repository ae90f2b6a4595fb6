"""The section ``labels``: nobody is asked unless a recipe says so, and what it says is what the commands take."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from moee_topics.errors import RecipeError
from moee_topics.recipe import parse_recipe
from moee_topics.topics import CheckSettings, LabelSection, LabelSettings


def parsed(*overrides: str) -> LabelSection:
    return parse_recipe({"corpus": {"source": "a.csv"}}, overrides).labels


def test_nobody_is_asked_by_default_and_defaults_are_those_of_the_commands() -> None:
    section = LabelSection()
    assert (section.provider, section.check) == ("none", None) and parsed() == section
    assert {**asdict(LabelSettings()), "provider": "none", "check": None} == asdict(section)


def test_a_judge_is_named_by_a_word_or_by_a_section() -> None:
    assert parsed("labels.check=embedding").check == CheckSettings()
    assert parsed("labels.check=local", "labels.check.documents=3").check == CheckSettings("local", documents=3)
    assert parsed("labels.check={provider: local, seed: 7}").check == CheckSettings("local", seed=7)
    assert parsed("labels.check=local", "labels.check=none").check is None
    written = parse_recipe({"corpus": {"source": "a.csv"}, "labels": {"check": "local"}})
    assert written.labels.check == CheckSettings("local") and parse_recipe(written.to_json()) == written


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["labels.provider=openai"], "labels: The provider is openai, and it needs a model and a base_url"),
        (["labels.check=openai"], "labels.check: The provider is openai"),
        (["labels.check=nobody"], "labels.check.provider is 'nobody', expected embedding | local | openai"),
        (["labels.provider=embedding"], "labels.provider is 'embedding', expected none | local | openai"),
        (["labels.check=3"], "labels.check is 3"),
        (["labels.modle=x"], "there is no key labels.modle. Did you mean labels.model"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(overrides: list[str], said: str) -> None:
    with pytest.raises(RecipeError) as fault:
        parsed(*overrides)
    assert said in str(fault.value)
