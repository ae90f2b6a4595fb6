"""Shares of a corpus: no text in two, every text in one, about as many in each, and the same ones for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moee_topics.corpus import content_hash
from moee_topics.distributed import WHOLE, Share
from moee_topics.errors import InputError

texts = st.lists(st.text(max_size=20), max_size=60)
counts = st.integers(1, 40)


@given(texts, counts)
def test_every_text_is_in_one_share_and_in_one_alone(corpus: list[str], of: int) -> None:
    for text in corpus:
        holders = [share for share in range(1, of + 1) if Share(share, of).holds(content_hash(text))]
        assert len(holders) == 1


@given(st.text(), counts, counts)
def test_a_share_of_finer_shares_is_inside_the_coarser(text: str, of: int, times: int) -> None:
    """A corpus begun in 4 shares and gone on with in 8 encodes nothing twice."""
    content = content_hash(text)
    (fine,) = (number for number in range(1, of * times + 1) if Share(number, of * times).holds(content))
    assert Share((fine - 1) % of + 1, of).holds(content)


@pytest.mark.parametrize("of", [2, 3, 16, 100])
def test_shares_are_balanced(of: int) -> None:
    hashes = [content_hash(f"document {number}") for number in range(20_000)]
    sizes = [sum(map(Share(number, of).holds, hashes)) for number in range(1, of + 1)]
    mean = 20_000 / of
    assert sum(sizes) == 20_000
    assert max(abs(size - mean) for size in sizes) < 4.5 * mean**0.5, "as by chance"


def test_a_text_is_in_the_same_share_in_every_version() -> None:
    numbers = [next(n for n in range(1, 17) if Share(n, 16).holds(content_hash(text))) for text in ("a", "b", "ä", "")]
    assert numbers == [16, 2, 12, 1]


@given(st.integers(1, 10**8), st.integers(0, 10**8))
def test_a_share_reads_as_it_is_written(number: int, more: int) -> None:
    assert Share.parse(str(Share(number, number + more))) == Share(number, number + more)


@pytest.mark.parametrize("text", ["0/16", "17/16", "3", "3/", "/3", "-1/4", "1.5/4", "3/16/2", "", "one/two", "٣/16"])
def test_what_is_no_share_is_refused_by_name(text: str) -> None:
    with pytest.raises(InputError, match="expected I/N with I from 1 to N"):
        Share.parse(text)


def test_the_whole_holds_everything_and_writes_alone() -> None:
    assert all(WHOLE.holds(content_hash(str(number))) for number in range(100))
    assert WHOLE.part == Share.parse("1/1").part == "" and Share(3, 16).part == "share-3-of-16"
