"""What a run folder says of itself: which stages are done with which inputs, and the manifest ``run.json``.

A stage is skipped when its inputs have the fingerprint they had when it was last finished. Its record is taken away
before it begins and written after it ended, so a run that is killed at any moment repeats the stage it was in.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from moee_topics import __version__
from moee_topics.errors import InputError
from moee_topics.run_folder import RunFiles

MANIFEST = "run.json"
MEND = "Delete it: it is written anew."
PACKAGES = (
    "torch",
    "transformers",
    "bitsandbytes",
    "bertopic",
    "umap-learn",
    "hdbscan",
    "scikit-learn",
    "numpy",
    "pandas",
    "pyarrow",
    "safetensors",
    "plotly",
)


@dataclass(frozen=True)
class StageRecord:
    """A finished stage of a run.

    Attributes:
        name: embed, fit, stability or report.
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

    def __init__(self, folder: Path) -> None:
        self._file = RunFiles(folder).stages
        try:
            self.records = {name: StageRecord(**record) for name, record in (self._file.read_if_there() or {}).items()}
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
        self.records[record.name] = record
        self._write()

    def skip(self, record: StageRecord) -> None:
        """Notes that a stage was found done."""
        self.finish(replace(record, skipped=True))

    def _write(self) -> None:
        self._file.write({name: asdict(record) for name, record in self.records.items()})


def fingerprint(*inputs: Any) -> str:
    """32 hexadecimal digits that stand for plain data; the order of keys does not matter."""
    canonical = json.dumps(inputs, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished run.

    Raises:
        InputError: the folder holds none.
    """
    manifest = RunFiles(folder).manifest.read_if_there()
    if manifest is None:
        raise InputError(f"{folder} holds no finished run: {MANIFEST} is missing. Fit it with: moee-topics run RECIPE")
    return manifest


def versions() -> dict[str, str]:
    """The versions of Python, this package and what it stands on."""
    found = {"python": platform.python_version(), "moee_topics": __version__}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def peak_memory_bytes() -> int:
    """The most resident memory this process has held."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
