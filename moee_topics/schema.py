"""Plain data against a schema of sections: data and ``key=value`` overrides in, every fault in words out.

A schema is a pydantic model whose fields are sections: models again, or the ``Settings`` dataclasses of the rooms. What
a recipe of any kind has in common is here; what its sections are, is not.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from typing_extensions import is_typeddict

from moee_topics.errors import InputError, RecipeError
from moee_topics.messages import did_you_mean, shortened
from moee_topics.plain_data import check_plain, read_typed

EXTRA = ("extra_forbidden", "unexpected_keyword_argument")


class Section(BaseModel):
    """Base of a schema and of its sections: frozen, and unknown keys are errors, in dataclasses inside it too."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def instead_of(cls, key: str) -> str:
        """Why a key that does not exist is not there, and what does its work; empty if there is no more to say."""
        return ""

    @classmethod
    def excludes(cls, key: str) -> str:
        """The key that cannot be given together with this one, and that an override of it sets aside; empty if none."""
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
    if not isinstance(data, Mapping):
        raise RecipeError(f"{name} is {shortened(data)}, expected a mapping of sections.")
    merged, typed = dict(data), [parse_override(override) for override in overrides]
    named = {".".join(keys) for keys, _ in typed}
    for excluded in sorted({model.excludes(key) for key in named} - named - {""}):
        merged = _without(merged, excluded.split("."))
    for keys, value in typed:
        # A key may be of a section that was written short before.
        merged = _overridden(model.written_out(merged), keys, value)
    check_plain(merged, name)
    merged = model.written_out(merged)
    try:
        built: Schema = _validated(model, merged)
        return built
    except (ValidationError, InputError) as error:
        # A union tells a fault once for each of its types; the first has the value in its narrowest place.
        by_place: dict[str, str] = {}
        for place, fault in _faults(model, model, merged):
            by_place.setdefault(place, fault)
        faults = list(by_place.values()) or [str(error)]
    if len(faults) == 1:
        raise RecipeError(f"{name}: {faults[0]}")
    raise RecipeError(f"{name} has {len(faults)} faults:\n" + "\n".join(f"  {fault}" for fault in faults))


def _validated(annotation: Any, data: Any) -> Any:
    # JSON, because strict there means: lists fill tuples and text fills paths, but true is no 1 and "3" no 3.
    return _adapter(annotation).validate_json(json.dumps(data, default=str), strict=True)


@cache  # to make one of a whole recipe takes milliseconds
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def _faults(model: type[Section], annotation: Any, data: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """The place and the sentence of every fault of a section, of the sections inside it first.

    Each section is validated by itself, since pydantic stops at the first InputError of a ``__post_init__``. What says
    something of several sections together is asked only where each of them is right.
    """
    sections = {name: inside for name, inside in section_types(annotation).items() if section_types(inside)}
    faulty: set[Any] = set()
    for name, inside in sections.items() if isinstance(data, Mapping) else ():
        if isinstance(data.get(name), Mapping):
            for fault in _faults(model, inside, data[name], (*path, name)):
                faulty.add(name)
                yield fault
    for _ in range(2):  # a __post_init__ is asked once the values are of their types, so the second time without those
        rest = {key: value for key, value in data.items() if key not in faulty} if faulty else data
        try:
            _validated(annotation, rest)
        except InputError as error:
            yield f"{'.'.join(path)}:", f"{'.'.join(path)}: {error}"
            return
        except ValidationError as error:
            for problem in error.errors():
                # What is missing was taken out here, and what is wrong together may be so by that.
                if not (faulty and problem["type"] in ("missing", "value_error")):
                    yield _fault(model, {**problem, "loc": (*path, *problem["loc"])})
            faulty = faulty | {problem["loc"][0] for problem in error.errors() if problem["loc"]}
        if not (isinstance(data, Mapping) and faulty & data.keys()):
            return


def parse_override(override: str) -> tuple[list[str], Any]:
    """The keys and the value of ``section.key=value``; see :func:`moee_topics.plain_data.read_typed`.

    Raises:
        RecipeError: it is not of that form.
    """
    if not isinstance(override, str):
        raise RecipeError(
            f"{shortened(override)} is not an override. Expected text: key=value, such as fusion.alpha=0.5."
        )
    path, equals, value = override.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise RecipeError(f"{shortened(override)} is not an override. Expected key=value, such as fusion.alpha=0.5.")
    return keys, read_typed(value, f"The value of {shortened(override)}") if value else None


def _overridden(data: Mapping[str, Any], keys: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy of nested mappings with one value replaced."""
    first, *rest = keys
    if rest:
        inside = data.get(first)
        value = _overridden(inside if isinstance(inside, dict) else {}, rest, value)
    return {**data, first: value}


def _without(data: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """A copy of nested mappings that lacks one key."""
    first, *rest = keys
    inside = data.get(first)
    if rest and isinstance(inside, Mapping):
        return {**data, first: _without(inside, rest)}
    return {name: value for name, value in data.items() if rest or name != first}


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
    # YAML 1.1 reads "no" as false; what was typed is gone here, and the word is the likelier.
    spelt = ("no", "yes")[value] if isinstance(value, bool) else value if isinstance(value, int | float) else "…"
    structure = isinstance(value, int | float | Mapping | list)
    quote = f" Quote it to make it text: '{path}=\"{spelt}\"'." if structure and "text" in expected else ""
    return path, f"{path} is {shortened(value)}, expected {expected}.{quote}"


@cache
def section_types(annotation: Any) -> Mapping[str, Any]:
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
