"""The rooms of the package, the order they stand in, and the picture of it: ``python tests/house_map.py`` draws it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "moee_topics"
PICTURE = ROOT / "docs" / "house.svg"

FLOORS: list[dict[str, str]] = [
    {"errors": "one exception family", "defaults": "said once for all rooms", "messages": "values in words"},
    {
        "embeddings": "the value that crosses the wall",
        "progress": "what is told at work",
        "plain_data": "YAML, bounded",
    },
    {
        "schema": "plain data to dataclasses",
        "remote": "copies from object stores",
        "chat_endpoint": "a language model over HTTP",
    },
    {"corpus": "documents from anywhere"},
    {"store": "the wall on disk, atomic files"},
    {"encode": "text to hidden states and routing: torch"},
    {"embed": "encodes what the store lacks"},
    {"fuse": "one vector from both", "distributed": "the same embedding on many machines"},
    {"topics": "BERTopic: fit, predict, rework", "evaluate": "scores, agreement, experts"},
    {"run_folder": "every file of a run"},
    {"report": "one HTML file, tables, figures"},
    {"recipe": "the schema of a run"},
    {"run": "the stages and their order"},
    {"mteb": "scoring tasks", "serve": "a run over HTTP"},
    {"cli": "the command line"},
]
"""From the ground up; a room imports from lower floors only."""

FLOOR_OF = {name: floor for floor, rooms in enumerate(FLOORS) for name in rooms}
IMPORTING = {"import_module", "__import__", "find_spec", "run_module"}
WIDTH, HEIGHT, GAP, LEFT = 250, 44, 26, 300


def room(path: Path) -> str:
    """The folder or single file of the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def files() -> list[Path]:
    """The files of all rooms."""
    return [path for path in sorted(PACKAGE.rglob("*.py")) if room(path) not in ("__init__", "__main__")]


def imports(path: Path) -> Iterator[str]:
    """Every module or name a file imports, with its dots; also by a call that names it in plain text."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in IMPORTING:
            names = [value.value for value in node.args if isinstance(value, ast.Constant)]
            yield from (name for name in names[:1] if isinstance(name, str))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "moee_topics":
            yield from (f"moee_topics.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def arrows() -> dict[str, set[str]]:
    """The rooms that each room imports from."""
    seen: dict[str, set[str]] = {name: set() for name in FLOOR_OF}
    for path in files():
        targets = (name.split(".")[1] for name in imports(path) if name.startswith("moee_topics."))
        seen[room(path)] |= {target for target in targets if target in FLOOR_OF and target != room(path)}
    return seen


def without_shortcuts(seen: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The arrows without those that another way through the rooms says already."""

    def below(name: str) -> set[str]:
        return {further for target in seen[name] for further in (target, *below(target))}

    return {name: {t for t in targets if not any(t in below(o) for o in targets)} for name, targets in seen.items()}


def picture() -> str:
    """The map as an SVG: rooms on their floors, an arrow for each import that no other way says already."""
    places: dict[str, tuple[int, int]] = {}
    for floor, rooms in enumerate(FLOORS):
        y = 20 + (len(FLOORS) - 1 - floor) * (HEIGHT + GAP)
        start = LEFT - (len(rooms) * (WIDTH + 30) - 30) // 2 + 160
        places |= {name: (start + column * (WIDTH + 30), y) for column, name in enumerate(rooms)}
    parts = []
    for name, targets in sorted(without_shortcuts(arrows()).items()):
        for target in sorted(targets):
            (x1, y1), (x2, y2) = places[name], places[target]
            floors = FLOOR_OF[name] - FLOOR_OF[target]
            if floors == 1:  # straight down
                x1, y1, x2, y2, bend = x1 + WIDTH // 2, y1 + HEIGHT, x2 + WIDTH // 2, y2 - 3, 0
            else:  # around the rooms between, along their right side
                x1, y1, x2, y2, bend = x1 + WIDTH, y1 + HEIGHT // 2, x2 + WIDTH + 3, y2 + HEIGHT // 2, 20 + 14 * floors
            path = f"M{x1},{y1} C{x1 + bend},{y1 + 10} {x2 + bend},{y2 - 10} {x2},{y2}"
            parts.append(f'<path d="{path}" fill="none" stroke="#8a8f98" marker-end="url(#tip)"/>')
    for name, (x, y) in places.items():
        label = name + ("/" if (PACKAGE / name).is_dir() else ".py")
        fill = {"encode": "#fde8d0", "store": "#dbe9f6"}.get(name, "#f4f5f7")
        parts.append(f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{fill}" stroke="#c5c9d0"/>')
        parts.append(f'<text x="{x + 10}" y="{y + 18}" font-weight="bold">{escape(label)}</text>')
        parts.append(f'<text x="{x + 10}" y="{y + 35}" fill="#555b66">{escape(FLOORS[FLOOR_OF[name]][name])}</text>')
    height = 40 + len(FLOORS) * (HEIGHT + GAP)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 920 {height}" font-family="sans-serif" font-size="12">\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#8a8f98"/></marker></defs>\n'
        '<rect width="100%" height="100%" fill="white"/>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
