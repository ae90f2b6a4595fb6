"""Stores merged: nothing lost, bytes kept, others' settings refused, sources untouched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import KEY, STEP, assert_reads, encode, flip, hashes_of, make, shard_paths, snapshot, texts

from moee_topics.errors import InputError, ResourceError, StoreError
from moee_topics.progress import Progress
from moee_topics.store import EmbeddingStore, merge_stores


def parts(root: Path, count: int = 20, of: int = 4) -> list[Path]:
    """Stores of a share each."""
    for number in range(of):
        make(root / f"part-{number}", texts(count)[number::of], 3)
    return [root / f"part-{number}" for number in range(of)]


def contents(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in snapshot(folder).items() if not name.startswith("writer")}


def test_a_merged_store_holds_what_its_sources_hold_byte_by_byte_and_they_stay(tmp_path: Path) -> None:
    sources = parts(tmp_path)
    before = [contents(next(source.iterdir())) for source in sources]
    (merged,) = merge_stores(tmp_path / "all", sources)
    assert (merged.documents, merged.new, merged.damaged) == (20, 20, [])
    assert_reads(tmp_path / "all", texts(20))
    shards = {name: data for part in before for name, data in part.items() if name.startswith("shard")}
    whole = contents(merged.folder)
    assert {name: data for name, data in whole.items() if name.startswith("shard")} == shards
    assert [contents(next(source.iterdir())) for source in sources] == before
    assert EmbeddingStore.open(tmp_path / "all", KEY).verify() == []
    merge_stores(tmp_path / "other", sources[::-1])
    assert contents(tmp_path / "other" / merged.folder.name) == whole, "the order does not matter"


def test_a_view_that_the_target_lacks_is_merged_beside_the_others(tmp_path: Path) -> None:
    between = {**KEY, "pooling": "mean", "view": "hidden_states@3/mean"}
    make(tmp_path / "all", texts(6), 3)
    make(tmp_path / "more", texts(10)[4:], 3)
    for key in (between, {**KEY, "pooling": "weighted_mean"}):
        make(tmp_path / "more", texts(10)[4:], 3, key=key)
    merged = {
        store.folder.name: (store.documents, store.new) for store in merge_stores(tmp_path / "all", [tmp_path / "more"])
    }
    assert sorted(merged.values()) == [(6, 6), (6, 6), (10, 4)]
    make(tmp_path / "between", texts(3), 3, key=between)
    assert len(merge_stores(tmp_path / "all", [tmp_path / "between"])) == 3
    make(tmp_path / "other", texts(3), 3, key={**between, "model": "another"})
    make(tmp_path / "pooled", texts(3), 3, key={**KEY, "pooling": "sum"})
    for source in ("other", "pooled"):  # another model; and another pooling alone, which may be a mistake
        with pytest.raises(StoreError, match="was not encoded like what it is to be merged into"):
            merge_stores(tmp_path / "all", [tmp_path / source])


def test_merging_again_changes_nothing(tmp_path: Path) -> None:
    sources = parts(tmp_path)
    merge_stores(tmp_path / "all", sources)
    before = contents(tmp_path / "all" / next((tmp_path / "all").iterdir()).name)
    (again,) = merge_stores(tmp_path / "all", sources)
    assert again.new == 0 and contents(again.folder) == before


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sets(st.integers(0, 12), min_size=1), min_size=1, max_size=4), st.sets(st.integers(0, 12)))
def test_stores_that_overlap_in_any_way_become_their_union(
    tmp_path_factory: pytest.TempPathFactory, held: list[set[int]], target: set[int]
) -> None:
    root = tmp_path_factory.mktemp("overlap")
    for number, documents in enumerate([target, *held]):
        make(root / str(number), [f"document {i}" for i in sorted(documents)], 4)
    merge_stores(root / "0", [root / str(number + 1) for number in range(len(held))])
    union = sorted(target.union(*held))
    assert_reads(root / "0", [f"document {i}" for i in union])
    store = EmbeddingStore.open(root / "0", KEY)
    assert len(store) == len(list(store.documents())) == len(union), "no document twice"


@pytest.mark.parametrize("stop_at", range(1, 8))
def test_an_interrupted_merge_loses_nothing_and_goes_on(tmp_path: Path, stop_at: int) -> None:
    sources = parts(tmp_path)
    merge_stores(tmp_path / "whole", sources)

    class Stop(Progress):
        def advance(self, done: int, total: int, unit: str = "documents") -> None:
            if done == stop_at:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge_stores(tmp_path / "all", sources, progress=Stop())
    folder = next((tmp_path / "whole").iterdir()).name
    assert EmbeddingStore.open(tmp_path / "all", KEY).verify() == []
    merge_stores(tmp_path / "all", sources)
    assert contents(tmp_path / "all" / folder) == contents(tmp_path / "whole" / folder)


def test_a_copy_that_fails_half_way_leaves_no_half_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources, copied = parts(tmp_path), shutil.copyfile

    def failing(source: Path, target: Path) -> None:
        if failing.calls == 2:  # type: ignore[attr-defined]
            Path(target).write_bytes(Path(source).read_bytes()[:100])
            raise OSError(28, "No space left on device")
        failing.calls += 1  # type: ignore[attr-defined]
        copied(source, target)

    failing.calls = 0  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", failing)
        with pytest.raises(ResourceError, match="disk is full"):
            merge_stores(tmp_path / "all", sources)
    store = EmbeddingStore.open(tmp_path / "all", KEY)
    assert len(store.shards) == 2 and store.verify() == []
    merge_stores(tmp_path / "all", sources)
    assert_reads(tmp_path / "all", texts(20))


def test_stores_of_other_settings_are_refused_by_name_and_nothing_changes(tmp_path: Path) -> None:
    make(tmp_path / "one", texts(5))
    with EmbeddingStore.open(tmp_path / "two", {**KEY, "max_tokens": 256}, writable=True) as store:
        store.write(encode(texts(3)), texts(3), hashes_of(texts(3)))
    for target, sources in (("one", ["two"]), ("new", ["one", "two"])):
        with pytest.raises(StoreError, match=r"max_tokens 512 there, 256 here"):
            merge_stores(tmp_path / target, [tmp_path / source for source in sources])
    assert not (tmp_path / "new").exists() and len(list((tmp_path / "one").iterdir())) == 1


def test_damage_in_a_source_is_named_and_left_out_and_that_in_the_target_is_mended(tmp_path: Path) -> None:
    sources = parts(tmp_path)
    bad = shard_paths(next(sources[1].iterdir()))[0]
    flip(bad, -1)
    (merged,) = merge_stores(tmp_path / "all", sources)
    assert [(folder, shard.name) for folder, shard in merged.damaged] == [(bad.parent, bad.name)]
    assert merged.documents == 20 - merged.damaged[0][1].rows  # type: ignore[operator]
    flip(bad, -1)
    flip(shard_paths(merged.folder)[0], -1)
    (mended,) = merge_stores(tmp_path / "all", sources)
    assert mended.damaged == [] and mended.documents == 20
    assert EmbeddingStore.open(tmp_path / "all", KEY).verify() == []


def test_a_store_is_not_merged_into_itself_nor_is_an_empty_folder(tmp_path: Path) -> None:
    make(tmp_path / "one", texts(STEP))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="into itself"):
        merge_stores(tmp_path / "one", [tmp_path / "empty" / ".." / "one"])
    with pytest.raises(InputError, match="holds no embeddings"):
        merge_stores(tmp_path / "one", [tmp_path / "empty"])


def test_a_target_that_another_process_fills_is_left_alone(tmp_path: Path) -> None:
    make(tmp_path / "one", texts(STEP))
    with EmbeddingStore.open(tmp_path / "all", KEY, writable=True), pytest.raises(StoreError, match="is writing to"):
        merge_stores(tmp_path / "all", [tmp_path / "one"])
