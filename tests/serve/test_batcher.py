"""Requests that come at the same time go through a function together."""

from __future__ import annotations

import asyncio
import threading

import pytest

from moee_topics.errors import InputError
from moee_topics.serve.batcher import Batcher, Busy


class Doubler:
    """Doubles numbers, refuses 13, and remembers its calls; the first of them waits until it may go on."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.may_go_on = threading.Event()

    def __call__(self, numbers: list[int]) -> list[int]:
        self.calls.append(numbers)
        assert self.may_go_on.wait(10)
        if 13 in numbers:
            raise InputError("13 is refused")
        return [2 * number for number in numbers]


async def answers(doubler: Doubler, requests: list[list[int]], *, at_once: int, waiting: int = 100) -> list[object]:
    """What each of some requests gets, the first of which is at work when the others come."""
    batcher = Batcher(doubler, at_once=at_once, waiting=waiting)
    worker = asyncio.create_task(batcher.work())
    asked = [asyncio.create_task(batcher.ask(requests[0]))]
    while not doubler.calls:
        await asyncio.sleep(0.001)
    asked += [asyncio.create_task(batcher.ask(request)) for request in requests[1:]]
    await asyncio.sleep(0)
    doubler.may_go_on.set()
    gathered = await asyncio.gather(*asked, return_exceptions=True)
    worker.cancel()
    assert batcher.waiting == 0
    return gathered


def test_what_comes_during_a_call_goes_through_the_next_one_together() -> None:
    doubler = Doubler()
    assert asyncio.run(answers(doubler, [[1], [2, 3], [4]], at_once=10)) == [[2], [4, 6], [8]]
    assert doubler.calls == [[1], [2, 3, 4]]


def test_a_call_takes_no_more_than_it_may_and_a_larger_request_alone() -> None:
    doubler = Doubler()
    assert asyncio.run(answers(doubler, [[1], [2, 3], [4], [5, 6, 7, 8]], at_once=3)) == [
        *([2], [4, 6]),
        *([8], [10, 12, 14, 16]),
    ]
    assert doubler.calls == [[1], [2, 3, 4], [5, 6, 7, 8]]


def test_a_fault_reaches_only_the_request_that_has_it() -> None:
    first, faulty, last = asyncio.run(answers(Doubler(), [[1], [13], [4]], at_once=10))
    assert (first, last) == ([2], [8])
    assert isinstance(faulty, InputError)


def test_who_would_make_too_many_wait_is_told_so() -> None:
    at_work, waits, refused = asyncio.run(answers(Doubler(), [[1], [2, 3], [4]], at_once=10, waiting=2))
    assert (at_work, waits) == ([2], [4, 6])
    assert isinstance(refused, Busy)


def test_a_client_that_went_away_costs_no_call() -> None:
    async def leave() -> list[list[int]]:
        doubler = Doubler()
        batcher = Batcher(doubler, at_once=10, waiting=100)
        worker = asyncio.create_task(batcher.work())
        first = asyncio.create_task(batcher.ask([1]))
        while not doubler.calls:
            await asyncio.sleep(0.001)
        gone, stays = asyncio.create_task(batcher.ask([2])), asyncio.create_task(batcher.ask([3]))
        await asyncio.sleep(0)
        gone.cancel()
        doubler.may_go_on.set()
        assert await first == [2] and await stays == [6]
        with pytest.raises(asyncio.CancelledError):
            await gone
        worker.cancel()
        return doubler.calls

    assert asyncio.run(leave()) == [[1], [3]]
