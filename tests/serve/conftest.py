from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from served_runs import Client, Served
from tiny_runs import recipe_of, write_corpus

from moee_topics import run as pipeline
from moee_topics.serve import ServeSettings
from moee_topics.serve.service import TopicService


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, tiny_olmoe: Path) -> Path:
    """A finished run with its report; not to be changed."""
    root = tmp_path_factory.mktemp("served")
    corpus = write_corpus(root / "posts.jsonl")
    pipeline.run(recipe_of(corpus, tiny_olmoe, "report.html=true", "corpus.clean=html"), root / "run", root / "store")
    return root / "run"


@pytest.fixture(scope="session")
def service(run_folder: Path) -> TopicService:
    return TopicService.load(run_folder)


@pytest.fixture(scope="session")
def client(service: TopicService) -> Iterator[Client]:
    with Served(service, ServeSettings(port=0, per_request=50, body_mib=1)) as client:
        yield client
