"""The rules of the house: imports point down, the CPU half never names torch, upstream is imported lazily."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import moee_topics

PACKAGE = Path(moee_topics.__file__).parent
LAYERS = [
    ["errors"],
    ["embeddings", "progress", "schema"],
    ["corpus"],
    ["store"],
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
GPU_HALF = {"encode"}
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


@pytest.mark.parametrize(
    "path", [p for p in files() if room(p) not in OUTSIDE], ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_a_room_is_entered_by_its_face(path: Path) -> None:
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "moee_topics" and len(parts) > 2 and (PACKAGE / parts[1]).is_dir():
            assert parts[1] == room(path), (
                f"import {parts[-1]} from moee_topics.{parts[1]}, which exports what others use"
            )


@pytest.mark.parametrize(
    "folder", sorted(p.parent for p in PACKAGE.rglob("__init__.pyi")), ids=lambda folder: folder.name
)
def test_no_name_of_a_face_is_also_a_file_of_its_room(folder: Path) -> None:
    """Otherwise the import of the file would put the module where the name was."""
    face = importlib.import_module(".".join(["moee_topics", *folder.relative_to(PACKAGE).parts]))
    values = {name for name in face.__all__ if not inspect.ismodule(getattr(face, name))}
    assert not values & {path.stem for path in folder.glob("*.py")}


def test_help_loads_neither_torch_nor_numba_nor_bertopic() -> None:
    code = (
        "import sys\nfrom moee_topics.cli import main\nsys.argv = ['moee-topics', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numba', 'bertopic', 'transformers', 'umap'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
