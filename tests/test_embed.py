"""The embedder: what the store lacks is encoded once, shard by shard; everything else is read."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scoring_doubles import HashEncoder

from moee_topics.corpus import Document
from moee_topics.embed import Embedder
from moee_topics.embeddings import Embeddings
from moee_topics.encode import Reading, View
from moee_topics.encode.encoder import MoEEncoder
from moee_topics.errors import ResourceError, StoreError
from moee_topics.fuse import RAW
from moee_topics.progress import Progress
from moee_topics.store import EmbeddingStore, content_hash
from moee_topics.topics import MoEEBackend

TEXTS = [f"text number {i}" for i in range(8)]
DOCUMENTS = [Document(f"id {i}", text) for i, text in enumerate(TEXTS)]
KEY = HashEncoder().spec.key()


def no_model() -> HashEncoder:
    raise AssertionError("the model was loaded")


def shards(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.rglob("*.safetensors")}


class Recorder(Progress):
    """Remembers what it hears, and may be told to stop a run."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.steps: list[tuple[int, int]] = []
        self.notes: list[str] = []
        self.stop_at = stop_at

    def advance(self, done: int, total: int, unit: str = "documents") -> None:
        self.steps.append((done, total))
        if done == self.stop_at:
            raise KeyboardInterrupt

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_a_text_is_encoded_once_however_often_and_by_whom_it_is_asked_for(tmp_path: Path) -> None:
    double = HashEncoder()
    for _ in range(3):
        Embedder.of(double, tmp_path).embed([*TEXTS, *TEXTS[:3]])
    assert sorted(double.seen) == sorted(TEXTS)


def test_more_words_than_documents_go_to_the_encoder_in_one_call(tmp_path: Path) -> None:
    words, documents = Recorder(), Recorder()
    Embedder.of(HashEncoder(), progress=words).embed([f"word {i}" for i in range(600)])
    Embedder.of(HashEncoder(), progress=documents).embed(
        [f"document {i} {'of many letters ' * 20}" for i in range(600)]
    )
    assert words.steps == [(600, 600)] and documents.steps == [(256, 600), (512, 600), (600, 600)]


def test_a_text_is_hashed_once_on_its_way_to_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []

    def counting(text: str) -> bytes:
        hashed.append(text)
        return content_hash(text)

    for place in ("moee_topics.embed.content_hash", "moee_topics.corpus.document.content_hash"):
        monkeypatch.setattr(place, counting)
    Embedder.of(HashEncoder(), tmp_path / "texts").embed(TEXTS)
    assert hashed == TEXTS
    hashed.clear()
    Embedder.of(HashEncoder(), tmp_path / "documents").ensure([Document(str(n), text) for n, text in enumerate(TEXTS)])
    assert hashed == TEXTS


def test_stored_texts_need_no_model_and_come_in_the_order_asked(tmp_path: Path) -> None:
    first = Embedder.of(HashEncoder(), tmp_path).embed(TEXTS)
    again = Embedder(no_model, tmp_path, key=KEY).embed(TEXTS[::-1])
    np.testing.assert_array_equal(again.hidden_states, first.hidden_states[::-1])


def test_by_shard_every_text_comes_with_its_place_and_blocks_are_as_long_as_asked(tmp_path: Path) -> None:
    Embedder.of(HashEncoder(), tmp_path, documents_per_shard=3).embed(TEXTS)
    embedder, asked = Embedder(no_model, tmp_path, key=KEY), [*TEXTS[::-1], TEXTS[2]]
    whole, seen = embedder.embed(asked).hidden_states, []
    for places, block in embedder.stored_by_shard([content_hash(text) for text in asked], rows=4):
        assert len(places) == len(block) <= 4
        np.testing.assert_array_equal(block.hidden_states, whole[places])
        seen += places.tolist()
    assert sorted(seen) == list(range(len(asked))) and seen != sorted(seen)
    with pytest.raises(StoreError, match="There are no embeddings"):
        list(Embedder(no_model, tmp_path / "elsewhere", key=KEY).stored_by_shard([content_hash("another")]))


def test_without_a_store_every_call_encodes_and_nothing_is_rounded() -> None:
    double = HashEncoder()
    embedder = Embedder.of(double)
    assert embedder.embed(TEXTS[:2]).hidden_states.dtype == np.float32
    assert embedder.ensure_texts(TEXTS) == 0
    assert double.seen == TEXTS[:2]


def test_documents_keep_their_ids_and_texts_are_called_by_hash_or_as_told(tmp_path: Path) -> None:
    embedder = Embedder.of(HashEncoder(), tmp_path)
    embedder.ensure(DOCUMENTS[:2])
    embedder.embed(TEXTS[2:3])
    list(embedder.blocks(["word"], ids=["word"]))
    names = {name for name, _ in EmbeddingStore.open(tmp_path, KEY).documents()}
    assert names == {"id 0", "id 1", content_hash(TEXTS[2]).hex(), "word"}


def test_an_interrupted_encoding_keeps_its_shards_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    Embedder.of(HashEncoder(), tmp_path / "whole", documents_per_shard=2).ensure(DOCUMENTS)
    double, killed = HashEncoder(), tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        Embedder.of(double, killed, documents_per_shard=2, progress=Recorder(stop_at=6)).ensure(DOCUMENTS)
    assert len(EmbeddingStore.open(killed, KEY)) == 4
    assert Embedder.of(double, killed, documents_per_shard=2).ensure(DOCUMENTS) == 4
    assert shards(killed) == shards(tmp_path / "whole")


def test_a_stream_is_read_no_further_than_one_shard_ahead(tmp_path: Path) -> None:
    read: list[str] = []

    def stream() -> Any:
        for document in DOCUMENTS:
            read.append(document.id)
            yield document

    class Watching(HashEncoder):
        def encode(self, texts: Any) -> Embeddings:
            assert len(read) - len(self.seen) <= 3
            return super().encode(texts)

    Embedder.of(Watching(), tmp_path, documents_per_shard=3).ensure(stream())
    assert len(read) == 8


def test_progress_hears_every_step_and_the_total(tmp_path: Path) -> None:
    heard = Recorder()
    Embedder.of(HashEncoder(), tmp_path, documents_per_shard=4, progress=heard).ensure(DOCUMENTS, total=8)
    assert heard.steps[-1] == (8, 8) and [total for _, total in heard.steps] == [8] * len(heard.steps)


def test_a_reader_adds_nothing_and_mixes_stored_and_new_texts_alike(tmp_path: Path) -> None:
    Embedder.of(HashEncoder(), tmp_path).ensure_texts(TEXTS[:5])
    before, double = shards(tmp_path), HashEncoder()
    asked = [TEXTS[6], TEXTS[1], TEXTS[5], TEXTS[0], TEXTS[6]]
    mixed = Embedder.of(double, tmp_path, read_only=True).embed(asked)
    np.testing.assert_array_equal(mixed.hidden_states, HashEncoder().encode(asked).hidden_states.astype(np.float16))
    assert double.seen == [TEXTS[6], TEXTS[5]] and shards(tmp_path) == before


def test_a_damaged_shard_is_told_and_encoded_again(tmp_path: Path) -> None:
    Embedder.of(HashEncoder(), tmp_path, documents_per_shard=4).ensure(DOCUMENTS)
    whole, victim = shards(tmp_path), sorted(tmp_path.rglob("*.safetensors"))[0]
    damaged = bytearray(victim.read_bytes())
    damaged[-1] ^= 1
    victim.write_bytes(damaged)
    heard = Recorder()
    assert Embedder.of(HashEncoder(), tmp_path, documents_per_shard=4, progress=heard).ensure(DOCUMENTS) == 4
    assert shards(tmp_path) == whole and "damaged" in heard.notes[0]


def test_a_disk_too_small_is_said_before_the_first_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 100})())
    with pytest.raises(ResourceError, match="The embeddings of 8 documents need"):
        Embedder.of(HashEncoder(), tmp_path).ensure(DOCUMENTS, total=8)


def test_what_must_be_stored_and_is_not_is_an_error(tmp_path: Path) -> None:
    Embedder.of(HashEncoder(), tmp_path).ensure(DOCUMENTS[:1])
    with pytest.raises(StoreError, match="1 of 1 documents are not in the store"):
        list(Embedder(no_model, tmp_path, key=KEY).stored_blocks([content_hash("another")]))
    with pytest.raises(StoreError, match="There are no embeddings"):
        list(Embedder(no_model, tmp_path / "elsewhere", key=KEY).stored_blocks([content_hash("another")]))


def test_threads_get_the_vectors_of_their_own_texts(tmp_path: Path) -> None:
    embedder, wrong = Embedder.of(HashEncoder(), tmp_path), []

    def work(number: int) -> None:
        for turn in range(12):
            texts = [f"text {(number * 7 + turn * 3 + i) % 40}" for i in range(5)]
            expected = HashEncoder().encode(texts).hidden_states.astype(np.float16)
            if not np.array_equal(embedder.embed(texts).hidden_states, expected):
                wrong.append((number, turn))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(EmbeddingStore.open(tmp_path, KEY)) == 40


def test_users_of_one_model_in_many_threads_get_their_own_vectors(tiny_olmoe: Path, tmp_path: Path) -> None:
    """Two prompts of one model, another pooling, embedders with one store for all, and backends, at once."""
    options: Any = {"dtype": "float32", "max_tokens": 32}
    plain = MoEEncoder.from_pretrained(tiny_olmoe, prompt="none", **options)
    mean = MoEEncoder.from_pretrained(tiny_olmoe, prompt="none", pooling="mean", **options)
    encoders = [plain, plain.with_prompt("Topic of {text}:"), mean]
    texts = [f"{'alpha beta gamma delta ' * (1 + i % 5)}{i}" for i in range(16)]
    right = [encoder.encode(texts) for encoder in encoders]
    embedders = [Embedder.of(encoder, tmp_path) for encoder in encoders]
    backends = [MoEEBackend(encoder, RAW) for encoder in encoders]
    fused = [backend.embed(texts) for backend in backends]

    def work(job: int) -> bool:
        rows, which = [(3 * job + i) % 16 for i in range(1 + job % 7)], job % 3
        asked = [texts[row] for row in rows]
        if job % 4 == 0:
            return np.allclose(backends[which].embed(asked), fused[which][rows], atol=1e-5)
        user = embedders[which].embed if job % 4 == 1 else encoders[which].encode
        close = 1e-5 if job % 4 > 1 else 2e-3  # a store keeps float16
        return np.allclose(user(asked).hidden_states, right[which].hidden_states[rows], atol=close)

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(work, range(48)))


# --- several views: each in an entry of its own -----------------------------------------------------------------------


@dataclass
class ViewsEncoder(HashEncoder):
    """A :class:`HashEncoder` of several views, which are told apart by a number that is added; remembers its passes."""

    views: Sequence[str] = (
        "hidden_states@1/mean",
        "hidden_states@last/mean",
        "router@all/mean",
        "router@all/frequency",
    )
    passes: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def spec(self) -> Any:
        key = {**super().spec.key(), "pooling": "mean"}
        is_usual = list(self.views) == ["hidden_states@last/mean", "router@all/mean"]
        return SimpleNamespace(key=lambda: key if is_usual else {**key, "views": list(self.views)})

    def encode(self, texts: Sequence[str]) -> Embeddings:
        reading = Reading.of_key(self.spec.key())
        return reading.joined(self.encode_entries(texts, reading.read_entries))

    def encode_entries(self, texts: Sequence[str], entries: Sequence[View]) -> dict[View, Embeddings]:
        self.passes.append(tuple(map(str, entries)))
        plain = super().encode(texts)
        return {entry: self._of(entry, plain) for entry in entries}

    def _of(self, entry: View, plain: Embeddings) -> Embeddings:
        if entry.block == "router":
            return Embeddings(plain.hidden_states[:, :0], np.abs(plain.router_logits))
        if entry.layer == "last":
            return Embeddings(plain.hidden_states, plain.router_logits, plain.router_logits)
        return Embeddings(plain.hidden_states + int(entry.layer), plain.router_logits[:, :0, :0])


USUAL = ("hidden_states@last/mean", "router@all/mean")
LAST, FIRST, FREQUENCY = "hidden_states@last/mean", "hidden_states@1/mean", "router@all/frequency"


def test_several_views_cost_one_pass_and_the_first_of_each_block_is_read(tmp_path: Path) -> None:
    double = ViewsEncoder()
    found = Embedder.of(double, tmp_path).embed(TEXTS)
    assert double.passes == [(FIRST, LAST, FREQUENCY)] and double.seen == TEXTS
    plain = HashEncoder().encode(TEXTS)
    np.testing.assert_array_equal(found.hidden_states, (plain.hidden_states + 1).astype(np.float16))
    np.testing.assert_array_equal(found.router_logits, plain.router_logits.astype(np.float16))
    swapped = ViewsEncoder(views=(LAST, FREQUENCY, FIRST))
    found = Embedder.of(swapped, tmp_path).embed(TEXTS)
    np.testing.assert_array_equal(found.routing_weights, np.abs(plain.router_logits).astype(np.float16))
    assert swapped.passes == [], "all of them are stored"


def test_a_view_that_is_added_is_made_alone_and_changes_no_byte_of_the_others(tmp_path: Path) -> None:
    Embedder.of(ViewsEncoder(views=USUAL), tmp_path).ensure(DOCUMENTS)
    before, double = shards(tmp_path), ViewsEncoder()
    assert Embedder.of(double, tmp_path).ensure(DOCUMENTS, total=8) == 8
    assert double.passes == [(FIRST, FREQUENCY)]
    whole = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    assert len(whole) == 3 and next(iter(before.values())) in whole.values()
    assert Embedder.of(double, tmp_path).missing([content_hash(text) for text in TEXTS]) == {}
    texts = [*TEXTS, "one more"]
    Embedder.of(double, tmp_path).ensure_texts(texts)
    assert double.seen[8:] == ["one more"] and len(double.passes[-1]) == 3


def test_the_usual_views_among_others_are_stored_in_the_bytes_that_they_have_alone(tmp_path: Path) -> None:
    Embedder.of(ViewsEncoder(views=USUAL), tmp_path / "alone").ensure(DOCUMENTS)
    Embedder.of(ViewsEncoder(), tmp_path / "several").ensure(DOCUMENTS)
    (alone,) = (tmp_path / "alone").rglob("*.safetensors")
    assert (tmp_path / "several" / alone.relative_to(tmp_path / "alone")).read_bytes() == alone.read_bytes()


@pytest.mark.parametrize("written", range(1, 7))
def test_killed_between_any_two_files_the_views_end_with_the_same_bytes(
    tmp_path: Path, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Embedder.of(ViewsEncoder(), tmp_path / "whole", documents_per_shard=3).ensure(DOCUMENTS)
    real, count = EmbeddingStore.write, 0

    def dying(*arguments: Any) -> None:
        nonlocal count
        count += 1
        if count > written:
            raise KeyboardInterrupt
        real(*arguments)

    killed = tmp_path / "killed"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(EmbeddingStore, "write", dying)
        Embedder.of(ViewsEncoder(), killed, documents_per_shard=3).ensure(DOCUMENTS)
    double = ViewsEncoder()
    Embedder.of(double, killed, documents_per_shard=3).ensure(DOCUMENTS)
    assert len(double.passes[0]) == 3 - written % 3, "what was written of a shard is not made again"
    assert {path.relative_to(killed): path.read_bytes() for path in killed.rglob("*.safetensors")} == {
        path.relative_to(tmp_path / "whole"): path.read_bytes() for path in (tmp_path / "whole").rglob("*.safetensors")
    }


def test_a_reader_and_an_embedder_without_a_store_make_only_the_views_that_are_read(tmp_path: Path) -> None:
    double = ViewsEncoder()
    Embedder.of(double).embed(TEXTS)
    Embedder.of(ViewsEncoder(views=(FIRST, *USUAL)), tmp_path).ensure_texts(TEXTS[:4])
    mixed = Embedder.of(double, tmp_path, read_only=True).embed(TEXTS)
    assert double.passes == [(FIRST, LAST), (FIRST, LAST)] and double.seen[8:] == TEXTS[4:]
    np.testing.assert_array_equal(mixed.hidden_states, ViewsEncoder().encode(TEXTS).rounded().hidden_states)


def test_writers_of_parts_may_fill_several_views(tmp_path: Path) -> None:
    Embedder.of(ViewsEncoder(), tmp_path, part="0-of-2").ensure(DOCUMENTS[:4])
    Embedder.of(ViewsEncoder(), tmp_path, part="1-of-2").ensure(DOCUMENTS[4:])
    assert not Embedder.of(ViewsEncoder(), tmp_path).missing([content_hash(text) for text in TEXTS])
    other = ViewsEncoder(name="another/model")
    with pytest.raises(StoreError, match="other settings"):
        Embedder.of(other, tmp_path, part="0-of-2").ensure(DOCUMENTS)
