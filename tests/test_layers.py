"""The rules of the house: imports point down, the CPU half never names torch, upstream is imported lazily."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import moee_topics

PACKAGE = Path(moee_topics.__file__).parent
LAYERS = [
    ["errors"],
    ["embeddings", "progress"],
    ["corpus", "store"],
    ["encode"],
    ["embed"],
    ["fuse"],
    ["topics", "evaluate"],
    ["run_folder"],
    ["report"],
    ["recipe"],
    ["run"],
    ["mteb"],
    ["cli"],
]
LAYER_OF = {name: layer for layer, names in enumerate(LAYERS) for name in names}
GPU_HALF = {"encode", "cli", "run"}
OUTSIDE = {"__init__", "__main__"}


def room(path: Path) -> str:
    """The module or sub-package a file belongs to, the way LAYERS names it."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def files() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if room(path) not in OUTSIDE]


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module == "moee_topics":
        return [f"moee_topics.{alias.name}" for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module]
    return []


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        yield from imported_names(node)


def test_every_module_has_a_layer() -> None:
    assert {room(path) for path in files()} <= set(LAYER_OF)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    here = room(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "moee_topics" or len(parts) < 2 or parts[1] in (here, "__version__"):
            continue
        assert LAYER_OF[parts[1]] < LAYER_OF[here], f"{here} must not import {parts[1]}"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_cpu_half_never_names_torch_or_transformers(path: Path) -> None:
    if room(path) in GPU_HALF:
        return
    assert not {name.split(".")[0] for name in imports(path)} & {"torch", "transformers", "bitsandbytes"}


def test_help_loads_neither_torch_nor_numba_nor_bertopic() -> None:
    code = (
        "import sys\nfrom moee_topics.cli import main\nsys.argv = ['moee-topics', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numba', 'bertopic', 'transformers', 'umap'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
