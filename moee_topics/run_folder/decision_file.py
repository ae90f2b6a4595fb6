"""Decisions on disk: ``decisions.yaml``, whose comments stay, and ``decisions.json``, what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from typing_extensions import TypedDict  # pydantic refuses the one of typing before Python 3.12

from moee_topics.errors import InputError, RecipeError
from moee_topics.plain_data import check_plain, read_yaml
from moee_topics.store import read_json, write_json, write_text
from moee_topics.topics import Decision, DecisionState, Outcome

DECISIONS = "decisions.yaml"
HEAD = "# What was decided about the topics of this run. Applied again by every update; see docs/updates.md.\n"


class OutcomeRecord(TypedDict):
    """One entry of ``decisions.json``, in which the decision is as in ``decisions.yaml``."""

    decision: dict[str, Any]
    state: DecisionState
    reason: str
    known: bool


def read_outcomes(path: Path) -> list[Outcome]:
    """What became of the decisions of a version.

    Raises:
        InputError: the file is missing or damaged.
        RecipeError: an entry is not a decision.
    """
    records: list[OutcomeRecord] = read_json(path, kind=list[OutcomeRecord])
    return [
        Outcome(Decision.from_plain(one["decision"], path.name), one["state"], one["reason"], one["known"])
        for one in records
    ]


def write_outcomes(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Writes what became of decisions.

    Raises:
        ResourceError: the disk is full.
    """
    write_json(path, [{**vars(outcome), "decision": outcome.decision.to_plain()} for outcome in outcomes])


def read_decisions(path: Path) -> list[Decision]:
    """The decisions of a file, in their order; none where there is no file.

    Raises:
        InputError: it cannot be read.
        RecipeError: it is not YAML, or an entry is not a decision; the message names the line.
    """
    text = _text_of(path)
    data = read_yaml(text, str(path), "decisions") or []
    check_plain(data, str(path))
    if not isinstance(data, list):
        raise RecipeError(f"{path} is not a list of decisions. Expected entries such as: - name: Space flight")
    lines = [start + 1 for start in _first_lines(text)]
    return [Decision.from_plain(entry, f"{path}, line {line}") for line, entry in zip(lines, data, strict=True)]


def write_decisions(path: Path, decisions: Sequence[Decision]) -> None:
    """Writes decisions; an entry that was there stays as it was written, with the comments above it.

    Raises:
        RecipeError: what was there is no list of decisions.
        ResourceError: the disk is full.
    """
    text, before = _text_of(path), read_decisions(path)
    if before == list(decisions):
        return
    head, blocks = _blocks(text, len(before))
    written = {repr(decision): block for decision, block in zip(before, blocks, strict=True)}
    new = (head or HEAD) + "".join(written.get(repr(decision)) or as_entry(decision) for decision in decisions)
    if not _reads_as(new, decisions):  # entries of another indent, or a list in brackets
        new = HEAD + "".join(map(as_entry, decisions))
    write_text(path, new)


def as_entry(decision: Decision) -> str:
    """A decision as an entry of the file."""
    # A list of words on one line, and keys in the order that they are read in.
    text: str = yaml.dump([decision.to_plain()], Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return text


class _Dumper(yaml.SafeDumper):
    """Writes the entry on lines of its own, and every list inside of it on one."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        is_flat = all(not isinstance(item, dict) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=is_flat)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}). Expected a text file with decisions.") from error


def _first_lines(text: str) -> list[int]:
    """The line that each entry begins in, from 0; of text that has been read as YAML."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return [] if root is None else [entry.start_mark.line for entry in root.value]


def _blocks(text: str, entries: int) -> tuple[str, list[str]]:
    """What stands above the first entry, and each entry with the comments above it, and the last with those below."""
    lines, starts = text.splitlines(keepends=True), _first_lines(text)
    if not entries:
        return text if text.endswith("\n") or not text else text + "\n", []
    if not text.endswith("\n"):
        lines[-1] += "\n"
    begins = [starts[0]]
    for start in starts[1:]:
        while lines[start - 1].lstrip().startswith("#"):
            start -= 1
        begins.append(start)
    blocks = ["".join(lines[begin:end]) for begin, end in zip(begins, [*begins[1:], len(lines)], strict=True)]
    return "".join(lines[: starts[0]]), blocks


def _reads_as(text: str, decisions: Sequence[Decision]) -> bool:
    try:
        entries = read_yaml(text, DECISIONS) or []
        return [Decision.from_plain(entry, DECISIONS) for entry in entries] == list(decisions)
    except RecipeError:
        return False
