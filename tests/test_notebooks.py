"""The notebooks run from top to bottom on half their documents: the first always, the others with the slow tests."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="the notebooks need the extra [notebooks]")
nbclient = pytest.importorskip("nbclient", reason="the notebooks need the extra [notebooks]")
pytest.importorskip("matplotlib", reason="the notebooks need the extra [notebooks]")

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
MOST_BYTES = 600_000


def test_there_are_five_notebooks_of_a_small_size() -> None:
    assert len(NOTEBOOKS) == 5
    assert all(path.stat().st_size < MOST_BYTES for path in NOTEBOOKS)


def execute(notebook: Any, folder: Path) -> None:
    nbclient.NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": folder}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    assert any(cell.outputs for cell in cells)


@pytest.mark.parametrize(
    "path",
    [NOTEBOOKS[0], *(pytest.param(path, marks=pytest.mark.slow) for path in NOTEBOOKS[1:])],
    ids=lambda path: path.stem,
)
def test_a_notebook_runs_on_half_its_documents(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    if "05" in path.stem:
        pytest.importorskip("mteb", reason="notebook 05 needs the extra [mteb]")
    notebook, halved = nbformat.read(path, as_version=4), 0
    for cell in notebook.cells:
        cell.source, found = re.subn(r"per_package=(\d+)", lambda many: f"per_package={int(many[1]) // 2}", cell.source)
        halved += found
    assert halved
    execute(notebook, tmp_path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_enters_by_the_face_of_the_package(path: Path) -> None:
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
    imported = re.findall(r"(?:from|import) (moee_topics[\w.]*)", text)
    assert imported and set(imported) == {"moee_topics"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_outputs_of_a_notebook_name_no_path_of_a_machine(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    outputs = json.dumps([cell.outputs for cell in cells])
    assert not re.findall(r"site-packages|/(?:home|root|tmp|work|Users)/\S{,40}", outputs)
