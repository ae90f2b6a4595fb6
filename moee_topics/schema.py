"""Plain data against a schema of sections: bounded YAML and ``key=value`` overrides in, every fault in words out.

A schema is a pydantic model whose fields are sections: models again, or the ``Settings`` dataclasses of the rooms. What
a recipe of any kind has in common is here; what its sections are, is not.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import types
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from typing_extensions import is_typeddict

from moee_topics.errors import InputError, RecipeError

MAX_ALIASES = 20
MAX_DEPTH = 20
MAX_VALUES = 100_000
LARGEST_NUMBER = 2**63
EXTRA = ("extra_forbidden", "unexpected_keyword_argument")


class Section(BaseModel):
    """Base of a schema and of its sections: frozen, and unknown keys are errors, in dataclasses inside it too."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def instead_of(cls, key: str) -> str:
        """Why a key that does not exist is not there, and what does its work; empty if there is no more to say."""
        return ""

    @classmethod
    def written_out(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Plain data with the short forms written out that a schema allows; here none."""
        return data

    def to_json(self) -> dict[str, Any]:
        """The whole of it as plain JSON, defaults included."""
        return self.model_dump(mode="json")


Schema = TypeVar("Schema", bound=Section)


def build(
    model: type[Schema], data: Mapping[str, Any], overrides: Iterable[str] = (), *, name: str = "recipe"
) -> Schema:
    """Checks plain data and ``key=value`` overrides against a schema.

    Raises:
        RecipeError: a key does not exist, or a value is not of its type or range; every fault is named.
    """
    merged = dict(data)
    for override in overrides:
        merged = _overridden(merged, *parse_override(override))
    _check_plain(merged, name)
    merged = model.written_out(merged)
    text = json.dumps(merged, default=str)
    try:
        # JSON, because strict there means: lists fill tuples and text fills paths, but true is no 1 and "3" no 3.
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        # A union tells a fault once for each of its types; the first has the value in its narrowest place.
        by_place: dict[str, str] = {}
        for fault in error.errors():
            path, text = _fault(model, fault)
            by_place.setdefault(path, text)
        faults = list(by_place.values())
    except InputError as error:
        # Of a dataclass's __post_init__; pydantic lets it through without its place, so each section is made by itself.
        faults = []
        for key, annotation in section_types(model).items():
            try:
                TypeAdapter(annotation).validate_json(json.dumps(merged.get(key), default=str), strict=True)
            except InputError as refusal:
                faults.append(f"{key}: {refusal}")
            except ValidationError:  # of a section that is not there, and has its default
                continue
        faults = faults or [str(error)]
    if len(faults) == 1:
        raise RecipeError(f"{name}: {faults[0]}")
    raise RecipeError(f"{name} has {len(faults)} faults:\n" + "\n".join(f"  {fault}" for fault in faults))


def parse_override(override: str) -> tuple[list[str], Any]:
    """The keys and the value of ``section.key=value``; the value is YAML.

    Raises:
        RecipeError: it is not of that form.
    """
    path, equals, value = override.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise RecipeError(f"{shortened(override)} is no override. Expected key=value, such as fusion.alpha=0.5.")
    return keys, read_yaml(value, f"The value of {shortened(override)}") if value.strip() else None


def _overridden(data: Mapping[str, Any], keys: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy of nested mappings with one value replaced."""
    first, *rest = keys
    if rest:
        inside = data.get(first)
        value = _overridden(inside if isinstance(inside, dict) else {}, rest, value)
    return {**data, first: value}


# --- YAML -------------------------------------------------------------------------------------------------------------


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


def read_yaml(text: str, what: str) -> Any:
    """Plain data from YAML that is data: no tags that make objects, few aliases, no depth, no key twice.

    Raises:
        RecipeError: it is no such YAML; ``what`` begins the message.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader with limits)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # ValueError: an integer of more than 4,300 digits
        raise RecipeError(f"{what} is not YAML of a recipe: {' '.join(str(error).split())}") from error


def _check_plain(data: Any, name: str) -> None:
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


# --- faults in words --------------------------------------------------------------------------------------------------


def _fault(model: type[Section], fault: Mapping[str, Any]) -> tuple[str, str]:
    """The place of one of pydantic's faults, and a sentence."""
    kind, value, path = fault["type"], fault["input"], ""
    annotation: Any = model
    for i, part in enumerate(fault["loc"]):
        # pydantic names the branches of unions in between, which are no keys; a key too many is the last part.
        inside = section_types(annotation)
        if isinstance(part, int) and inside:
            path += f"[{part}]"
        elif part in inside or (kind in EXTRA and i == len(fault["loc"]) - 1):
            path += f".{part}"
            annotation = inside.get(str(part), Any)
    path = path.lstrip(".")
    if kind in EXTRA:
        if instead := model.instead_of(path):
            return path, f"there is no key {path}: {instead}."
        return path, f"there is no key {path}." + did_you_mean(path, list(known_keys(model)))
    if kind == "missing":
        first = next(iter(section_types(annotation)), "")
        return path, f"{path} is missing. Set {path}{'.' if first else ''}{first}=…"
    if kind == "value_error":
        return path, f"{path}{': ' if path else ''}{fault['ctx']['error']}"
    expected = describe_type(annotation)
    number = isinstance(value, int | float) and "text" in expected
    quote = f" Quote it to make it text: '{path}=\"{value}\"'." if number else ""
    return path, f"{path} is {shortened(value)}, expected {expected}.{quote}"


def section_types(annotation: Any) -> dict[str, Any]:
    """The keys of a section and their types, through "or null" and lists; empty for anything else."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        hints = get_type_hints(annotation, include_extras=True)
        return {name: hints[name] for name in annotation.model_fields}
    if is_typeddict(annotation):
        return get_type_hints(annotation, include_extras=True)
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        hints = get_type_hints(annotation, include_extras=True)
        return {item.name: hints[item.name] for item in dataclasses.fields(annotation) if item.init}
    if get_origin(annotation) is Literal:
        return {}
    return next((keys for inner in get_args(annotation) if (keys := section_types(inner))), {})


def known_keys(model: type[Section]) -> Iterator[str]:
    """Every key of a schema with its section, as ``fusion.alpha``."""
    yield from _keys(model, "")


def _keys(annotation: Any, prefix: str) -> Iterator[str]:
    for name, inner in section_types(annotation).items():
        yield prefix + name
        yield from _keys(inner, f"{prefix}{name}.")


def describe_type(annotation: Any) -> str:
    """A type in the words of a person who writes YAML."""
    names = {
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        Path: "a path",
        Any: "a value",
    }
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in names:
        return names[annotation]
    if annotation is type(None):
        return "null"
    if origin is Literal:
        return " | ".join(str(value) for value in arguments)
    if origin is Annotated:
        return describe_type(arguments[0]) + "".join(_bounds(item) for item in arguments[1:])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe_type(argument) for argument in arguments))
    if origin in (list, tuple, Sequence):
        return f"a list of ({describe_type(arguments[0])})"
    return "a mapping of keys to values"


def _bounds(item: Any) -> str:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    limits = item.metadata if isinstance(item, FieldInfo) else [item]
    return "".join(
        f", {word} {getattr(limit, key)}" for limit in limits for key, word in words.items() if hasattr(limit, key)
    )


def did_you_mean(key: str, keys: Collection[str]) -> str:
    """The end of a message: the nearest of some keys, in its own section first; empty if none is near."""
    section, dot, name = key.rpartition(".")
    siblings = {option.removeprefix(section + dot): option for option in keys if option.startswith(section + dot)}
    last = {option.rpartition(".")[2]: option for option in reversed(list(keys))}
    for word, options in ((name, siblings if dot else {}), (key, {option: option for option in keys}), (name, last)):
        if near := difflib.get_close_matches(word, options, n=1, cutoff=0.4 if options is siblings else 0.6):
            return f" Did you mean {options[near[0]]}?"
    return ""


def shortened(value: Any) -> str:
    """A value as Python writes it, cut to what fits into a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
