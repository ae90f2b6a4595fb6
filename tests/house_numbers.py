"""The house in numbers: rooms, arrows, lines, functions, callers, comments: ``python tests/house_numbers.py``."""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import house_map

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[Function]:
    """The functions and methods of a file, those inside others too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Function):
            yield node


def body_lines(function: Function, source: list[str]) -> int:
    """Lines of code of a function's body: no signature, docstring, comment or empty line."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    lines = source[body[0].lineno - 1 : function.end_lineno] if body else []
    return sum(1 for line in lines if line.strip() and not line.strip().startswith("#"))


def mentions(path: Path) -> Counter[str]:
    """How often each name is used in a file; to define or to import it does not count."""
    used: Counter[str] = Counter()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            used[node.id] += 1
        elif isinstance(node, ast.Attribute):
            used[node.attr] += 1
    return used


def comments(path: Path) -> int:
    """How many comments a file has, a line each."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    return sum(1 for token in tokens if token.type == tokenize.COMMENT)


def numbers() -> dict[str, float]:
    """What can be counted of the package."""
    paths = sorted(house_map.PACKAGE.rglob("*.py"))
    sources = {path: path.read_text(encoding="utf-8").splitlines() for path in paths}
    defined = {path: list(functions(path)) for path in paths}
    used = sum(map(mentions, paths), Counter[str]())
    private = [f for many in defined.values() for f in many if f.name.startswith("_") and not f.name.endswith("__")]
    lengths = sorted(body_lines(f, sources[path]) for path, many in defined.items() for f in many)
    lines = sum(map(len, sources.values()))
    arrows = house_map.arrows()
    return {
        "rooms": len(arrows),
        "arrows": sum(map(len, arrows.values())),
        "files": len(paths),
        "lines": lines,
        "lines of code in functions": sum(lengths),
        "functions": len(lengths),
        "median lines of a function": lengths[len(lengths) // 2],
        "longest function": lengths[-1],
        "private functions": len(private),
        "private functions with one caller": sum(used[f.name] == 1 for f in private),
        "of these with fewer than five lines": sum(
            used[f.name] == 1 and body_lines(f, sources[path]) < 5
            for path, many in defined.items()
            for f in many
            if f in private
        ),
        "functions with one caller": sum(used[f.name] == 1 for many in defined.values() for f in many),
        "comments per 100 lines": round(100 * sum(map(comments, paths)) / lines, 1),
    }


if __name__ == "__main__":
    for name, value in numbers().items():
        print(f"{name:36} {value:,}")
