from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from command_line import TEXTS, call


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory, tiny_olmoe: Path) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "posts.txt").write_text("\n".join(TEXTS))
    path = folder / "mine.yaml"
    data = {
        "corpus": {"source": str(folder / "posts.txt")},
        "encoder": {"model": str(tiny_olmoe), "prompt": "none", "pooling": "mean", "max_tokens": 32},
        "umap": {"n_neighbors": 5, "n_components": 2, "n_epochs": 20},
        "hdbscan": {"min_cluster_size": 4},
        "topics": {"representation": "ctfidf"},
    }
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Path:
    """A folder of runs with one finished run; not to be changed."""
    output = tmp_path_factory.mktemp("finished")
    result = call("run", recipe, "--output", output)
    assert result.exit_code == 0, result.stderr
    return output
