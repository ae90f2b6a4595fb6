"""Questions about a run to a language model: each asked once, and its answer on the disk before the next."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from moee_topics.chat_endpoint import ChatEndpoint
from moee_topics.encode import EncoderSettings
from moee_topics.progress import Progress
from moee_topics.run_folder import LabelRecord, RunFolder, fitted_encoder
from moee_topics.topics import AskSettings


class Prompt(Protocol):
    """A question about one topic."""

    @property
    def topic(self) -> int:
        """Its id."""

    @property
    def text(self) -> str:
        """What is asked."""


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
class Questions:
    """What a language model is asked, and what of it is answered already.

    Attributes:
        run: the run itself, whose folder keeps the answers.
        prompts: the questions.
        writer: who is asked.
        answer_tokens: of one answer, at most.
    """

    run: RunFolder
    prompts: Sequence[Prompt]
    writer: Writer
    answer_tokens: int

    @classmethod
    def to(cls, settings: AskSettings, run: RunFolder, prompts: Sequence[Prompt], answer_tokens: int) -> Questions:
        """Questions to the model of some settings, which is not loaded yet.

        Raises:
            InputError: the endpoint has no address.
            ModelError: the model is missing or not supported.
        """
        return cls(run, prompts, _writer(run, settings, answer_tokens), answer_tokens)

    @cached_property
    def open(self) -> list[Prompt]:
        """Those that were not answered by this model yet."""
        return [prompt for prompt in self.prompts if self.key(prompt) not in self.run.label_answers]

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
        return f"{len(self.open):,} of {len(self.prompts):,} questions to ask: {self.tokens:,} tokens, and {answers}"

    def ask(self, progress: Progress) -> list[str]:
        """The answer to every question, in their order; what was answered before is not asked again.

        Raises:
            InputError: a prompt is too long for the model.
            ModelError: the model is missing, or the endpoint does not answer; the answers so far are kept.
        """
        started, kept = time.perf_counter(), dict(self.run.label_answers)
        progress.begin("labels", str(self))
        for done, prompt in enumerate(self.open, start=1):
            answer, model = self.writer.answer(prompt.text), str(self.writer.identity["model"])
            kept[self.key(prompt)] = LabelRecord(topic=prompt.topic, model=model, answer=answer)
            RunFolder.label_answers.write(self.run, kept)
            progress.advance(done, len(self.open), "questions")
        progress.end("labels", time.perf_counter() - started, f"{len(self.open):,} questions asked")
        return [kept[self.key(prompt)]["answer"] for prompt in self.prompts]


def _writer(run: RunFolder, settings: AskSettings, answer_tokens: int) -> Writer:
    """The language model of some settings, not loaded yet."""
    if settings.provider == "openai":
        assert settings.base_url and settings.model  # as the settings have checked
        return ChatEndpoint(
            settings.base_url, settings.model, answer_tokens, seconds=settings.seconds, attempts=settings.attempts
        )
    from moee_topics.encode import TextGenerator  # whoever asks an endpoint, or nothing, loads no models

    own = fitted_encoder(run.current, settings.device)
    if settings.model:
        return TextGenerator(EncoderSettings(settings.model, device=settings.device), answer_tokens)
    its = ("model", "revision", "quantize", "dtype", "device")
    return TextGenerator(EncoderSettings(**{name: getattr(own, name) for name in its}), answer_tokens)
