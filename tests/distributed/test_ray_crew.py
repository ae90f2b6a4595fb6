"""Workers on a Ray cluster of two: the bytes of one process, whatever happens to them."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import TEXTS, call
from ray_doubles import HashSource

from moee_topics.corpus import Document
from moee_topics.distributed import RayCrew, RaySettings
from moee_topics.embed import Embedder
from moee_topics.errors import MissingExtraError, ModelError, ResourceError, StoreError
from moee_topics.progress import Progress
from moee_topics.store import EmbeddingStore, key_digest

TWO = RaySettings(workers=2, gpus=0, cpus=1)
KEY = HashSource()().spec.key()
DOCUMENTS = [Document(f"id {number}", f"text number {number}") for number in range(60)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of this machine for all tests of this file."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")
        # Of a loaded machine, where a process takes a minute to begin.
        patch.setenv("RAY_worker_register_timeout_seconds", "600")
        patch.setenv("PYTHONPATH", ":".join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]))
        ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=80_000_000, log_to_driver=False)
        yield
        ray.shutdown()


class Listening(Progress):
    """Does something whenever a group is finished."""

    def __init__(self, act: Any = lambda done: None) -> None:
        self.act = act
        self.steps: list[int] = []

    def advance(self, done: int, total: int, unit: str = "documents") -> None:
        self.steps.append(done)
        self.act(done)


def fill(root: Path, documents: Iterable[Document] = DOCUMENTS, source: Any = None, **options: Any) -> Embedder:
    """Has a crew of two fill a store, two documents a shard."""
    with RayCrew(source or HashSource(), TWO) as crew:
        embedder = Embedder(HashSource(), root, documents_per_shard=2, crew=crew, **options)
        embedder.ensure(documents, len(DOCUMENTS))
        assert crew.counts.tokens == embedder.encoded
        return embedder


def alone(root: Path, documents: Iterable[Document] = DOCUMENTS) -> Path:
    Embedder(HashSource(), root, documents_per_shard=2).ensure(documents)
    return root


def contents(root: Path) -> dict[str, bytes]:
    files = [path for path in root.rglob("*") if path.is_file() and not path.name.startswith("writer")]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def workers() -> list[psutil.Process]:
    below = psutil.Process().children(recursive=True)
    return [process for process in below if "ray::Worker" in " ".join(process.cmdline()[:1])]


def test_without_ray_the_message_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"moee-topics\[ray\]"):
        fill(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_workers_give_the_bytes_of_one_process_and_read_no_further_than_they_work(
    cluster: None, tmp_path: Path
) -> None:
    read = itertools.count()
    heard = Listening(lambda done: ahead.append(next(read) - done))
    ahead: list[int] = []
    fill(tmp_path / "many", (document for document in DOCUMENTS if next(read) >= 0), progress=heard)
    assert contents(tmp_path / "many") == contents(alone(tmp_path / "one"))
    assert heard.steps == list(range(2, 61, 2))
    assert max(ahead) <= 2 * 2 * 2 + 2 + len(ahead), "two groups of two documents for each of two workers, and the next"


@pytest.mark.slow
def test_ten_killed_workers_lose_nothing_and_repeat_at_most_a_group_each(cluster: None, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(done: int) -> None:
        if done % 6 == 0 and len(killed) < 10:
            process = workers()[0]
            process.kill()
            process.wait()
            killed.append(process.pid)

    embedder = fill(tmp_path / "many", progress=Listening(kill))
    assert len(set(killed)) == 10 and embedder.encoded == 60, "every document was taken in once"
    assert contents(tmp_path / "many") == contents(alone(tmp_path / "one"))


@pytest.mark.slow
def test_ctrl_c_leaves_a_whole_store_and_the_next_time_goes_on(cluster: None, tmp_path: Path) -> None:
    def interrupt(done: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "many", progress=Listening(interrupt))
    with EmbeddingStore.open(tmp_path / "many", KEY, writable=True) as store:
        stored = len(store)
        assert 20 <= stored <= 20 + 2 * 2 * 2 and not store.verify()
    assert fill(tmp_path / "many").encoded == 60 - stored
    assert contents(tmp_path / "many") == contents(alone(tmp_path / "one"))


@pytest.mark.slow
def test_what_a_worker_cannot_do_comes_back_as_our_error_with_its_machine(cluster: None, tmp_path: Path) -> None:
    bad = [*DOCUMENTS[:10], Document("id", "bad"), *DOCUMENTS[10:]]
    for documents, source, kind, message in (
        (bad, HashSource(), ModelError, r"^On .*: The vector of this text is not finite\."),
        (DOCUMENTS, HashSource(missing=True), ModelError, "The model double/hash is not here"),
        (DOCUMENTS, HashSource("double/other"), StoreError, "model 'double/hash' there, 'double/other' here"),
    ):
        with pytest.raises(kind, match=message):
            fill(tmp_path, documents, source, key=KEY)
    with EmbeddingStore.open(tmp_path, KEY, writable=True) as store:
        assert not store.verify() and len(store) >= 8
    assert list((tmp_path / key_digest(KEY)).glob("writer*json")) == []


@pytest.mark.slow
def test_a_group_that_kills_every_worker_ends_the_work_by_name(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moee_topics.distributed.ray_crew.RETRIES", 1)
    with pytest.raises(ResourceError, match="could not be kept alive"):
        fill(tmp_path, [Document("id", "deadly")])


@pytest.mark.slow
def test_the_command_fills_a_store_by_workers_that_load_the_model_as_it_does_alone(
    cluster: None, tiny_olmoe: Path, tmp_path: Path
) -> None:
    (tmp_path / "posts.txt").write_text("\n".join([*TEXTS, *TEXTS[:3]]))
    encoder = {"model": str(tiny_olmoe), "dtype": "float32", "prompt": "none", "max_tokens": 8, "layers": ["last", 1]}
    (tmp_path / "mine.yaml").write_text(
        json.dumps({"corpus": {"source": str(tmp_path / "posts.txt")}, "encoder": encoder})
    )
    facts = {}
    for name, options in (("one", []), ("many", ["--ray", "--workers", "2", "--gpus", "0", "--cpus", "1"])):
        said = call("embed", tmp_path / "mine.yaml", "--output", tmp_path / name, "--json", *options)
        assert said.exit_code == 0, said.stdout
        facts[name] = {key: value for key, value in json.loads(said.stdout).items() if key != "store"}
    assert facts["one"] == facts["many"] and facts["many"]["encoded"] == len(TEXTS)
    assert facts["many"]["tokens_lost"] > 0
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert len([name for name in contents(tmp_path / "many") if "shard-" in name]) == 2, "of two views"
