"""Attention of packed documents: by one kernel or one by one, each document sees itself alone."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import varlen

from moee_topics.encode.models import attention

LENGTHS = [3, 9, 1, 6]
CASES = list(itertools.product([4, 2], [None, 4], [None, 0.3]))
"""Heads of keys, window and scaling."""


def flash_like(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_q: Tensor,
    cu_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    num_splits: int | None = None,
    enable_gqa: bool = False,
    **given: Any,
) -> Any:
    """What torch documents of ``varlen_attn``, written with one mask over the row; runs anywhere."""
    assert num_splits == 1
    assert enable_gqa == (q.shape[1] != k.shape[1])
    return masked(q, k, v, cu_q, cu_k, max_q, max_k, **given)


def masked(q: Tensor, k: Tensor, v: Tensor, cu_q: Tensor, cu_k: Tensor, max_q: int, max_k: int, **given: Any) -> Any:
    """The same as torch 2.11 has it, without splits of keys and an argument for grouped heads."""
    assert cu_q.dtype == cu_k.dtype == torch.int32
    for bounds, longest in ((cu_q, max_q), (cu_k, max_k)):
        assert int((bounds[1:] - bounds[:-1]).max()) == longest
    left, right = given["window_size"]
    assert right == 0
    document, of_key = (torch.bucketize(torch.arange(int(cu[-1])), cu[1:], right=True) for cu in (cu_q, cu_k))
    # Counted from the end of each document: its last query belongs to its last key.
    places, key_places = torch.arange(len(q)) - cu_q[1:][document], torch.arange(len(k)) - cu_k[1:][of_key]
    back = places[:, None] - key_places
    seen = (document[:, None] == of_key) & (back >= 0) & ((back <= left) | (left < 0))
    q, k, v = (states.transpose(0, 1) for states in (q, k, v))
    found = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=given["scale"], enable_gqa=True)
    return found.transpose(0, 1)


def row(heads: int) -> list[Tensor]:
    """Query, key and value of random documents in one row; four query heads."""
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(1, 4, sum(LENGTHS), 8, generator=generator)
    return [query, *torch.randn(2, 1, heads, sum(LENGTHS), 8, generator=generator)]


def packed(heads: int, window: int | None, scaling: float | None = 0.3, sinks: Tensor | None = None) -> Tensor:
    """Attention of random documents in one row."""
    with attention.packed_segments(LENGTHS):
        states, weights = attention.packed_attention(
            torch.nn.Identity(), *row(heads), None, scaling=scaling, sliding_window=window, s_aux=sinks
        )
    assert weights is None
    return states


def by_hand(query: Tensor, key: Tensor, value: Tensor, scaling: float, window: int, sinks: Tensor | None) -> Tensor:
    """Attention of one document (heads, tokens, size), its last token's key and value before all others."""
    length = query.shape[1]
    key, value = (torch.cat([states[:, -1:], states], dim=1) for states in (key, value))
    rows = []
    for token in range(length):
        seen = [0, *(1 + other for other in range(max(0, token - window + 1), token + 1))]
        scores = torch.einsum("hd,htd->ht", query[:, token], key[:, seen]) * scaling
        scores[:, 0] += attention.REROUTED_BIAS
        rest = torch.empty(len(scores), 0) if sinks is None else sinks[:, None]
        weights = torch.cat([scores, rest], dim=1).softmax(dim=1)[:, : len(seen)]
        rows.append(torch.einsum("ht,htd->hd", weights, value[:, seen]))
    return torch.stack(rows)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("sinks", [None, torch.tensor([0.5, -1.0, 0.0, 2.0])])
def test_in_a_layer_that_is_rerouted_every_token_sees_the_last_one_of_its_document(
    window: int | None, sinks: Tensor | None, kernel: None
) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 1, 4, sum(LENGTHS), 8, generator=generator)
    layer = torch.nn.Identity()
    layer.layer_idx = 4  # type: ignore[assignment]
    options = {"scaling": 0.3, "sliding_window": window, "s_aux": sinks}
    with attention.packed_segments(LENGTHS, [5]) as segments:
        found, _ = attention.packed_attention(layer, query, key, value, None, **options)
    assert segments.seen == [5]
    parts = zip(*(torch.split(states[0], LENGTHS, dim=1) for states in (query, key, value)), strict=True)
    expected = torch.cat([by_hand(*part, 0.3, window or 999, sinks) for part in parts])
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=1e-5)


def behind_a_prefix(heads: int, window: int | None, sinks: Tensor | None, *, kept: bool) -> Tensor:
    """Attention of the same documents, each behind 5, 5, 3 or none of the same tokens, which are kept or in the row."""
    generator = torch.Generator().manual_seed(1)
    prefix = [torch.randn(1, 4, 5, 8, generator=generator), *torch.randn(2, 1, heads, 5, 8, generator=generator)]
    shared, states = [5, 5, 3, 0], row(heads)
    options = {"scaling": 0.3, "sliding_window": window, "s_aux": sinks}
    if kept:
        kept_keys: attention.Kept = []
        with attention.packed_segments([5], keeps=kept_keys):
            attention.packed_attention(torch.nn.Identity(), *prefix, None, **options)
        with attention.packed_segments(LENGTHS, shared=shared, kept=kept_keys):
            return attention.packed_attention(torch.nn.Identity(), *states, None, **options)[0]
    pieces = [torch.split(each, LENGTHS, dim=2) for each in states]
    whole = [
        torch.cat([part for before, own in zip(shared, some, strict=True) for part in (first[:, :, :before], own)], 2)
        for first, some in zip(prefix, pieces, strict=True)
    ]
    lengths = [before + own for before, own in zip(shared, LENGTHS, strict=True)]
    with attention.packed_segments(lengths):
        found = attention.packed_attention(torch.nn.Identity(), *whole, None, **options)[0]
    own = [each[:, before:] for before, each in zip(shared, torch.split(found, lengths, dim=1), strict=True)]
    return torch.cat(own, dim=1)


@pytest.fixture(params=[flash_like, masked], ids=["torch 2.13", "torch 2.11"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen, "varlen_attn", request.param)
    monkeypatch.setattr(attention, "has_kernel", lambda *_: True)


@pytest.fixture(scope="module")
def looped() -> dict[tuple[int, int | None, float | None], Tensor]:
    """Attention by the loop, before the kernel is there."""
    return {case: packed(*case) for case in CASES}


def test_the_kernel_is_asked_for_what_the_loop_does(
    looped: dict[tuple[int, int | None, float | None], Tensor], kernel: None
) -> None:
    for case, one_by_one in looped.items():
        torch.testing.assert_close(packed(*case), one_by_one)


SINKS = torch.tensor([0.5, -1.0, 2.0, 0.0])


@pytest.mark.parametrize(("heads", "window", "sinks"), [(4, None, None), (2, None, None), (2, 4, None), (4, 6, SINKS)])
def test_tokens_that_are_kept_are_seen_as_if_they_stood_in_the_row(
    heads: int, window: int | None, sinks: Tensor | None
) -> None:
    options: Any = (heads, window, sinks)
    torch.testing.assert_close(behind_a_prefix(*options, kept=True), behind_a_prefix(*options, kept=False))


@pytest.mark.parametrize(("heads", "window"), [(4, None), (2, 4)])
def test_the_kernel_sees_what_is_kept_too(heads: int, window: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    looped = behind_a_prefix(heads, window, None, kept=False)
    monkeypatch.setattr(varlen, "varlen_attn", flash_like)
    monkeypatch.setattr(attention, "has_kernel", lambda *_: True)
    torch.testing.assert_close(behind_a_prefix(heads, window, None, kept=True), looped)


def test_sinks_do_not_go_through_the_kernel(kernel: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen, "varlen_attn", None)
    assert packed(4, None, sinks=torch.zeros(4)).shape == (1, sum(LENGTHS), 4, 8)


def test_a_cpu_has_no_such_kernel() -> None:
    assert not attention.has_kernel(torch.device("cpu"), torch.bfloat16, 64)


def test_a_kernel_of_a_much_older_torch_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def older(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        raise AssertionError("its arguments do not fit")

    monkeypatch.setattr(varlen, "varlen_attn", older)
    monkeypatch.setattr(torch, "randn", lambda *size, device, dtype: torch.zeros(*size, dtype=dtype))
    assert not attention.has_kernel.__wrapped__(torch.device("cuda", 0), torch.bfloat16, 64)
