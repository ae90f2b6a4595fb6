"""Questions about a run to a language model: each asked once, and its answer on the disk before the next."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

from moee_topics.chat_endpoint import ChatEndpoint
from moee_topics.encode import EncoderSettings
from moee_topics.messages import counted
from moee_topics.progress import Progress
from moee_topics.run_folder import LabelRecord, RunFolder, answer_line, fitted_encoder
from moee_topics.store import appended_lines
from moee_topics.topics import AskSettings


class Prompt(Protocol):
    """A question about one topic."""

    @property
    def topic(self) -> int:
        """Its id."""

    @property
    def text(self) -> str:
        """What is asked."""


Asked = TypeVar("Asked", bound=Prompt)


class Writer(Protocol):
    """Who answers a prompt, and what an answer depends on beside it."""

    @property
    def identity(self) -> dict[str, Any]:
        """The model and its settings; nothing secret."""

    def count(self, prompt: str) -> int:
        """Tokens of a prompt, for an estimate."""

    def answer(self, prompt: str) -> str:
        """What the model says to it."""


@dataclass(frozen=True)
class Questions(Generic[Asked]):
    """What a language model is asked, and what of it is answered already.

    Attributes:
        run: the run itself, whose folder keeps the answers.
        prompts: the questions.
        writer: who is asked.
        answer_tokens: of one answer, at most.
    """

    run: RunFolder
    prompts: Sequence[Asked]
    writer: Writer
    answer_tokens: int

    @classmethod
    def to(
        cls, settings: AskSettings, run: RunFolder, prompts: Sequence[Asked], answer_tokens: int
    ) -> Questions[Asked]:
        """Questions to the model of some settings, which is not loaded yet.

        Raises:
            InputError: the endpoint has no address, or the run's own model is asked and its folder is damaged.
            ModelError: the model is missing or not supported.
        """
        writer = writer_of(settings, lambda: fitted_encoder(run.current, settings.device), answer_tokens)
        return cls(run, prompts, writer, answer_tokens)

    @cached_property
    def known(self) -> dict[str, LabelRecord]:
        """What was answered before, by the hashes of the questions."""
        return self.run.all_label_answers

    @cached_property
    def open(self) -> list[Asked]:
        """Those that were not answered by this model yet."""
        return [prompt for prompt in self.prompts if self.key(prompt) not in self.known]

    @cached_property
    def tokens(self) -> int:
        """Of the open prompts; of an endpoint roughly."""
        return sum(self.writer.count(prompt.text) for prompt in self.open)

    def key(self, prompt: Prompt) -> str:
        """A hash of the question and of whatever else the answer depends on."""
        asked = json.dumps({"prompt": prompt.text, **self.writer.identity}, sort_keys=True)
        return hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest()

    def __str__(self) -> str:
        """In a few words, for people."""
        answers = f"{len(self.open) * self.answer_tokens:,} of answers at most"
        questions = f"{len(self.open):,} of {counted(len(self.prompts), 'question')} to ask"
        return f"{questions}: {self.tokens:,} tokens, and {answers}"

    def ask(self, progress: Progress) -> list[str]:
        """The answer to every question, in their order; what was answered before is not asked again.

        Raises:
            InputError: a prompt is too long for the model.
            ModelError: the model is missing, or the endpoint does not answer; the answers so far are kept.
        """
        if self.open:
            self._ask_open(progress)
        return [self.known[self.key(prompt)]["answer"] for prompt in self.prompts]

    def _ask_open(self, progress: Progress) -> None:
        started, file = time.perf_counter(), RunFolder.label_answers
        progress.begin("labels", str(self))
        with file.changing(self.run), appended_lines(file.path(self.run)) as append:
            for done, prompt in enumerate(self.open, start=1):
                answer, model = self.writer.answer(prompt.text), str(self.writer.identity["model"])
                record = LabelRecord(topic=prompt.topic, model=model, answer=answer)
                append(answer_line(self.key(prompt), record))
                self.known[self.key(prompt)] = record
                progress.advance(done, len(self.open), "questions")
        progress.end("labels", time.perf_counter() - started, f"{counted(len(self.open), 'question')} asked")


def writer_of(settings: AskSettings, own: Callable[[], EncoderSettings], answer_tokens: int) -> Writer:
    """The language model of some settings, not loaded yet.

    Args:
        settings: who is asked.
        own: gives the encoder of the run, whose model is asked where no other is named.
        answer_tokens: of one answer, at most.

    Raises:
        InputError: the endpoint's address is not one, or it is on the network where that is forbidden.
    """
    if settings.provider == "openai":
        assert settings.base_url and settings.model  # as the settings have checked
        return ChatEndpoint(
            settings.base_url, settings.model, answer_tokens, seconds=settings.seconds, attempts=settings.attempts
        )
    from moee_topics.encode import TextGenerator  # whoever asks an endpoint, or nothing, loads no models

    if settings.model:
        return TextGenerator(EncoderSettings(settings.model, device=settings.device), answer_tokens)
    encoder, its = own(), ("model", "revision", "quantize", "dtype", "device")
    of_run = EncoderSettings(**{name: getattr(encoder, name) for name in its})
    return TextGenerator(replace(of_run, device=settings.device or encoder.device), answer_tokens)
