"""A decision is an entry of a file and back, and an entry that is none is named with what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from moee_topics.errors import RecipeError
from moee_topics.topics.decisions import KINDS, VERBS, Decision

DECISIONS = [
    Decision("name", (3,), text="Space: <b>flight</b>", words=(("orbit", "nasa"),)),
    Decision("merge", (4, 7), words=(("god",), ("faith", "church"))),
    Decision("drop", (5,)),
    Decision("split", (2,), parts=3, into=(8, 9, 10), words=(("car", "no"),)),
    Decision("pin", (-1,), documents=("12", "post 17")),
    Decision("note", (3,), text="Two readers agree"),
    Decision("seed", seeds=("orbit", "null")),
]


def test_every_verb_has_its_keys_and_an_example() -> None:
    assert set(VERBS) == set(KINDS) == {decision.verb for decision in DECISIONS}


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda decision: decision.verb)
def test_an_entry_is_read_as_it_was_written(decision: Decision) -> None:
    assert Decision.from_plain(decision.to_plain(), "x") == decision
    assert next(iter(decision.to_plain())) == decision.verb and decision.verb in str(decision)


def test_a_verb_that_there_is_not_is_refused() -> None:
    with pytest.raises(RecipeError, match="no decision 'rename'"):
        Decision("rename", (3,))  # type: ignore[arg-type]


def test_what_was_noted_makes_no_other_decision() -> None:
    again = Decision("split", (2,), parts=3)
    assert again.key == DECISIONS[3].key and again != DECISIONS[3]
    assert Decision("split", (2,), parts=4).key != again.key


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("name", "is not a decision"),
        ({"rename": 3}, "is not a decision"),
        ({"name": "A", "drop": 3}, "is not a decision"),
        ({"name": "A"}, "topic is None, expected a whole number from 0"),
        ({"name": "A", "topic": "3"}, "topic is '3'"),
        ({"name": "A", "topic": True}, "topic is True"),
        ({"name": "  ", "topic": 3}, "name is '  ', expected a line of 1 to 200"),
        ({"name": "A" * 201, "topic": 3}, "expected a line of 1 to 200"),
        ({"name": "3_orbit", "topic": 3}, "does not begin as those that BERTopic makes"),
        ({"name": "A", "topic": 3, "colour": "red"}, "there is no key 'colour' here; known are name, topic, words"),
        ({"merge": [4, 4]}, r"\[4, 4\] are not two topics"),
        ({"merge": [4]}, "are not two topics"),
        ({"merge": [-1, 4]}, "none the outliers"),
        ({"merge": 4}, "merge is 4, expected a list of topics"),
        ({"split": 2, "parts": 1}, "parts is 1, expected a whole number from 2 to 50"),
        ({"drop": -1}, "drop is -1"),
        ({"pin": [], "topic": 3}, r"pin is \[\]"),
        ({"pin": [None], "topic": 3}, "expected a text or a list of texts"),
        ({"drop": 3, "words": "orbit"}, "words is 'orbit', expected a list of words"),
    ],
)
def test_what_is_no_decision_is_told(entry: Any, said: str) -> None:
    with pytest.raises(RecipeError, match=f"^line 7.*{said}"):
        Decision.from_plain(entry, "line 7")
