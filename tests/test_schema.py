"""A schema: dataclasses as sections, strict values, one readable message for every fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from moee_topics.errors import InputError, RecipeError
from moee_topics.schema import Section, build, known_keys, parse_override


@dataclass(frozen=True)
class Inner:
    share: Annotated[float, Field(ge=0, le=1)] = 0.0


@dataclass(frozen=True)
class Settings:
    size: Annotated[int, Field(ge=1)] = 3
    mode: Literal["a", "b"] = "a"
    names: tuple[str, ...] = ()
    folder: Path | None = None
    inner: Inner | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    words: str | Sequence[str] = "english"

    def __post_init__(self) -> None:
        if "bad" in self.names:
            raise InputError("names must not be bad.")


@dataclass(frozen=True)
class Part:
    file: str
    rows: int = 1


class Schema(Section):
    settings: Settings = Settings()
    parts: tuple[Part, ...] = ()
    seed: Annotated[int, Field(ge=0)] = 42
    again: Settings = Settings()


def refused(*overrides: str) -> str:
    with pytest.raises(RecipeError) as error:
        build(Schema, {}, overrides)
    return str(error.value)


def test_a_dataclass_is_a_section() -> None:
    made = build(
        Schema, {}, ["settings.size=5", "settings.inner.share=1", "settings.folder=some/where", "parts=[{file: x}]"]
    )
    assert made.settings == Settings(size=5, inner=Inner(1.0), folder=Path("some/where"))
    assert made.parts == (Part("x"),)
    assert build(Schema, made.to_json()) == made and Schema.model_validate(made.to_json()) == made


def test_keys_of_nested_dataclasses_are_known() -> None:
    keys = set(known_keys(Schema))
    assert {"settings.size", "settings.inner", "settings.inner.share", "parts.file", "seed"} <= keys
    assert not [key for key in keys if key.startswith("settings.options.")]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("settings.siez=1", "recipe: there is no key settings.siez. Did you mean settings.size?"),
        ("settings.inner.shaer=1", "recipe: there is no key settings.inner.shaer. Did you mean settings.inner.share?"),
        ("parts=[{file: x, row: 1}]", "recipe: there is no key parts[0].row. Did you mean parts.rows?"),
        ("settings.size=0", "recipe: settings.size is 0, expected a whole number, at least 1."),
        ("settings.inner.share=2", "recipe: settings.inner.share is 2, expected a number, at least 0, at most 1."),
        ("settings.mode=c", "recipe: settings.mode is 'c', expected a | b."),
        ("settings.names=x", "recipe: settings.names is 'x', expected a list of (text)."),
        ("settings=3", "recipe: settings is 3, expected a mapping of keys to values."),
        ("parts=[{}]", "recipe: parts[0].file is missing. Set parts[0].file=…"),
        ("settings.names=[bad]", "recipe: settings: names must not be bad."),
        ("settings.folder=7", "recipe: settings.folder is 7, expected a path or null."),
    ],
)
def test_a_fault_is_one_line_that_names_its_place(override: str, message: str) -> None:
    assert refused(override) == message


@pytest.mark.parametrize(
    "value", ["true", "'3'", "3.5", "3.0", "null", "[3]", "2001-01-01", "1:30", "03", ".nan", "auto"]
)
def test_a_whole_number_is_a_whole_number(value: str) -> None:
    assert "settings.size is " in refused(f"settings.size={value}")


@pytest.mark.parametrize("value", ["true", "'0.5'", ".nan", ".inf", "null", "x"])
def test_a_number_is_finite_and_no_text(value: str) -> None:
    assert "settings.inner.share is " in refused(f"settings.inner.share={value}")


def test_text_that_looks_like_a_number_is_asked_to_be_quoted() -> None:
    message = refused("settings.words=1984")
    assert message.endswith("Quote it to make it text: 'settings.words=\"1984\"'.")
    assert build(Schema, {}, ['settings.words="1984"']).settings.words == "1984"


def test_every_fault_of_every_section_is_named() -> None:
    lines = refused("settings.size=x", "seed=-1", "nonsense=1").splitlines()
    assert lines[0] == "recipe has 3 faults:" and len(lines) == 4
    lines = refused("settings.names=[bad]", "again.names=[bad]").splitlines()
    assert lines[1:] == ["  settings: names must not be bad.", "  again: names must not be bad."]


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("settings.options={a: &x [*x]}", "nested deeper"),
        (f"settings.size={2**64}", "settings.size is a whole number beyond 64 bits"),
        ("settings.options={1: a}", "settings.options has the key 1, expected keys that are text"),
        ("settings.options={a: !!binary aGk=}", "settings.options.a is a bytes"),
        ("settings.options={a: !!set {b}}", "settings.options.a is a set"),
        ('settings.words="\\uD800"', "half a character"),
    ],
)
def test_values_without_a_meaning_in_json_are_refused(override: str, reason: str) -> None:
    assert reason in refused(override)


def test_more_values_than_a_recipe_has_are_refused() -> None:
    shared = [["x"] * 10] * 1000
    with pytest.raises(RecipeError, match="more than 100,000 values"):
        build(Schema, {"settings": {"options": {"a": shared * 10}}})


def test_an_override_may_hold_equals_and_nothing() -> None:
    assert parse_override("a.b=c=d") == (["a", "b"], "c=d")
    assert parse_override("a=") == (["a"], None)
