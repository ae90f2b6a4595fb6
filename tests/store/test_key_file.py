"""key.json: what a folder was encoded with, and the shards where it is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from stores import KEY, OLD, make, texts

from moee_topics.errors import StoreError
from moee_topics.store import EmbeddingStore, key_digest, stored_keys


@pytest.mark.parametrize("content", ["{", '{"model": "another"}'])
def test_a_key_file_that_is_damaged_or_lies_is_refused(tmp_path: Path, content: str) -> None:
    folder = make(tmp_path, texts(3))
    (folder / "key.json").write_text(content)
    for writable in (False, True):
        with pytest.raises(StoreError, match=r"key\.json"):
            EmbeddingStore.open(tmp_path, KEY, writable=writable)
    (folder / "key.json").unlink()
    make(tmp_path, texts(3))


def test_the_keys_of_0_1_0_are_found(tmp_path: Path) -> None:
    keys = stored_keys(OLD)
    assert sorted(key["pooling"] for key in keys) == ["last", "mean"]
    assert {key_digest(key) for key in keys} == {folder.name for folder in OLD.iterdir()}


@pytest.mark.parametrize("content", [None, b"{", b"[]", b'{"model": "another"}', b"[" * 100_000])
def test_a_key_that_is_lost_or_damaged_is_found_in_the_shards(tmp_path: Path, content: bytes | None) -> None:
    folder = make(tmp_path, texts(5))
    path = folder / "key.json"
    path.unlink() if content is None else path.write_bytes(content)
    (tmp_path / ("0" * 32)).mkdir()
    (tmp_path / "words").mkdir()
    assert stored_keys(tmp_path) == [KEY]
    assert stored_keys(tmp_path / "nowhere") == []


@pytest.mark.parametrize("content", ['{"model": NaN}', '{"model": "\\ud800"}', '{"model": 1e999}'])
def test_a_key_that_no_store_can_have_hides_no_other(tmp_path: Path, content: str) -> None:
    folder = make(tmp_path, texts(3))
    (folder / "key.json").write_text(content)
    assert stored_keys(tmp_path) == [KEY]  # its shards name it
