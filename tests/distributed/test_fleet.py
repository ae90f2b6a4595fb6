"""Many machines: one takes what one takes, more take less time and a little more in all."""

from __future__ import annotations

import pytest

from moee_topics.corpus import content_hash
from moee_topics.distributed import Fleet, Share

DOCUMENTS, TOKENS = 10_000, 2_000_000


def fleet(machines: int, price: float | None = None) -> Fleet:
    return Fleet(machines, tokens_per_second=1000.0, load_seconds=60.0, read_seconds=12.0, price_per_hour=price)


def test_one_machine_takes_what_its_speed_says() -> None:
    one = fleet(1, price=2.0)
    assert one.seconds(DOCUMENTS, TOKENS) == pytest.approx(60 + 12 + 2000)
    assert one.machine_hours(TOKENS) == pytest.approx(2072 / 3600)
    assert one.cost(TOKENS) == pytest.approx(2 * 2072 / 3600) and fleet(1).cost(TOKENS) is None


@pytest.mark.parametrize("machines", [2, 16, 100])
def test_more_machines_are_sooner_done_and_each_pays_for_its_start(machines: int) -> None:
    several = fleet(machines)
    assert 72 + 2000 / machines < several.seconds(DOCUMENTS, TOKENS) < fleet(machines // 2).seconds(DOCUMENTS, TOKENS)
    assert several.machine_hours(TOKENS) == pytest.approx((machines * 72 + 2000) / 3600)


@pytest.mark.parametrize("machines", [2, 16, 100])
def test_the_largest_share_is_as_large_as_shares_of_texts_are(machines: int) -> None:
    hashes = [content_hash(f"document {number}") for number in range(DOCUMENTS)]
    sizes = [sum(map(Share(number, machines).holds, hashes)) for number in range(1, machines + 1)]
    assert fleet(machines).largest_share(DOCUMENTS) == pytest.approx(max(sizes), rel=0.1)


def test_nothing_to_encode_costs_the_start_and_no_share_is_larger_than_the_corpus() -> None:
    assert fleet(4).seconds(0, 0) == 72
    assert fleet(100).largest_share(3) <= 3 and fleet(1).largest_share(3) == 3
