"""The public docstrings of installed packages: a real corpus that every machine has, read without importing anything.

Each public class, function and method gives one document: the prose before the first section (parameters, examples,
…). Its label is the package.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

from moee_topics.corpus.document import Record
from moee_topics.corpus.settings import CorpusSettings
from moee_topics.errors import InputError

PACKAGES = (
    "sklearn",
    "scipy",
    "numpy",
    "pandas",
    "networkx",
    "sympy",
    "torch.nn",
    "torch.distributions",
    "jinja2",
    "huggingface_hub",
    "numba",
    "pydantic",
    "fsspec",
)
"""Read by default: they come with this package, and they write long docstrings on many different things."""

SHORTEST = 15
"""Words. Shorter docstrings mostly repeat the name of the function."""

NOT_PUBLIC = {"test", "tests", "testing", "conftest", "externals", "vendor", "thirdparty"}
SECTION = re.compile(
    r"(?:Parameters|Returns?|Yields|Attributes|Notes?|Examples?|See Also|References|Raises|Methods|Args|Arguments"
    r"|Keyword\w*|Shape|Warnings?)\b.{0,20}(?::\s*(?:\n|$)|\n\s*[-=~]{3,})|>>>|:param|\.\. ",
    re.IGNORECASE,
)
MARKUP = (
    (re.compile(r":\w+(?::\w+)?:`~?([^`<]+?)(?:\s*<[^`]*>)?`"), r"\1"),
    (re.compile(r"`{1,2}([^`]*)`{1,2}_{0,2}"), r"\1"),
    (re.compile(r"\*\*([^*]+)\*\*"), r"\1"),
)


def read_docstrings(settings: CorpusSettings) -> Iterator[Record]:
    """The docstrings of each package in turn, at most ``per_package`` of each, each text once."""
    for package in settings.packages or PACKAGES:
        yield from package_docstrings(package, settings.per_package)


def thin(records: Sequence[Record], most: int) -> Sequence[Record]:
    """At most so many of the records, evenly spaced and in their order; all of them for 0."""
    if most <= 0 or len(records) <= most:
        return records
    return [records[index * len(records) // most] for index in range(most)]


@cache
def package_docstrings(package: str, most: int = 0) -> tuple[Record, ...]:
    """Public docstrings of an installed package or sub-package, in the order of its files, each text once.

    Raises:
        InputError: the package is not installed, or has no Python source.
    """
    folder, modules = _package_folder(package), list[tuple[Path, str]]()
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).with_suffix("").parts
        # A private module may define public classes (sklearn.cluster._kmeans); a private folder may be vendored code.
        if not any(part in NOT_PUBLIC or "vendor" in part or part.startswith("test_") for part in parts):
            modules.append((path, ".".join([package, *(part for part in parts if part != "__init__")])))
    # With ``most`` only as many files are parsed as it takes. A digest mixes the parts of the package, and does so in
    # the same way on every machine.
    modules.sort(key=lambda module: hashlib.blake2b(module[1].encode(), digest_size=8).digest())
    seen: set[str] = set()
    records: dict[Path, list[Record]] = {}
    for path, module in modules:
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):  # some packages ship templates and files for other Python versions
            continue
        for name, docstring in _public_docstrings(tree, module):
            prose = first_prose(docstring)
            if len(prose.split()) >= SHORTEST and prose not in seen:
                seen.add(prose)
                records.setdefault(path, []).append(Record(name, prose, id=name, label=package))
        if 0 < most <= len(seen):
            break
    return tuple(thin([record for path in sorted(records) for record in records[path]], most))


def first_prose(docstring: str) -> str:
    """The paragraphs of a docstring before its first section, without reStructuredText markup."""
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", docstring.strip()):
        if SECTION.match(paragraph.strip()):
            break
        paragraphs.append(" ".join(paragraph.split()))
    prose = "\n".join(paragraphs)
    for pattern, plain in MARKUP:
        prose = pattern.sub(plain, prose)
    return prose


def _package_folder(package: str) -> Path:
    top, *below = package.split(".")
    spec = PathFinder.find_spec(top)  # of the top alone, as finding a sub-package would import its parent
    folders = [Path(folder, *below) for folder in (spec.submodule_search_locations or [])] if spec else []
    if not folders or not folders[0].is_dir():
        raise InputError(
            f"There is no installed package {package!r} to read docstrings from (corpus.packages). "
            "Give the name it is imported by, for example sklearn for scikit-learn."
        )
    return folders[0]


def _public_docstrings(node: ast.AST, prefix: str) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) or child.name.startswith("_"):
            continue
        name = f"{prefix}.{child.name}"
        docstring = ast.get_docstring(child)
        if docstring:
            yield name, docstring
        if isinstance(child, ast.ClassDef):
            yield from _public_docstrings(child, name)
