"""A small file for each of the six task types, and a recipe of a corpus whose views are compared."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from bag_of_words import themed_corpus
from scored_files import write_files

from moee_topics.recipe import Recipe, parse_recipe


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="session")
def themes(tmp_path_factory: pytest.TempPathFactory, tiny_olmoe: Path) -> Recipe:
    path = tmp_path_factory.mktemp("views") / "themes.csv"
    with path.open("w") as file:
        csv.writer(file).writerows([("text", "label"), *zip(*themed_corpus(12, 0), strict=True)])
    encoder = {"model": str(tiny_olmoe), "prompt": "none", "dtype": "float32", "max_tokens": 64, "pooling": "mean"}
    return parse_recipe({"corpus": {"source": str(path)}, "encoder": encoder})
