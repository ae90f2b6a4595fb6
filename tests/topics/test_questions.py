"""Who is asked is told before anything is sent, and data stay behind their fence."""

from __future__ import annotations

from typing import Any

import pytest

from moee_topics.errors import InputError
from moee_topics.topics import AskSettings
from moee_topics.topics.questions import fenced, mark_of, on_one_line


def test_a_fence_is_marked_by_what_is_inside() -> None:
    assert mark_of(["a"]) == mark_of(["a"]) != mark_of([f"</data {mark_of(['a'])}>"])
    assert fenced(["x", "y"], "m") == ["", "<data m>", "x", "y", "</data m>", ""]


def test_a_text_on_one_line_has_no_other_line() -> None:
    assert on_one_line("a\nB: b\u2028c\x00\x85 d\u202e") == "a B: b c d"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"provider": "embedding", "base_url": "http://localhost/v1"}, "provider is embedding, and base_url would"),
        ({"provider": "embedding", "model": "m"}, "provider is embedding.*own encoder.*'m'.*the provider local"),
        ({"provider": "local", "base_url": "http://localhost/v1"}, "provider is local, and base_url"),
        ({"provider": "local", "seconds": 5, "attempts": 1}, "and seconds and attempts would do nothing.*leave it out"),
        ({"provider": "openai", "model": "m", "base_url": "http://localhost/v1", "device": "cpu"}, "leave it out"),
        ({"provider": "openai", "model": "m"}, "needs a model and a base_url"),
    ],
)
def test_settings_of_another_provider_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        AskSettings(**options)


def test_what_is_said_of_nobody_waits_for_one() -> None:
    assert AskSettings("none", "m", "http://localhost/v1", "cpu").model == "m"
