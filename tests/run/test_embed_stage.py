"""Encoding a corpus: only what is missing, and the same bytes after any interruption."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_runs import DOCUMENTS, Heard, contents, recipe_of, stopped_after, write_corpus

from moee_topics import embed
from moee_topics import run as pipeline
from moee_topics.corpus import content_hash, document
from moee_topics.distributed import Share
from moee_topics.encode.encoder import MoEEncoder
from moee_topics.errors import InputError, Interrupted, ModelError, ResourceError, StoreError
from moee_topics.run import workspace
from moee_topics.run.embed_stage import EmbedStage, encode_corpus
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import RunFolder
from moee_topics.store import EmbeddingStore, merge_stores

pytestmark = pytest.mark.usefixtures("small_shards")


def test_a_grown_and_reordered_corpus_encodes_only_what_is_new(root: Path, tmp_path: Path, tiny_olmoe: Path) -> None:
    grown = write_corpus(tmp_path / "grown.jsonl", DOCUMENTS + 5)
    lines = grown.read_text().splitlines()
    grown.write_text("\n".join(reversed(lines)) + "\n")
    encoded = pipeline.embed(recipe_of(grown, tiny_olmoe), root / "store")
    assert encoded.encoded == 5 and encoded.survey.documents == DOCUMENTS + 5


def test_identical_documents_are_encoded_once(tmp_path: Path, tiny_olmoe: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("same text here\nother text here\n" * 30)
    encoded = pipeline.embed(recipe_of(path, tiny_olmoe), tmp_path / "store")
    assert (encoded.survey.documents, encoded.survey.unique, encoded.encoded) == (60, 2, 2)
    key = json.loads((encoded.folder / "key.json").read_text())
    assert len(EmbeddingStore.open(tmp_path / "store", key)) == 2


def test_a_corpus_that_changes_under_the_stage_puts_no_text_under_another_s_name(
    tmp_path: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "MOST_CHARACTERS_KEPT", 0)  # as a corpus that is too large for it
    path = write_corpus(tmp_path / "posts.jsonl", 20)
    work = Workspace(recipe_of(path, tiny_olmoe), tmp_path / "run", tmp_path / "store")
    assert work.survey.documents == 20
    write_corpus(path, 25, first=7)
    encode_corpus(work)
    texts = {document.id: document.text for document in work.corpus}
    stored = list(EmbeddingStore.open(work.store, work.embedder.key).documents())
    assert stored and all(content_hash(texts[name]) == content for name, content in stored)


def test_what_is_stored_is_counted_without_being_hashed_again(
    finished: Path, corpus: Path, tiny_olmoe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "MOST_CHARACTERS_KEPT", 0)  # as a corpus that is too large for it
    work = Workspace(recipe_of(corpus, tiny_olmoe), tmp_path, finished / "store")
    assert work.survey.documents == DOCUMENTS
    monkeypatch.setattr(document, "content_hash", lambda text: pytest.fail("hashed again"))
    encoded = encode_corpus(work)
    assert encoded.encoded == 0 and encoded.counts.tokens > 0


@pytest.mark.parametrize("documents", [3, 20, 40, 79])
def test_an_interrupted_embedding_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, finished: Path, corpus: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch, documents: int
) -> None:
    recipe = recipe_of(corpus, tiny_olmoe)
    with monkeypatch.context() as patch:
        stopped_after(documents, patch)
        with pytest.raises(Interrupted, match="run the same command again"):
            pipeline.embed(recipe, tmp_path)
    encoded = pipeline.embed(recipe, tmp_path)
    assert encoded.encoded == DOCUMENTS - documents // 16 * 16, "at most one shard is lost"
    whole = contents(finished / "store")
    assert contents(tmp_path) == {name: data for name, data in whole.items() if not name.startswith("words/")}
    counts = RunFolder(finished / "run").manifest["corpus"]
    assert encoded.counts.documents_cut == counts["documents_cut"], "counted also for what was stored before"
    assert encoded.counts.tokens == counts["tokens"]


def test_a_damaged_shard_is_named_and_encoded_again(root: Path, corpus: Path, tiny_olmoe: Path) -> None:
    before, heard = contents(root / "store"), Heard()
    shard = sorted((root / "store").glob("*/shard-*"))[0]
    data = bytearray(shard.read_bytes())
    data[-5] ^= 1
    shard.write_bytes(data)
    encoded = pipeline.embed(recipe_of(corpus, tiny_olmoe), root / "store", progress=heard)
    assert encoded.encoded == 16 and contents(root / "store") == before
    assert any(shard.name in note for note in heard.notes)


def test_too_little_disk_is_said_before_encoding(
    tmp_path: Path, corpus: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(ResourceError, match="The embeddings of 80 documents need"):
        pipeline.embed(recipe_of(corpus, tiny_olmoe), tmp_path)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: x")])
def test_too_little_memory_says_what_to_change(
    tmp_path: Path, corpus: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(MoEEncoder, "encode_calls", fail)
    with pytest.raises(ResourceError, match=r"encoder\.tokens_per_batch"):
        pipeline.embed(recipe_of(corpus, tiny_olmoe), tmp_path)


def test_shares_in_one_store_or_merged_are_the_whole(corpus: Path, tiny_olmoe: Path, tmp_path: Path) -> None:
    recipe = recipe_of(corpus, tiny_olmoe)
    alone = pipeline.embed(recipe, tmp_path / "alone")
    parts = [pipeline.embed(recipe, tmp_path / "one", share=Share(number, 3)) for number in (2, 1, 3)]
    for number in (1, 2, 3):
        pipeline.embed(recipe, tmp_path / str(number), share=Share(number, 3))
    merge_stores(tmp_path / "merged", [tmp_path / str(number) for number in (1, 2, 3)])
    whole = EmbeddingStore.open(tmp_path / "alone", json.loads((parts[0].folder / "key.json").read_text()))
    assert sum(part.unique for part in parts) == sum(part.encoded for part in parts) == DOCUMENTS
    assert sum(part.counts.tokens for part in parts) == alone.counts.tokens
    hashes = [content for _, content in whole.documents()]
    for root in (tmp_path / "one", tmp_path / "merged"):
        shared = EmbeddingStore.open(root, whole.key)
        assert sorted(shared.documents()) == sorted(whole.documents())
        # In other packs sums are added in another order, which float16 mostly rounds away.
        np.testing.assert_allclose(shared.read(hashes).hidden_states, whole.read(hashes).hidden_states, atol=2e-3)
    assert contents(tmp_path / "one" / whole.folder.name) == contents(tmp_path / "merged" / whole.folder.name)
    assert pipeline.embed(recipe, tmp_path / "one").encoded == 0


def test_a_share_that_is_killed_goes_on_where_it_was(
    corpus: Path, tiny_olmoe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, share = recipe_of(corpus, tiny_olmoe), Share(1, 2)
    pipeline.embed(recipe, tmp_path / "whole", share=share)
    with monkeypatch.context() as patch:
        stopped_after(20, patch)
        with pytest.raises(Interrupted, match="run the same command again"):
            pipeline.embed(recipe, tmp_path / "killed", share=share)
    again = pipeline.embed(recipe, tmp_path / "killed", share=share)
    assert again.encoded == again.unique - 16
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_corpus_that_changes_while_it_is_read_is_told_and_what_is_stored_is_right(
    tmp_path: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "MOST_CHARACTERS_KEPT", 0)  # as a corpus that is too large for it
    path, before = write_corpus(tmp_path / "posts.jsonl", 20), embed.Embedder.missing

    def changing(*arguments: Any) -> Any:
        write_corpus(path, 25, first=7)
        return before(*arguments)

    monkeypatch.setattr(embed.Embedder, "missing", changing)
    with pytest.raises(InputError, match=r"changed while it was read: \d+ of its documents were not there"):
        pipeline.embed(recipe_of(path, tiny_olmoe), tmp_path / "store", share=Share(1, 2))
    encoded = pipeline.embed(recipe_of(path, tiny_olmoe), tmp_path / "store", share=Share(1, 2))
    assert encoded.unique > encoded.encoded, "what was stored is used"


def test_a_node_without_the_model_says_so_and_leaves_the_store_alone(corpus: Path, tmp_path: Path) -> None:
    for model in (tmp_path / "nowhere", "someone/never-downloaded"):
        with pytest.raises(ModelError):
            pipeline.embed(recipe_of(corpus, Path(model)), tmp_path / "store", share=Share(1, 2))
    assert not (tmp_path / "store").exists()


def test_shares_of_other_settings_are_refused_and_a_run_without_the_model_names_the_difference(
    corpus: Path, tiny_olmoe: Path, tmp_path: Path
) -> None:
    pipeline.embed(recipe_of(corpus, tiny_olmoe), tmp_path / "store", share=Share(1, 2))
    other = recipe_of(corpus, tiny_olmoe, "encoder.max_tokens=16")
    with pytest.raises(StoreError, match=r"max_tokens 32 there, 16 here"):
        pipeline.embed(other, tmp_path / "store", share=Share(2, 2))
    for recipe, message in (
        (other, r"nothing encoded like this \(max_tokens 32 there, 16 here\)"),
        (recipe_of(corpus, tiny_olmoe), r"of 80 documents are not in the store"),
    ):
        with pytest.raises(StoreError, match=message):
            EmbedStage().run(Workspace(recipe, tmp_path / "run", tmp_path / "store", may_encode=False))
