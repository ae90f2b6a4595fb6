from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from moee_topics.encode.batching import Pack, plan_packs
from moee_topics.encode.models import RowCounts

LENGTHS = st.lists(st.integers(1, 90), max_size=40)


def sequences(lengths: list[int]) -> list[tuple[int, ...]]:
    return [tuple(range(100 + i, 100 + i + length)) for i, length in enumerate(lengths)]


@given(LENGTHS, st.integers(1, 200), st.booleans())
def test_every_sequence_is_in_one_pack_and_comes_back_by_its_row(lengths: list[int], budget: int, padded: bool) -> None:
    given_sequences = sequences(lengths)
    packs = plan_packs(given_sequences, budget, packed=not padded)
    back = {row: ids for pack in packs for row, ids in zip(pack.rows, pack.sequences, strict=True)}
    assert sum(len(pack.rows) for pack in packs) == len(lengths)
    assert [back[row] for row in range(len(lengths))] == given_sequences


@given(LENGTHS, st.integers(1, 200))
def test_a_pack_stays_under_the_budget_unless_one_sequence_is_longer(lengths: list[int], budget: int) -> None:
    for pack in plan_packs(sequences(lengths), budget):
        assert sum(pack.lengths) <= budget or len(pack.rows) == 1
    for pack in plan_packs(sequences(lengths), budget, packed=False):
        assert pack.inputs()["input_ids"].numel() <= budget or len(pack.rows) == 1


@given(LENGTHS.filter(len))
def test_rows_of_a_packed_product_are_a_multiple_of_64(lengths: list[int]) -> None:
    for pack in plan_packs(sequences(lengths), 256):
        tokens = pack.inputs()["input_ids"].shape[1]
        assert tokens % 64 == 0 and tokens - sum(pack.lengths) < 64
        assert sum(pack.segments) == tokens


def test_a_small_pack_is_filled_up_to_what_rounds_alike() -> None:
    for length, tokens in ((3, 16), (16, 16), (17, 64), (65, 128)):
        (pack,) = plan_packs(sequences([length]), 256, row_counts=RowCounts((16,)))
        assert pack.inputs()["input_ids"].shape == (1, tokens)


def test_positions_start_again_with_each_document_and_the_filler_is_one_of_its_own() -> None:
    pack = Pack((1, 0), ((5, 6, 7), tuple(range(8, 67))), pad_id=3)
    inputs = pack.inputs()
    assert inputs["input_ids"].tolist() == [[5, 6, 7, *range(8, 67), 3, 3]]
    assert inputs["position_ids"].tolist() == [[0, 1, 2, *range(59), 0, 1]]
    assert (pack.segments, pack.lengths, pack.starts) == ([3, 59, 2], [3, 59], [0, 3])


def test_padded_rows_are_filled_on_the_right() -> None:
    pack = Pack((0, 1), ((5, 6, 7), (8,)), packed=False, pad_id=3)
    assert pack.inputs()["input_ids"].tolist() == [[5, 6, 7], [8, 3, 3]]
    assert pack.inputs()["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert pack.starts == [0, 3]


def test_rows_of_one_length_need_no_mask() -> None:
    assert Pack((0, 1), ((5, 6), (7, 8)), packed=False).inputs().keys() == {"input_ids"}


def test_similar_lengths_share_a_padded_batch() -> None:
    packs = plan_packs(sequences([2, 50, 3, 49]), 100, packed=False)
    assert [pack.rows for pack in packs] == [(1, 3), (2, 0)]


def test_the_plan_is_the_same_every_time() -> None:
    lengths = torch.randint(1, 60, (200,), generator=torch.Generator().manual_seed(0)).tolist()
    assert plan_packs(sequences(lengths), 512) == plan_packs(sequences(lengths), 512)


def test_nothing_gives_no_packs() -> None:
    assert plan_packs([], 512) == []


def test_tokens_that_are_kept_are_left_out_and_the_rest_goes_on_counting() -> None:
    (pack,) = plan_packs([(1, 2, 3, 4), (1, 2, 5), (6, 7)], 64, shared=[2, 2, 0])
    assert dict(zip(pack.rows, zip(pack.sequences, pack.shared, strict=True), strict=True)) == {
        0: ((3, 4), 2),
        2: ((6, 7), 0),
        1: ((5,), 2),
    }
    inputs = pack.inputs()
    assert inputs["input_ids"][0, :5].tolist() == [3, 4, 6, 7, 5]
    assert inputs["position_ids"][0, :7].tolist() == [2, 3, 0, 1, 2, 0, 1], "the filler begins at 0"
