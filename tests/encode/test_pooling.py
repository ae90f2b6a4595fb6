from __future__ import annotations

import pytest
import torch
from torch import Tensor

from moee_topics.encode.pooling import (
    POOLINGS,
    Spans,
    _means_by_chunks,
    last_token,
    mean,
    mean_without_prompt,
    pool,
    weighted_mean,
)

CPU = torch.device("cpu")
# Tokens 0..6: document 0 is tokens 0, 1; document 1 is 2, 3, 4; 5 and 6 are filler.
STATES = torch.tensor([[1.0, 10.0], [3.0, 20.0], [5.0, 0.0], [6.0, 0.0], [10.0, 3.0], [999.0, 999.0], [999.0, 999.0]])
SPANS = Spans.of([0, 2], [2, 3], CPU)


def test_last_token_is_the_last_of_each_document() -> None:
    assert last_token(STATES, SPANS).tolist() == [[3.0, 20.0], [10.0, 3.0]]


def test_mean_is_over_the_tokens_of_each_document_and_leaves_pads_out() -> None:
    assert mean(STATES, SPANS).tolist() == [[2.0, 15.0], [7.0, 1.0]]


def test_a_weighted_mean_counts_a_token_by_its_place() -> None:
    first = [(1 * 1.0 + 2 * 3.0) / 3, (1 * 10.0 + 2 * 20.0) / 3]
    second = [(1 * 5.0 + 2 * 6.0 + 3 * 10.0) / 6, 3 * 3.0 / 6]
    torch.testing.assert_close(weighted_mean(STATES, SPANS), torch.tensor([first, second]))


def test_a_mean_without_the_prompt_is_over_the_tokens_of_the_document_or_of_all_where_there_are_none() -> None:
    spans = Spans.of([0, 2], [2, 3], CPU, [(1, 1), (1, 2)])
    assert mean_without_prompt(STATES, spans).tolist() == [[2.0, 15.0], [6.0, 0.0]]
    assert mean_without_prompt(STATES, SPANS).tolist() == mean(STATES, SPANS).tolist()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_tokens_that_are_kept_count_as_if_they_stood_before_each_document(pooling: str) -> None:
    prefix, one, other = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)).split([3, 2, 4])
    stretches: dict[str, list[tuple[int, int]]] = {"own": [(3, 5), (2, 6)], "read": [(0, 5), (1, 6)]}
    whole = torch.cat([prefix, one, prefix[:2], other])
    expected = pool(whole, Spans.of([0, 5], [5, 6], CPU, **stretches), pooling)
    kept = Spans.of([0, 2], [2, 4], CPU, **stretches, shared=[3, 2], kept=3)
    torch.testing.assert_close(pool(torch.cat([prefix, one, other]), kept, pooling), expected)


def test_a_mean_goes_over_what_is_read_and_the_last_token_is_the_last_of_all() -> None:
    spans = Spans.of([0, 2], [2, 3], CPU, read=[(1, 2), (0, 2)])
    assert mean(STATES, spans).tolist() == [[3.0, 20.0], [5.5, 0.0]]
    assert last_token(STATES, spans).tolist() == last_token(STATES, SPANS).tolist()


@pytest.mark.parametrize("pooling", POOLINGS.values())
def test_vectors_are_float32_whatever_the_states_are(pooling: object) -> None:
    assert callable(pooling)
    assert pooling(STATES.bfloat16(), SPANS).dtype == torch.float32


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_document_pools_to_the_same_bits_wherever_it_lies(pooling: str) -> None:
    states = torch.randn(300, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    alone = pool(states[100:200], Spans.of([0], [100], CPU), pooling)  # type: ignore[arg-type]
    among = pool(states, Spans.of([0, 100, 200], [100, 100, 50], CPU), pooling)  # type: ignore[arg-type]
    assert_same_bits(alone[0], among[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kept", [0, 20])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_neighbours_of_one_length_are_pooled_together_to_the_bits_that_each_has_alone(
    pooling: str, kept: int, dtype: torch.dtype
) -> None:
    lengths = [90] * 8 + [7] * 90 + [3, 2, 2]
    states = torch.randn(kept + sum(lengths), 576, generator=torch.Generator().manual_seed(0)).to(dtype)
    starts, shared = [sum(lengths[:i]) for i in range(len(lengths))], [kept] * len(lengths)
    own, read = ([(first, kept + length) for length in lengths] for first in (kept + 1, kept // 2))
    spans = Spans.of(starts, lengths, CPU, own, read, shared, kept)
    together = pool(states, spans, pooling)
    assert len(spans.runs) < 8 and sum(run.documents for run in spans.runs) == len(lengths)
    for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        alone = Spans.of([0], [length], CPU, own[row : row + 1], read[row : row + 1], [kept], kept)
        its_own = torch.cat([states[:kept], states[kept + start : kept + start + length]])
        assert_same_bits(pool(its_own, alone, pooling)[0], together[row])


@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_sums_of_a_gpu_are_those_of_a_processor_and_depend_on_no_neighbours(is_weighted: bool) -> None:
    lengths, pad = [90, 90, 7, 7, 64, 1, 2, 33], 3
    starts = [sum(lengths[:i]) + pad * i for i in range(len(lengths))]
    states = torch.randn(starts[-1] + lengths[-1] + pad, 16, generator=torch.Generator().manual_seed(0))
    read = [(min(2, length - 1), length) for length in lengths]
    spans = Spans.of(starts, lengths, CPU, read=read)
    together = _means_by_chunks(states, spans.runs, is_weighted=is_weighted)
    torch.testing.assert_close(together, (weighted_mean if is_weighted else mean)(states, spans))
    for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        alone = Spans.of([0], [length], CPU, read=read[row : row + 1])
        its_own = _means_by_chunks(states[start : start + length], alone.runs, is_weighted=is_weighted)
        assert_same_bits(its_own[0], together[row])


def test_documents_with_pads_between_them_or_other_stretches_are_pooled_apart() -> None:
    spans = Spans.of([0, 3, 5], [2, 2, 2], CPU, read=[(0, 2), (0, 2), (1, 2)])
    assert mean(STATES, spans).tolist() == [[2.0, 15.0], [8.0, 1.5], [999.0, 999.0]]


def test_a_mean_of_bfloat16_states_is_summed_in_float32() -> None:
    states = torch.full((4096, 1), 1.001).bfloat16()
    assert mean(states, Spans.of([0], [4096], CPU)).item() == pytest.approx(states[0].item(), rel=1e-6)


def assert_same_bits(one: Tensor, other: Tensor) -> None:
    assert torch.equal(one.view(torch.int32), other.view(torch.int32))
