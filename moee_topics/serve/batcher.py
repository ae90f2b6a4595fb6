"""Requests that come at the same time go through the model together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Busy(Exception):
    """So much is waiting already that a request would rather come again than wait too."""


@dataclass(frozen=True)
class _Request(Generic[Question, Answer]):
    questions: Sequence[Question]
    answers: asyncio.Future[list[Answer]]


class Batcher(Generic[Question, Answer]):
    """Answers the questions of many requests by few calls of a function that takes many.

    While a call is at work, what comes in waits, and the next call takes as much of it as it may, in the order of
    arrival: alone, a request waits for nothing, and the busier the server, the larger its calls. Calls never overlap,
    so the function needs not be safe for threads.

    Attributes:
        waiting: questions that no call has taken yet.
    """

    def __init__(self, answer: Callable[[list[Question]], list[Answer]], *, at_once: int, waiting: int) -> None:
        """Asks nothing yet; :meth:`work` does.

        Args:
            answer: gives one answer for each question, in their order, and is called outside the event loop.
            at_once: a call takes requests until it has as many questions.
            waiting: a request that would make more wait is refused.
        """
        self._answer, self._at_once, self._most_waiting = answer, at_once, waiting
        self._requests: deque[_Request[Question, Answer]] = deque()
        self._arrived = asyncio.Event()
        self.waiting = 0

    async def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """The answers to the questions of one request.

        Raises:
            Busy: too many are waiting.
        """
        if self.waiting and self.waiting + len(questions) > self._most_waiting:
            raise Busy
        request = _Request[Question, Answer](questions, asyncio.get_running_loop().create_future())
        self._requests.append(request)
        self.waiting += len(questions)
        self._arrived.set()
        return await request.answers

    async def work(self) -> None:
        """Answers what is asked, until it is cancelled."""
        while True:
            await self._arrived.wait()
            if batch := self._take():
                await self._answer_all(batch)

    def _take(self) -> list[_Request[Question, Answer]]:
        """The requests of the next call; those whose client has gone are forgotten."""
        batch: list[_Request[Question, Answer]] = []
        size = 0
        while self._requests and (not batch or size + len(self._requests[0].questions) <= self._at_once):
            request = self._requests.popleft()
            self.waiting -= len(request.questions)
            if not request.answers.done():
                batch.append(request)
                size += len(request.questions)
        if not self._requests:
            self._arrived.clear()
        return batch

    async def _answer_all(self, batch: list[_Request[Question, Answer]]) -> None:
        questions = [question for request in batch for question in request.questions]
        call = asyncio.ensure_future(asyncio.to_thread(self._answer, questions))
        await asyncio.wait({call})
        error = call.exception()
        if error is not None and len(batch) > 1:
            for request in batch:  # only the one with the fault has to hear of it
                await self._answer_all([request])
            return
        answers = iter(() if error else call.result())
        for request in batch:
            own = list(islice(answers, len(request.questions)))
            if request.answers.done():
                continue  # the client went away meanwhile
            if error:
                request.answers.set_exception(error)
            else:
                request.answers.set_result(own)
