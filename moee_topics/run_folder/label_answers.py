"""``labels.jsonl``: what a language model answered about the topics of a run, a line for each answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic refuses the one of typing before Python 3.12

from moee_topics.store import write_text


class LabelRecord(TypedDict):
    """What a language model answered to a question about a topic, under a hash of the question and of the model."""

    topic: int
    model: str
    answer: str


class AnswerLine(LabelRecord):
    """A record with its hash, as a line has it."""

    question: str


def answer_line(key: str, record: LabelRecord) -> str:
    """One answer as a line of the file."""
    return json.dumps(AnswerLine(question=key, **record))


def read_answers(path: Path) -> dict[str, LabelRecord]:
    """The answers by their hashes; what a kill left of a last line is passed over.

    Raises:
        ValueError: a line is not an answer.
    """
    whole = path.read_bytes().rpartition(b"\n")[0]
    rows = [json.loads(line) for line in whole.splitlines()]
    # Looked at without the halves of characters that an answer may hold, which pydantic does not read.
    plain = json.dumps(rows, ensure_ascii=False).encode(errors="replace")
    try:
        TypeAdapter(list[AnswerLine]).validate_json(plain, strict=True)
    except ValidationError as error:
        fault = error.errors()[0]
        raise ValueError(f"line {int(fault['loc'][0]) + 1}: {fault['msg']}") from error
    return {row["question"]: LabelRecord(topic=row["topic"], model=row["model"], answer=row["answer"]) for row in rows}


def write_answers(path: Path, answers: Mapping[str, LabelRecord]) -> None:
    """Writes all of them anew."""
    write_text(path, "".join(f"{answer_line(key, record)}\n" for key, record in answers.items()))
