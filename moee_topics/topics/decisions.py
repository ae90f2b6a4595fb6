"""What an analyst decided about topics, as plain data: each with the topics' ids and their words at that time.

A new kind of decision is a verb and its entry in ``KINDS``, and a method of that name in ``replay.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from moee_topics.errors import RecipeError
from moee_topics.messages import shortened

Verb = Literal["name", "merge", "drop", "split", "pin", "note", "seed"]
VERBS: tuple[Verb, ...] = get_args(Verb)

DecisionState = Literal["applied", "settled", "conflict"]

MOST_PARTS = 50
NOTED = ("into", "words")
"""What is added to a decision when it is applied."""
WORDS_KEPT = 10
"""How many words of a topic are noted, by which it is found in another fit."""


@dataclass(frozen=True)
class Kind:
    """What decisions of one verb are.

    Attributes:
        holds: what the verb of an entry holds.
        beside: what may stand beside it in the entry.
        line: the decision in a few words.
        done: in one word, for the report.
        moves: whether a document can get another topic by it.
        least: the lowest topic it can be on; -1 stands for no topic.
        longest: characters of its text.
    """

    holds: Literal["text", "topic", "topics", "documents", "seeds"]
    beside: tuple[str, ...]
    line: str
    done: str
    moves: bool = False
    least: int = 0
    longest: int = 0


KINDS: Mapping[Verb, Kind] = {
    "name": Kind("text", ("topic", "words"), "name {topics}: {text}", "Named", longest=200),
    "merge": Kind("topics", ("words",), "merge {topics}", "Merged", moves=True),
    "drop": Kind("topic", ("words",), "drop {topics}", "Dropped", moves=True),
    "split": Kind("topic", ("parts", "into", "words"), "split {topics} into {parts}", "Split", moves=True),
    "pin": Kind("documents", ("topic", "words"), "pin {documents} to {topics}", "Pinned", moves=True, least=-1),
    "note": Kind("text", ("topic", "words"), "note on {topics}: {text}", "Note", longest=2_000),
    "seed": Kind("seeds", (), "seed {seeds}", "Seed"),
}


@dataclass(frozen=True)
class Decision:
    """One decision, an entry of ``decisions.yaml`` such as ``{name: Space flight, topic: 3, words: [orbit, nasa]}``.

    Attributes:
        verb: what is done.
        topics: to which topics; of a merge the first keeps its id, of a pin -1 stands for no topic.
        text: the name, or the note.
        documents: ids of pinned documents.
        seeds: words of a seed.
        parts: of a split.
        into: the topics that came of a split.
        words: of each topic at that time, by which it is found where its id is gone or says nothing.
    """

    verb: Verb
    topics: tuple[int, ...] = ()
    text: str = ""
    documents: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ()
    parts: int = 2
    into: tuple[int, ...] = ()
    words: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        """Refuses a verb that there is not.

        Raises:
            RecipeError: its verb is none of :data:`VERBS`.
        """
        if self.verb not in VERBS:
            raise RecipeError(f"There is no decision {shortened(self.verb)}. Expected one of {', '.join(VERBS)}.")

    @property
    def kind(self) -> Kind:
        """What decisions of its verb are."""
        return KINDS[self.verb]

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes it the same decision: all but what it was noted with."""
        return tuple(getattr(self, one.name) for one in fields(self) if one.name not in NOTED)

    def words_of(self, place: int) -> tuple[str, ...]:
        """The words of one of its topics; none where they were not noted."""
        return self.words[place] if place < len(self.words) else ()

    def __str__(self) -> str:
        """In a few words, for lists and messages."""
        lists = {"topics": " and ".join(map(str, self.topics)), "documents": ", ".join(self.documents)}
        return self.kind.line.format(**lists, text=self.text, seeds=", ".join(self.seeds), parts=self.parts)

    def to_plain(self) -> dict[str, Any]:
        """As an entry of ``decisions.yaml``."""
        is_one = len(self.topics) == 1
        topics: Any = self.topics[0] if is_one else list(self.topics)
        words = [list(of_topic) for of_topic in self.words] if any(self.words) else []
        values: dict[str, Any] = {
            "text": self.text,
            "topic": topics,
            "topics": topics,
            "documents": list(self.documents),
            "seeds": list(self.seeds),
            "parts": self.parts,
            "into": list(self.into),
            "words": words[0] if is_one and words else words,
        }
        beside = {key: values[key] for key in self.kind.beside if values[key] or key not in NOTED}
        return {self.verb: values[self.kind.holds], **beside}

    @classmethod
    def from_plain(cls, entry: Any, where: str) -> Decision:
        """Reads an entry of ``decisions.yaml``.

        Raises:
            RecipeError: it is not a decision; ``where`` begins the message.
        """
        verbs = [verb for verb in VERBS if isinstance(entry, Mapping) and verb in entry]
        if len(verbs) != 1:
            raise RecipeError(f"{where}: {shortened(entry)} is not a decision. Expected one of {', '.join(VERBS)}: …")
        verb, kind, read = verbs[0], KINDS[verbs[0]], _Entry(entry, f"{where}, {verbs[0]}")
        read.refuse_others((verb, *kind.beside))
        topics: tuple[int, ...] = ()
        if kind.holds == "topics":
            topics = read.several_ids(verb)
        elif kind.holds == "topic" or "topic" in kind.beside:
            topics = (read.id(verb if kind.holds == "topic" else "topic", least=kind.least),)
        return cls(
            verb,
            topics,
            text=read.line(verb, kind.longest) if kind.holds == "text" else "",
            documents=read.texts(verb) if kind.holds == "documents" else (),
            seeds=read.texts(verb) if kind.holds == "seeds" else (),
            parts=read.id("parts", least=2, most=MOST_PARTS) if "parts" in entry else cls.parts,
            into=read.ids("into") if "into" in entry else (),
            words=read.words(len(topics)),
        )


@dataclass(frozen=True)
class Outcome:
    """What became of a decision.

    Attributes:
        decision: with its topics and their words as they were found; of a conflict as it was given.
        state: ``applied``; ``settled``, where nothing is left to do; ``conflict``, where it cannot be applied.
        reason: of the other two, for people.
        known: whether its ids are those of these topics. A conflict with a topic that is gone for now stays one with
            this topic.
    """

    decision: Decision
    state: DecisionState
    reason: str = ""
    known: bool = True


@dataclass(frozen=True)
class _Entry:
    """One entry as it is read, whose faults are named with their place."""

    content: Mapping[str, Any]
    where: str

    def fault(self, key: str, expected: str) -> RecipeError:
        return RecipeError(f"{self.where}: {key} is {shortened(self.content.get(key))}, expected {expected}.")

    def refuse_others(self, keys: Sequence[str]) -> None:
        if odd := [key for key in self.content if key not in keys]:
            raise RecipeError(f"{self.where}: there is no key {shortened(odd[0])} here; known are {', '.join(keys)}.")

    def id(self, key: str, least: int = 0, most: int = 2**31) -> int:
        value = self.content.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.fault(key, f"a whole number from {least}" + (f" to {most}" if most < 2**31 else ""))
        return value

    def ids(self, key: str) -> tuple[int, ...]:
        value = self.content.get(key)
        if not isinstance(value, list) or any(isinstance(one, bool) or not isinstance(one, int) for one in value):
            raise self.fault(key, "a list of topics, such as [4, 7]")
        return tuple(value)

    def several_ids(self, key: str) -> tuple[int, ...]:
        value = self.ids(key)
        if len(value) < 2 or len(set(value)) < len(value) or min(value) < 0:
            raise RecipeError(
                f"{self.where}: {list(value)} are not two topics or more, each once and none the outliers (-1). "
                "Expected topics such as [4, 7]."
            )
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.content.get(key)
        many = value if isinstance(value, list) else [value]
        # An id of a document may look like a number, as line numbers do.
        if not many or any(isinstance(one, bool) or not isinstance(one, str | int) or one == "" for one in many):
            raise self.fault(key, "a text or a list of texts")
        return tuple(str(one) for one in many)

    def line(self, key: str, longest: int) -> str:
        value = self.content.get(key)
        text = (
            "" if isinstance(value, bool) or not isinstance(value, str | int | float) else " ".join(str(value).split())
        )
        if not text or len(text) > longest:
            raise self.fault(key, f"a line of 1 to {longest:,} characters")
        if key == "name" and re.match(r"-?\d+_", text):  # a report would show the words of the topic in its place
            raise self.fault(key, "a name that does not begin as those that BERTopic makes (3_orbit_nasa)")
        return text

    def words(self, topics: int) -> tuple[tuple[str, ...], ...]:
        value = self.content.get("words") or []
        if topics == 1 and not any(isinstance(one, list) for one in value):
            value = [value] if value else []
        if not isinstance(value, list) or not all(isinstance(of_topic, list) for of_topic in value):
            raise self.fault("words", "a list of words, of a merge one such list for each topic")
        return tuple(tuple(str(word) for word in of_topic) for of_topic in value)
