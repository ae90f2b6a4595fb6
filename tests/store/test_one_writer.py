"""Everything that the package writes goes through ``store/files.py``: whole, synced, or not there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from house_map import PACKAGE, files

WRITERS = {
    *("write_text", "write_bytes", "save_file", "write_table", "savefig", "save_pretrained", "savez", "tofile"),
    *("to_csv", "to_parquet", "to_excel", "copyfile", "copy2", "copytree", "dump", "touch"),
}
ELSEWHERE = {
    "encode/models/quantizer.py": "writes into the folder that its one caller has from atomic_folder",
    "encode/quantization/int4_checkpoint.py": "likewise",
    "encode/mixtures/mixture_checkpoints.py": "likewise",
    "run_folder/decision_file.py": "yaml.dump gives text, which goes on through the one writer",
    "cli/help_page.py": "a page of help has methods of these names, and writes lines of text",
    "encode/diagnostics.py": "a model of a few thousand parameters in a temporary folder, for the doctor",
    "mteb/results.py": "a temporary folder for mteb, which writes by itself; what it wrote goes on through here",
}


def other_ways(path: Path) -> Iterator[str]:
    """Calls that write a file, outside of a ``with`` on a name that the one writer gave."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.With) and any("atomic_" in ast.unparse(item) for item in node.items):
            guarded.update(ast.walk(node))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or node in guarded:
            continue
        call = ast.unparse(node.func)
        constants = [value.value for value in [*node.args, *(key.value for key in node.keywords)] if is_text(value)]
        opens = call.endswith("open") and any(re.fullmatch(r"[wax][bt+]*|r[bt]*\+[bt]*", mode) for mode in constants)
        # The one writer's own functions are called by their bare names, a path's methods after a dot.
        if opens or call == "save_file" or ("." in call and call.rpartition(".")[2] in WRITERS):
            yield f"line {node.lineno}: {call}"


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_written_but_through_the_one_writer(path: Path) -> None:
    assert path.relative_to(PACKAGE).as_posix() in {*ELSEWHERE, "store/files.py"} or list(other_ways(path)) == []


def test_every_other_way_of_writing_is_seen(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    for line in (
        "path.write_text(x)",
        "open(path, 'w')",
        "path.open(mode='ab')",
        "frame.to_csv(path)",
        "save_file(x, y)",
    ):
        module.write_text(f"{line}\nwith atomic_path(x) as path:\n    {line}\n")
        assert [place.partition(":")[0] for place in other_ways(module)] == ["line 1"]
    module.write_text("write_text(path, x)\npath.open('r')\nfile.open(mode='rb')\n")
    assert list(other_ways(module)) == []
