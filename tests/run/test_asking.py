"""Questions to a language model: each asked once, whoever asks it, and kept before the next."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from moee_topics.progress import Progress
from moee_topics.run import Questions
from moee_topics.run_folder import RunFolder


@dataclass(frozen=True)
class Question:
    topic: int
    text: str


@dataclass
class Echo:
    """Answers with the question, in capitals, until it is asked for too much."""

    most: int = 99
    asked: list[str] = field(default_factory=list)
    identity: dict[str, Any] = field(default_factory=lambda: {"model": "echo"})

    def count(self, prompt: str) -> int:
        return len(prompt.split())

    def answer(self, prompt: str) -> str:
        if len(self.asked) == self.most:
            raise KeyboardInterrupt
        self.asked.append(prompt)
        return prompt.upper()


QUESTIONS = [Question(0, "one two"), Question(1, "three"), Question(0, "one two")]


def test_what_is_asked_is_said_before_and_kept_for_the_next_time(tmp_path: Path) -> None:
    questions = Questions(RunFolder(tmp_path), QUESTIONS, Echo(), 8)
    assert questions.tokens == 5 and str(questions) == "3 of 3 questions to ask: 5 tokens, and 24 of answers at most"
    assert questions.ask(Progress()) == ["ONE TWO", "THREE", "ONE TWO"]
    later = Questions(RunFolder(tmp_path), QUESTIONS, Echo(), 8)
    assert later.open == [] and later.ask(Progress()) == ["ONE TWO", "THREE", "ONE TWO"]
    other = Questions(RunFolder(tmp_path), QUESTIONS, Echo(identity={"model": "other"}), 8)
    assert len(other.open) == 3, "another model may say something else"


def test_an_interruption_keeps_the_answers_that_were_given(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Questions(RunFolder(tmp_path), QUESTIONS, Echo(most=1), 8).ask(Progress())
    again = Echo()
    assert Questions(RunFolder(tmp_path), QUESTIONS, again, 8).ask(Progress())[1] == "THREE"
    assert again.asked == ["three"]
