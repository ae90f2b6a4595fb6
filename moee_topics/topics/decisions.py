"""What an analyst decided about topics, as plain data: each with the topics' ids and their words at that time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from moee_topics.errors import RecipeError
from moee_topics.messages import shortened

Verb = Literal["name", "merge", "drop", "split", "pin", "note", "seed"]
VERBS: tuple[Verb, ...] = get_args(Verb)

LONGEST_NAME, LONGEST_NOTE, MOST_PARTS = 200, 2_000, 50
WORDS_KEPT = 10
"""Of a topic, by which it is found in another fit."""

FURTHER_KEYS: Mapping[Verb, tuple[str, ...]] = {
    "name": ("topic", "words"),
    "merge": ("words",),
    "drop": ("words",),
    "split": ("parts", "into", "words"),
    "pin": ("topic", "words"),
    "note": ("topic", "words"),
    "seed": (),
}
"""What may stand beside the verb of an entry."""


@dataclass(frozen=True)
class Decision:
    """One decision. Entries of ``decisions.yaml`` are such: ``{name: Space flight, topic: 3, words: [orbit, nasa]}``.

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

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes it the same decision: all but what it was noted with."""
        noted = ("into", "words")
        return tuple(getattr(self, one.name) for one in fields(self) if one.name not in noted)

    def words_of(self, place: int) -> tuple[str, ...]:
        """The words of one of its topics; none where they were not noted."""
        return self.words[place] if place < len(self.words) else ()

    def __str__(self) -> str:
        """In a few words, for lists and messages."""
        topics = " and ".join(str(topic) for topic in self.topics)
        return {
            "name": f"name {topics}: {self.text}",
            "merge": f"merge {topics}",
            "drop": f"drop {topics}",
            "split": f"split {topics} into {self.parts}",
            "pin": f"pin {', '.join(self.documents)} to {topics}",
            "note": f"note on {topics}: {self.text}",
            "seed": f"seed {', '.join(self.seeds)}",
        }[self.verb]

    def to_plain(self) -> dict[str, Any]:
        """As an entry of ``decisions.yaml``."""
        of_one: Any = self.topics[0] if len(self.topics) == 1 else list(self.topics)
        first: Any = {"name": self.text, "note": self.text, "pin": list(self.documents), "seed": list(self.seeds)}
        entry: dict[str, Any] = {self.verb: first.get(self.verb, of_one)}
        if self.verb in ("name", "note", "pin"):
            entry["topic"] = of_one
        if self.verb == "split":
            entry |= {"parts": self.parts, **({"into": list(self.into)} if self.into else {})}
        if any(self.words):
            words = [list(of_topic) for of_topic in self.words]
            entry["words"] = words[0] if len(self.topics) == 1 else words
        return entry

    @classmethod
    def from_plain(cls, entry: Any, where: str) -> Decision:
        """Reads an entry of ``decisions.yaml``.

        Raises:
            RecipeError: it is none; ``where`` begins the message.
        """
        verbs = [verb for verb in VERBS if isinstance(entry, Mapping) and verb in entry]
        if len(verbs) != 1:
            raise RecipeError(f"{where}: {shortened(entry)} is no decision. Expected one of {', '.join(VERBS)}: …")
        verb, read = verbs[0], _Entry(entry, f"{where}, {verbs[0]}")
        read.refuse_others((verb, *FURTHER_KEYS[verb]))
        if verb == "seed":
            return cls(verb, seeds=read.texts(verb))
        if verb == "merge":
            about = read.ids(verb)
        elif verb in ("drop", "split"):
            about = (read.id(verb),)
        else:
            about = (read.id("topic", least=-1 if verb == "pin" else 0),)
        if verb == "merge" and (len(about) < 2 or len(set(about)) < len(about) or min(about) < 0):
            raise RecipeError(
                f"{read.where}: {list(about)} are not two topics or more, each once and none the outliers (-1). "
                "Expected topics such as [4, 7]."
            )
        return cls(
            verb,
            about,
            text=read.line(verb, LONGEST_NAME if verb == "name" else LONGEST_NOTE) if verb in ("name", "note") else "",
            documents=read.texts(verb) if verb == "pin" else (),
            parts=read.id("parts", least=2, most=MOST_PARTS) if "parts" in entry else cls.parts,
            into=read.ids("into") if "into" in entry else (),
            words=read.words(len(about)),
        )


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
