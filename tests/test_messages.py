"""Values and names in messages: cut to a length, and the nearest name where one is near."""

from __future__ import annotations

import pytest

from moee_topics.messages import did_you_mean, shortened


def test_a_value_is_as_python_writes_it_and_at_most_80_characters_long() -> None:
    assert shortened("a\nb") == r"'a\nb'"
    assert shortened("x" * 78) == repr("x" * 78)
    assert len(shortened("x" * 79)) == 78 and shortened("x" * 79).endswith("…")


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("fusion.alpa", " Did you mean fusion.alpha?"),
        ("alpha", " Did you mean fusion.alpha?"),
        ("topics.alpha", " Did you mean fusion.alpha?"),
        ("umap.sead", " Did you mean umap.seed?"),
        ("qqq", ""),
    ],
)
def test_the_nearest_key_of_its_own_section_comes_first(key: str, nearest: str) -> None:
    assert did_you_mean(key, ["fusion.alpha", "fusion.method", "umap.seed", "seed", "topics.words"]) == nearest
