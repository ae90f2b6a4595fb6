"""Names of topics by a language model: asked once each, kept while they come, and applied as decisions.

A name by a language model is a decision like one by hand: it holds through updates, and ``topics undo`` takes it back.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from moee_topics.chat_endpoint import ChatEndpoint
from moee_topics.encode import EncoderSettings, TextGenerator
from moee_topics.progress import Progress
from moee_topics.run.decision_versions import decide
from moee_topics.run.versions import UpdatedRun, changing
from moee_topics.run_folder import LabelRecord, RunFolder, fitted_encoder
from moee_topics.topics import ANSWER_TOKENS, Decision, LabelPrompt, LabelSettings, label_of, name_by_words


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
class LabelPlan:
    """Which topics a language model is asked about, and what of it is answered already.

    Attributes:
        run: the run itself.
        prompts: one for each topic without a name.
        writer: who is asked.
    """

    run: RunFolder
    prompts: Sequence[LabelPrompt]
    writer: Writer

    @cached_property
    def open(self) -> list[LabelPrompt]:
        """Those that were not answered by this model yet."""
        return [prompt for prompt in self.prompts if self.key(prompt) not in self.run.label_answers]

    @cached_property
    def tokens(self) -> int:
        """Of the open prompts; of an endpoint roughly."""
        return sum(self.writer.count(prompt.text) for prompt in self.open)

    def key(self, prompt: LabelPrompt) -> str:
        """A hash of the question and of whatever else the answer depends on."""
        asked = json.dumps({"prompt": prompt.text, **self.writer.identity}, sort_keys=True)
        return hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest()

    def __str__(self) -> str:
        """In a few words, for people."""
        answers = f"{len(self.open) * ANSWER_TOKENS:,} of answers at most"
        return f"{len(self.open)} of {len(self.prompts)} topics to ask about: {self.tokens:,} tokens, and {answers}"


@dataclass(frozen=True)
class Labelled:
    """What came of asking.

    Attributes:
        names: of topics that have a new name.
        refused: of topics that keep theirs, why.
        updated: the version with the names; None where no name is new.
    """

    names: dict[int, str] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    updated: UpdatedRun | None = None


def plan_labels(run: RunFolder, settings: LabelSettings, *, every: bool = False) -> LabelPlan:
    """What :func:`label` would ask; no weight is loaded and nothing is sent.

    Raises:
        InputError: the run is not finished, or the endpoint has no address.
        ModelError: the model is missing or not supported.
    """
    result = run.current.result
    topics = [
        topic
        for topic in run.current.ranked_topics
        # Whatever else it is called, by hand, by the recipe or by a model, somebody wanted.
        if every or topic.name == name_by_words(topic.words, topic.topic)
    ]
    prompts = [LabelPrompt.of(result, topic, settings) for topic in topics]
    return LabelPlan(run, prompts, writer_of(run, settings))


def label(
    folder: Path,
    settings: LabelSettings | None = None,
    *,
    every: bool = False,
    progress: Progress | None = None,
) -> Labelled:
    """Asks a language model for names of topics, and gives those that pass a check, as one version of decisions.

    Args:
        folder: of the run.
        settings: who is asked, and what of a topic is shown; by default the model of the run itself.
        every: also topics that have a name already, and not only their words.
        progress: is told how far the work is, and which answers were not taken.

    Raises:
        InputError: there is no finished run, or a prompt is too long for the model.
        ModelError: the model is missing, or the endpoint does not answer; the answers so far are kept.
    """
    folder, progress = Path(folder), progress or Progress()
    with changing(folder) as run:
        plan = plan_labels(run, settings or LabelSettings(), every=every)
        answers = ask(plan, progress)
        known = {topic.topic: topic.name for topic in run.current.result.topic_info}
    labelled = Labelled()
    for prompt, answer in zip(plan.prompts, answers, strict=True):
        name = label_of(answer)
        if fault := prompt.fault(name):
            labelled.refused[prompt.topic] = fault
            progress.note(f"Topic {prompt.topic} stays {known[prompt.topic]!r}: {fault}.")
        elif name != known[prompt.topic]:
            labelled.names[prompt.topic] = name
    decisions = [Decision("name", (topic,), text=name) for topic, name in labelled.names.items()]
    return replace(labelled, updated=decide(folder, decisions, progress=progress)) if decisions else labelled


def ask(plan: LabelPlan, progress: Progress) -> list[str]:
    """The answer to every prompt of a plan; each is on the disk before the next question."""
    started, kept, run = time.perf_counter(), dict(plan.run.label_answers), plan.run
    progress.begin("labels", str(plan))
    for done, prompt in enumerate(plan.open, start=1):
        answer, model = plan.writer.answer(prompt.text), str(plan.writer.identity["model"])
        kept[plan.key(prompt)] = LabelRecord(topic=prompt.topic, model=model, answer=answer)
        RunFolder.label_answers.write(run, kept)
        progress.advance(done, len(plan.open), "topics")
    progress.end("labels", time.perf_counter() - started, f"{len(plan.open)} topics asked about")
    return [kept[plan.key(prompt)]["answer"] for prompt in plan.prompts]


def writer_of(run: RunFolder, settings: LabelSettings) -> Writer:
    """The language model of some settings, not loaded yet."""
    if settings.provider == "openai":
        assert settings.base_url and settings.model  # as the settings have checked
        return ChatEndpoint(
            settings.base_url, settings.model, ANSWER_TOKENS, seconds=settings.seconds, attempts=settings.attempts
        )
    own = fitted_encoder(run.current, settings.device)
    if settings.model:
        return TextGenerator(EncoderSettings(settings.model, device=settings.device), ANSWER_TOKENS)
    its = ("model", "revision", "quantize", "dtype", "device")
    return TextGenerator(EncoderSettings(**{name: getattr(own, name) for name in its}), ANSWER_TOKENS)
