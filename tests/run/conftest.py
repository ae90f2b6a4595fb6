from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import STABILITY, Heard, recipe_of, write_corpus

from moee_topics import embed
from moee_topics import run as pipeline
from moee_topics.encode.encoder import MoEEncoder


@pytest.fixture(scope="module")
def small_shards() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embed, "DOCUMENTS_PER_SHARD", 16)
        patch.setattr(embed, "DOCUMENTS_PER_CALL", 8)
        patch.setattr(embed, "CHARACTERS_PER_CALL", 0)
        yield


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "posts.jsonl")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, corpus: Path, tiny_olmoe: Path) -> Path:
    """A folder with the store and one finished run; not to be changed."""
    root = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embed, "DOCUMENTS_PER_SHARD", 16)
        pipeline.run(recipe_of(corpus, tiny_olmoe), root / "run", root / "store")
    return root


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "runs"))


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the weights were loaded")

    monkeypatch.setattr(MoEEncoder, "from_pretrained", refuse)


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory, finished: Path, corpus: Path, tiny_olmoe: Path) -> Path:
    """A finished run whose stability was asked for afterwards; not to be changed."""
    root = Path(shutil.copytree(finished, tmp_path_factory.mktemp("measured") / "runs"))
    heard = Heard()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MoEEncoder, "from_pretrained", lambda *_, **__: pytest.fail("the weights were loaded"))
        pipeline.run(recipe_of(corpus, tiny_olmoe, *STABILITY), root / "run", root / "store", progress=heard)
    assert heard.skipped == ["embed", "fit"] and list(heard.ended)[-2:] == ["stability", "report"]
    assert heard.fits == [1, 2, 3] and "topics" not in heard.ended
    return root
