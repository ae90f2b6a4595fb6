"""Answers of a language model: a line each, whole through a kill, and those of earlier versions beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moee_topics.errors import InputError
from moee_topics.run_folder import LabelRecord, RunFolder, answer_line
from moee_topics.store import appended_lines

ONE, TWO = (LabelRecord(topic=topic, model="m", answer=f"half \ud800 {topic}\n") for topic in (1, 2))


def test_a_torn_last_line_is_passed_over_and_the_next_answer_mends_the_file(tmp_path: Path) -> None:
    run, path = RunFolder(tmp_path), tmp_path / "labels.jsonl"
    assert run.label_answers == {}
    with appended_lines(path) as append:
        append(answer_line("a", ONE))
    with path.open("a") as file:
        file.write(answer_line("b", TWO)[:20])
    assert RunFolder(tmp_path).label_answers == {"a": ONE}
    with appended_lines(path) as append:
        append(answer_line("c", TWO))
    assert RunFolder(tmp_path).label_answers == {"a": ONE, "c": TWO} and path.read_bytes().count(b"\n") == 2


def test_all_are_read_that_earlier_versions_kept_and_the_newer_answer_holds(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(json.dumps({"a": ONE, "b": ONE}))
    RunFolder.label_answers.write(RunFolder(tmp_path), {"b": TWO, "c": TWO})
    assert RunFolder(tmp_path).all_label_answers == {"a": ONE, "b": TWO, "c": TWO}


@pytest.mark.parametrize(
    "line", ["{}", "no JSON", '{"question": "a", "topic": "1", "model": "m", "answer": "x"}', "[]"]
)
def test_a_line_that_is_no_answer_is_damage(tmp_path: Path, line: str) -> None:
    (tmp_path / "labels.jsonl").write_text(f"{answer_line('a', ONE)}\n{line}\n")
    with pytest.raises(InputError, match=r"labels\.jsonl is damaged.*Delete it"):
        RunFolder(tmp_path).label_answers  # noqa: B018
