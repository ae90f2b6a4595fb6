"""YAML to plain data: no objects, few aliases, no depth, no key twice, nothing that JSON has no word for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from moee_topics.errors import RecipeError
from moee_topics.messages import shortened

MAX_ALIASES = 20
MAX_DEPTH = 20
MAX_VALUES = 100_000
LARGEST_NUMBER = 2**63


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses what only an attack or a slip holds: many aliases, deep nesting, a key twice."""

    aliases = depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self.aliases += self.check_event(yaml.AliasEvent)
        if self.aliases > MAX_ALIASES:
            raise yaml.composer.ComposerError(None, None, f"more than {MAX_ALIASES} aliases", mark)
        if self.depth >= MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {MAX_DEPTH} levels", mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            # PyYAML would keep the last one and forget the first without a word.
            if isinstance(key, yaml.ScalarNode) and key.value in seen and key.value != "<<":
                raise yaml.composer.ComposerError(None, None, f"the key {key.value!r} stands twice", key.start_mark)
            seen.add(str(key.value))
        return node


# YAML 1.1 makes dates of text and numbers in base sixty of 12:30, and takes 1e-3 for text; YAML 1.2 does neither.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] in ("bool", "null", "merge")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9_]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$|[-+]?[0-9]+[eE][-+]?[0-9]+$"
        r"|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
    ),
    list("-+.0123456789"),
)


def read_yaml(text: str, what: str, kind: str = "a recipe") -> Any:
    """Plain data from YAML that is data: no tags that make objects, few aliases, no depth, no key twice.

    Raises:
        RecipeError: it is not such YAML; ``what`` begins the message and ``kind`` is what it should have been.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader with limits)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # ValueError: an integer of more than 4,300 digits
        raise RecipeError(f"{what} is not YAML of {kind}: {' '.join(str(error).split())}") from error


def read_typed(text: str, what: str) -> Any:
    """The value of ``key=value`` as a person types it: brackets and quotation marks are YAML, the rest is one scalar.

    In a file ``*.md`` is an alias, ``# 1`` a comment, ``- `` a list and ``a: b`` a mapping. Nobody who types one of
    them behind an equals sign means that, and a comment would be null without a word.

    Raises:
        RecipeError: it begins as a list, a mapping or quoted text and does not end as one; ``what`` begins the message.
    """
    if text.isspace():  # a tab or a space is a delimiter
        return text
    text = text.strip()
    if text.startswith(("[", "{", '"', "'")):
        try:
            return read_yaml(text, what)
        except RecipeError as error:
            raise RecipeError(f"{error} If it is text that begins so, quote it: '\"…\"'.") from error
    loader = _Loader("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    if tag.rpartition(":")[2] not in ("bool", "null", "int", "float"):
        return text
    return read_yaml(text, what)


def check_plain(data: Any, name: str) -> None:
    """Refuses what JSON has no word for, and what is too much: expanded aliases, depth, numbers beyond 64 bits."""
    pending: list[tuple[Any, str, int]] = [(data, "", 0)]  # no recursion: its depth is what is to be refused
    for count in range(MAX_VALUES + 1):
        if not pending:
            return
        value, place, depth = pending.pop()
        fault, inside = "", list[tuple[Any, Any]]()
        if isinstance(value, Mapping):
            inside = list(value.items())
            if odd := [key for key in value if not isinstance(key, str)]:
                fault = f"has the key {shortened(odd[0])}, expected keys that are text"
        elif isinstance(value, list | tuple):
            inside = list(enumerate(value))
        elif isinstance(value, int) and abs(value) >= LARGEST_NUMBER:
            fault = "is a whole number beyond 64 bits"
        elif isinstance(value, str) and not value.isascii() and value.encode("utf-8", "ignore").decode() != value:
            fault = "holds half a character (a lone surrogate)"
        elif value is not None and not isinstance(value, int | float | str | Path):
            kind = type(value).__name__
            fault = f"is a {kind}, expected text, a number, true, false, null, a list or a mapping"
        if depth > MAX_DEPTH:
            fault = f"nested deeper than {MAX_DEPTH} levels"
        if fault or count == MAX_VALUES:
            raise RecipeError(f"{name}: {place or 'it'} {fault or f'holds more than {MAX_VALUES:,} values'}.")
        pending += [(inner, f"{place}.{key}".lstrip("."), depth + 1) for key, inner in inside]
