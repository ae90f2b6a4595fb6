"""Which stages of a run are done, and with which inputs.

A stage is skipped when its inputs have the fingerprint they had when it was last finished. Its record is taken away
before it begins and written after its files are synced, so a run that is cut off at any moment repeats the stage it
was in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from moee_topics.errors import InputError
from moee_topics.run.peak_memory import peak_memory_bytes
from moee_topics.run_folder import RunFolder


@dataclass(frozen=True)
class StageRecord:
    """A finished stage of a run.

    Attributes:
        name: of the stage.
        inputs: fingerprint of everything its result depends on.
        seconds: how long it took.
        skipped: whether the last run found it done already.
        peak_memory_bytes: the most memory the process had held when it ended.
        facts: what later stages and the manifest want to know of it.
    """

    name: str
    inputs: str
    seconds: float
    skipped: bool = False
    peak_memory_bytes: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


class Ledger:
    """The finished stages of one run folder, kept in ``stages.json``."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        try:
            self.records = {name: StageRecord(**record) for name, record in RunFolder.stages.read(run).items()}
        except (InputError, TypeError):  # nothing is known of the stages, so all of them are done again
            self.records = {}

    def done(self, name: str, inputs: str) -> StageRecord | None:
        """The record of a stage that was finished with these inputs, None if there is none."""
        record = self.records.get(name)
        return record if record is not None and record.inputs == inputs else None

    def begin(self, name: str) -> None:
        """Forgets a stage that is about to change its files."""
        if self.records.pop(name, None) is not None:
            self._write()

    def finish(self, record: StageRecord) -> None:
        """Remembers a stage whose files are complete."""
        # The process's peak so far: the operating system tells none of a stage alone.
        self.records[record.name] = replace(record, peak_memory_bytes=peak_memory_bytes())
        self._write()

    def skip(self, record: StageRecord) -> None:
        """Notes that a stage was found done."""
        self.records[record.name] = replace(record, skipped=True)
        self._write()

    def facts(self, name: str) -> Mapping[str, Any]:
        """What is known of a stage; nothing where it is not done."""
        return self.records[name].facts if name in self.records else {}

    def _write(self) -> None:
        RunFolder.stages.write(self._run, {name: asdict(record) for name, record in self.records.items()})


def fingerprint(*inputs: Any) -> str:
    """32 hexadecimal digits that stand for plain data; the order of keys does not matter."""
    canonical = json.dumps(inputs, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()
