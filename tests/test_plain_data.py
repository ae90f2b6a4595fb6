"""YAML that is data: numbers and dates as people mean them, hostile text one error, and no more than a recipe holds."""

from __future__ import annotations

import pytest

from moee_topics.errors import RecipeError
from moee_topics.plain_data import LARGEST_NUMBER, MAX_ALIASES, MAX_DEPTH, check_plain, read_yaml


@pytest.mark.parametrize(("text", "value"), [("1e-3", 0.001), ("2.5", 2.5), ("-.5", -0.5), ("1_000", 1000), ("+7", 7)])
def test_numbers_are_read_as_people_write_them(text: str, value: float) -> None:
    assert read_yaml(text, "it") == value


@pytest.mark.parametrize("text", ["2001-01-01", "12:30", "007", "1.2.3"])
def test_dates_and_times_stay_text(text: str) -> None:
    assert read_yaml(text, "it") == text


BOMB = "a: &a [x, x]\n" + "".join(
    f"{now}: &{now} [{', '.join([f'*{before}'] * 9)}]\n" for before, now in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, f"more than {MAX_ALIASES} aliases"),
        ("[" * 100_000, f"nested deeper than {MAX_DEPTH}"),
        ("a: {b: 1, b: 2}", "stands twice"),
        ("9" * 5000, "digits"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: [1", "expected ',' or ']'"),
        ("\x00", "special characters"),
        ("? [a]\n: b", "unhashable"),
    ],
)
def test_hostile_yaml_is_one_error(text: str, reason: str) -> None:
    with pytest.raises(RecipeError, match="it is not YAML") as error:
        read_yaml(text, "it")
    assert reason in str(error.value)


def test_a_merge_key_is_still_yaml() -> None:
    assert read_yaml("base: &b {x: 1}\nmine: {<<: *b, y: 2}", "it")["mine"] == {"x": 1, "y": 2}


def test_data_that_json_can_hold_passes_and_what_it_cannot_is_named_with_its_place() -> None:
    check_plain({"a": [1, 0.5, "ü", None, True, {"b": LARGEST_NUMBER - 1}]}, "it")
    with pytest.raises(RecipeError, match=r"it: a\.1\.b is a whole number beyond 64 bits"):
        check_plain({"a": [1, {"b": LARGEST_NUMBER}]}, "it")
