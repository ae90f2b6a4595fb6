"""Writes the page of all keys of a recipe from the docstrings of its sections, before the site is built."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from moee_topics.evaluate import SCORES
from moee_topics.recipe import Recipe
from moee_topics.schema import describe_type, section_types

PAGE = Path(__file__).with_name("recipe-keys.md")
UPSTREAM = {
    "umap": "https://umap-learn.readthedocs.io/en/latest/api.html",
    "hdbscan": "https://hdbscan.readthedocs.io/en/latest/api.html",
    "vectorizer": "https://scikit-learn.org/stable/modules/generated/sklearn.feature_extraction.text.CountVectorizer.html",
    "ctfidf": "https://maartengr.github.io/BERTopic/api/ctfidf.html",
    "bertopic": "https://maartengr.github.io/BERTopic/api/bertopic.html",
}
HEAD = """# Every key of a recipe

A recipe is a YAML file of these sections. On the command line a key is changed by `SECTION.KEY=VALUE`, such as
`fusion.alpha=0.5`; from Python by `load_recipe("quickstart", ["fusion.alpha=0.5"])`. What a recipe comes to, defaults
included, is printed by `moee-topics recipes show quickstart seed=42`. A change of `encoder` encodes again; all others
begin with the stored vectors.

In brackets stands what holds where a key is left out. This page is written from the docstrings of the code.
"""


def page() -> str:
    """The page."""
    parts = [HEAD]
    for name, kind in section_types(Recipe).items():
        keys = section_types(kind)
        parts.append(f"\n## {name}\n")
        if name in UPSTREAM:
            parts.append(f"{first_line(kind)} [Their meaning and defaults]({UPSTREAM[name]}).\n")
            parts += [f"- `{key}`: {describe_type(inner)}" for key, inner in keys.items()]
        elif keys:
            parts += [f"{first_line(kind)}\n", *entries(kind, "")]
        elif name == "scores":
            parts.append("What is computed of the finished topics; by default all of them.\n")
            parts += [f"- `{score}`: {first_line(unwrapped(SCORES[score].function))}" for score in SCORES]
        else:
            parts.append(f"Of everything that is drawn at random. By default {Recipe.model_fields[name].default}.")
    return "\n".join(parts).rstrip() + "\n"


def entries(kind: Any, prefix: str) -> Iterator[str]:
    """An entry for each key of a section, those of a section inside it after the key that holds it."""
    told = attributes(kind)
    for item in dataclasses.fields(kind):
        if not item.init:
            continue
        value = default(item)
        yield f"- `{prefix}{item.name}`{f' ({value})' if value else ''}: {told[item.name]}"
        if (inner := inside(kind, item.name)) is not None:
            yield from entries(inner, f"{prefix}{item.name}.")


def inside(kind: Any, name: str) -> Any:
    """The section that a key holds, if it holds one."""
    annotation = section_types(kind)[name]
    return next((one for one in (annotation, *get_args(annotation)) if dataclasses.is_dataclass(one)), None)


def default(item: dataclasses.Field[Any]) -> str:
    """What holds where the key is left out; empty where it must be given or is a section."""
    value = item.default
    if value is dataclasses.MISSING or dataclasses.is_dataclass(value):
        return ""
    return f"`{json.dumps(value, default=str)}`" if not isinstance(value, str) else f"`{value}`"


def unwrapped(function: Any) -> Any:
    """A function without the arguments that are set already."""
    return getattr(function, "func", function)


def first_line(kind: Any) -> str:
    """What a section or a function is."""
    return plain(str(inspect.getdoc(kind)).partition("\n\n")[0])


def attributes(kind: Any) -> Mapping[str, str]:
    """What the docstring of a section says of each of its keys."""
    text = str(inspect.getdoc(kind)).partition("Attributes:\n")[2]
    entries = re.split(r"^    (?=\w[\w, ]*: )", text.partition("\n\n")[0], flags=re.MULTILINE)
    told = {}
    for entry in filter(None, entries):
        names, _, said = entry.partition(": ")
        told |= dict.fromkeys((name.strip() for name in names.split(",")), plain(said))
    return told


def plain(text: str) -> str:
    """A docstring in Markdown."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    return " ".join(re.sub(r"\bNone\b", "null", text).split())  # as YAML writes it


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
