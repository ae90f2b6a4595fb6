"""key.json: what a folder was encoded with, and the shards where it is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
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


def test_a_store_that_several_fill_takes_no_second_key(tmp_path: Path) -> None:
    folder = make(tmp_path, texts(3))
    with EmbeddingStore.open(tmp_path, KEY, writable=True, part="share-1-of-2"):
        pass
    other = {**KEY, "max_tokens": 256, "dtype": "float32"}
    with pytest.raises(StoreError, match=r"dtype None there, 'float32' here, max_tokens 512 there, 256 here.*--output"):
        EmbeddingStore.open(tmp_path, other, writable=True, part="share-2-of-2")
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [folder]
    with EmbeddingStore.open(tmp_path, other, writable=True) as alone:  # as ever: one writer, a folder for each key
        assert len(alone) == 0


def test_of_two_that_begin_at_once_with_different_settings_one_is_told(tmp_path: Path) -> None:
    def begin(number: int) -> str:
        key = {**KEY, "max_tokens": 512 if number % 2 else 256}
        try:
            EmbeddingStore.open(tmp_path, key, writable=True, part=f"share-{number}-of-8").close()
        except StoreError as error:
            return "refused" if "max_tokens" in str(error) else str(error)
        return "begun"

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(begin, range(8)))
    assert sorted(told) == ["begun"] * 4 + ["refused"] * 4
    assert len(stored_keys(tmp_path)) == 1
