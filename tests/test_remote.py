"""Corpora and stores at addresses, by fsspec's store in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
import stores

from moee_topics import remote
from moee_topics.corpus import CorpusSettings, open_corpus
from moee_topics.errors import InputError, ResourceError
from moee_topics.remote import is_remote, local_copy, refuse_address, without_query
from moee_topics.store import merge_stores


@pytest.fixture(autouse=True)
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    files = fsspec.filesystem("memory")
    local_copy.cache_clear()
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def test_addresses_are_told_from_files_and_other_sources() -> None:
    addresses = [
        "s3://bucket/posts.parquet",
        "gs://b/x",
        "abfs://c/x",
        "https://host/posts.csv",
        "memory://x",
        "S3://b/x",
    ]
    others = ["posts.csv", "./s3:/x", "hub:owner/name", "-", "sqlite:///x.db", "20newsgroups", "C://x", ""]
    assert all(map(is_remote, addresses)) and not any(map(is_remote, others))


@pytest.mark.parametrize(
    "address", ["s3://bucket/store", "S3://b", "gs://b/x", "hdfs://host/x", "memory://x", "file:///x"]
)
def test_an_address_is_no_folder_also_as_a_path_has_it(address: str) -> None:
    for given in (address, Path(address), Path(address, "deeper")):
        with pytest.raises(InputError, match="nothing is written to object stores"):
            refuse_address(given)


def test_the_refusal_says_how_a_store_there_is_read() -> None:
    with pytest.raises(InputError, match=r"store merge FOLDER s3://bucket/store$"):
        refuse_address(Path("s3://bucket/store"))


@pytest.mark.parametrize(
    "folder", ["c:/stores/one", "C:\\stores", "store", "/tmp/s3:/store", "runs:one", "a/b:c/d", ""]
)
def test_a_folder_is_no_address(folder: str) -> None:
    refuse_address(folder)


def test_nothing_makes_a_folder_of_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="nothing is written to object stores"):
        stores.make(Path("s3://bucket/store"), stores.texts(2))
    assert not list(tmp_path.iterdir())


def test_a_signed_address_is_known_by_the_ending_of_its_file(
    bucket: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    asked: list[str] = []

    class Web:
        """A web server to fsspec, which leaves what is behind the file's name in the path."""

        def isdir(self, path: str) -> bool:
            return False

        def get(self, path: str, target: str, *, recursive: bool) -> None:
            asked.append(path)
            Path(target).write_text("id,text\na,first text\n")

    monkeypatch.setattr("fsspec.core.url_to_fs", lambda url: (Web(), url))
    address = "host/posts.csv?X-Amz-Signature=a/b.c#top"
    (document,) = open_corpus(CorpusSettings(f"HTTPS://{address}"))
    assert document.text == "first text" and asked == [f"https://{address}"]


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("https://host/a/posts.csv?X-Amz-Signature=abc&x=1", "https://host/a/posts.csv?…"),
        ("HTTPS://me:secret@host/posts.csv", "HTTPS://host/posts.csv?…"),
        ("http://host:8080/posts.csv#sig", "http://host:8080/posts.csv?…"),
        ("https://host/me@home/posts.csv", "https://host/me@home/posts.csv"),
        ("https://host?sig=a/b", "https://host?…"),
        ("s3://bucket/what?.csv", "s3://bucket/what?.csv"),
        ("posts.csv", "posts.csv"),
    ],
)
def test_what_may_be_a_key_is_not_written_down(source: str, written: str) -> None:
    assert without_query(source) == without_query(written) == written


def test_what_was_written_down_without_its_key_is_refused_by_what_is_missing() -> None:
    with pytest.raises(InputError, match=r"not the whole address.*Give all of it"):
        local_copy(without_query("https://host/posts.csv?sig=abc"))


def test_an_error_does_not_show_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")

    def fail(url: str) -> None:
        raise OSError(f"403, message='Forbidden', url='{url.replace('=', '%3D')}'")

    monkeypatch.setattr("fsspec.core.url_to_fs", fail)
    with pytest.raises(InputError, match=r"https://host/posts\.csv\?… cannot be read") as caught:
        local_copy("https://host/posts.csv?sig=abc")
    assert "abc" not in str(caught.value)


def test_in_a_bucket_a_question_mark_is_part_of_a_name_and_the_kind_may_be_in_capitals(
    bucket: fsspec.AbstractFileSystem,
) -> None:
    bucket.pipe("memory://data/what?.txt", b"a text\n")
    assert local_copy("MEMORY://data/what?.txt").name == "what?.txt"


def test_a_corpus_of_an_object_store_is_that_of_its_file(bucket: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    (tmp_path / "posts.csv").write_text("id,text\na,first text\nb,second text\n")
    bucket.put(str(tmp_path / "posts.csv"), "memory://data/posts.csv")
    here, there = (
        list(open_corpus(CorpusSettings(at))) for at in (str(tmp_path / "posts.csv"), "memory://data/posts.csv")
    )
    assert here == there and len(here) == 2
    bucket.pipe("memory://lines/one.txt", b"a text\n")
    bucket.pipe("memory://lines/two.txt", b"another\n")
    assert len(list(open_corpus(CorpusSettings("memory://lines")))) == 2, "a folder of texts"


def test_what_is_copied_is_copied_once_and_goes_with_the_process(bucket: fsspec.AbstractFileSystem) -> None:
    bucket.pipe("memory://data/posts.txt", b"a text\n")
    copy = local_copy("memory://data/posts.txt")
    bucket.pipe("memory://data/posts.txt", b"changed\n")
    assert local_copy("memory://data/posts.txt") == copy and copy.read_bytes() == b"a text\n"
    folder = Path(remote._copies().name)
    assert folder in copy.parents
    remote._copies().cleanup()
    remote._copies.cache_clear()
    assert not folder.exists()


def test_a_store_of_an_object_store_is_merged_and_a_damaged_byte_of_it_is_seen(
    bucket: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    folder = stores.make(tmp_path / "filled", stores.texts(20))
    bucket.put(str(tmp_path / "filled"), "memory://bucket/store", recursive=True)
    (merged,) = merge_stores(tmp_path / "here", ["memory://bucket/store"])
    assert (merged.documents, merged.damaged) == (20, [])
    assert stores.snapshot(merged.folder).keys() >= {path.name for path in stores.shard_paths(folder)}
    stores.assert_reads(tmp_path / "here", stores.texts(20))
    stores.flip(stores.shard_paths(folder)[0], -3)
    bucket.put(str(tmp_path / "filled"), "memory://bucket/damaged", recursive=True)
    (merged,) = merge_stores(tmp_path / "elsewhere", ["memory://bucket/damaged"])
    assert len(merged.damaged) == 1 and merged.documents == 15


def test_what_is_not_there_or_cannot_be_asked_for_is_told_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    for url, message in (
        ("memory://nothing/posts.csv", r"There is no memory://nothing/posts\.csv"),
        ("gs://bucket/posts.csv", "needs the package gcsfs: pip install gcsfs"),
    ):
        with pytest.raises(InputError, match=message):
            open_corpus(CorpusSettings(url))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="on the network, which --offline"):
        local_copy("s3://bucket/posts.csv")


def test_a_full_disk_and_an_error_of_the_server_are_told(
    bucket: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.pipe("memory://data/posts.txt", b"a text\n")
    for error, kind, message in (
        (OSError(28, "No space left on device"), ResourceError, "The disk is full"),
        (PermissionError("403"), InputError, r"cannot be read \(PermissionError: 403\)"),
    ):

        def failing(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(type(bucket), "get", failing)
        with pytest.raises(kind, match=message):
            local_copy("memory://data/posts.txt")
