"""One worker: what it writes, what it refuses, and how its errors travel."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray_doubles import HashSource

from moee_topics import errors
from moee_topics.corpus import content_hash
from moee_topics.distributed.worker import Failure, Job, Worker, Written
from moee_topics.embed import Embedder, Group, Text
from moee_topics.encode import EncoderSettings, EncoderSource, entry_keys
from moee_topics.errors import InputError, MissingExtraError, ModelError, StoreError
from moee_topics.store import EmbeddingStore

KEY = HashSource()().spec.key()
ENTRY, STORED = next(iter(entry_keys(KEY).items()))
TEXTS = [Text(content_hash(text), text, text) for text in ("one", "two", "three")]


@pytest.fixture
def job(tmp_path: Path) -> Any:
    with EmbeddingStore.open(tmp_path / "store", STORED, writable=True):
        yield Job.led_here(tmp_path / "store", KEY)


def test_a_group_becomes_the_shard_that_one_process_writes(job: Job, tmp_path: Path) -> None:
    worker = Worker(HashSource(), {})
    assert worker.key() == KEY and worker.join(job) is None
    written = worker.encode(job, Group(TEXTS, {ENTRY: [0, 1, 2]}))
    assert isinstance(written, Written) and (written.documents, written.counts.tokens) == (3, 3)
    Embedder(HashSource(), tmp_path / "alone").embed([text.text for text in TEXTS])
    (here,), (there,) = (sorted((tmp_path / name).glob("*/shard-*")) for name in ("store", "alone"))
    assert here.name == there.name == written.shards[ENTRY].name
    rows = worker.encode(job, Group(TEXTS, {ENTRY: [1]})).shards[ENTRY].rows
    assert rows == 1, "what the store has of a group is not written again"


def test_a_worker_that_sees_another_folder_or_encodes_otherwise_says_so(job: Job, tmp_path: Path) -> None:
    elsewhere = replace(job, root=tmp_path / "elsewhere")
    same_name = replace(job, lock={ENTRY: "{}"})
    for worker, seen, message in (
        (Worker(HashSource(), {}), elsewhere, "does not see the store"),
        (Worker(HashSource(), {}), same_name, "does not see the store"),
        (Worker(HashSource("double/other"), {}), job, "'double/hash' there, 'double/other' here"),
    ):
        for answer in (worker.join(seen), worker.encode(seen, Group(TEXTS, {ENTRY: [0]}))):
            assert isinstance(answer, Failure) and answer.kind == "StoreError"
            with pytest.raises(StoreError, match=message):
                raise answer.error()
    assert not list(tmp_path.glob("*/*/shard-*"))


def test_a_machine_without_the_model_is_named(job: Job) -> None:
    answer = Worker(HashSource(missing=True), {}).join(job)
    with pytest.raises(ModelError, match=r"^On .*: The model double/hash is not here"):
        raise pickle.loads(pickle.dumps(answer)).error()


def test_every_error_of_ours_is_what_it_was() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert InputError in kinds and MissingExtraError in kinds
    for kind in kinds:
        error = Failure(kind.__name__, "why").error()
        assert type(error) is kind and str(error) == "why"


def test_a_lack_of_memory_becomes_an_error_that_says_what_to_change(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*arguments: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("moee_topics.distributed.worker.encode_in_calls", short)
    answer = Worker(HashSource(), {}).encode(job, Group(TEXTS, {ENTRY: [0]}))
    assert isinstance(answer, Failure) and answer.kind == "ResourceError" and "tokens_per_batch" in answer.message


def test_its_process_stays_off_the_network_where_the_one_that_leads_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    Worker(HashSource(), {"HF_HUB_OFFLINE": "1"})
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_a_source_travels_without_weights_and_with_the_whole_name_of_its_folder(
    tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_olmoe.parent)
    source = EncoderSource(EncoderSettings(tiny_olmoe.name, dtype="float32"), require_routers=False)
    there = pickle.loads(pickle.dumps(source))
    assert there.settings == replace(source.settings, model=str(tiny_olmoe)) and not there.is_loaded
    assert there.expected == source.expected
