"""A version holds from the moment the list of versions says so, and a fault before it leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from moee_topics.errors import InputError
from moee_topics.run.document_changes import DocumentChanges, documents_of
from moee_topics.run.version_plan import VersionPlan
from moee_topics.run.versions import add_version, changing, complete
from moee_topics.run_folder import RunFolder, VersionRecord
from moee_topics.topics import TopicResult


def plan_of(run: RunFolder) -> VersionPlan:
    documents = documents_of(run.result)
    return VersionPlan(run, "decide", DocumentChanges(documents, np.arange(len(documents)), 0, 0, 0, 0))


def copied(plan: VersionPlan, new: RunFolder, record: VersionRecord) -> TopicResult:
    RunFolder.result.take(new, plan.parent)
    assert (new.path.parent / "history.json").exists() == (record["version"] > 2)
    RunFolder.manifest.write(new, plan.parent.manifest)
    return complete(plan, new, record)


def test_numbers_go_on_and_colours_stay(root: Path) -> None:
    for number in (2, 3):
        with changing(root / "run") as run:
            made = add_version(plan_of(run), copied)
        assert made.run.path.name == f"v{number}" and made.record["parent"] == number - 1
        assert made.record["lineage"] == [] and RunFolder.read(root / "run").path == made.run.path
        assert made.run.manifest["name"] == "run" and made.run.manifest["update"]["colours"]
        assert made.run.root.path == root / "run" and made.run.root.root.path == root / "run"


def test_a_version_that_fails_is_none(root: Path) -> None:
    def failing(*_: object) -> TopicResult:
        raise InputError("no")

    with changing(root / "run") as run, pytest.raises(InputError, match="no"):
        add_version(plan_of(run), failing)
    assert list((root / "run" / "versions").iterdir()) == [] and RunFolder.read(root / "run").path == root / "run"


def test_what_is_taken_over_is_checked_first(root: Path) -> None:
    (root / "run" / "topic_info.json").write_text("[]")
    with pytest.raises(InputError, match=r"topic_info\.json is damaged"):
        RunFolder.result.take(RunFolder(root / "run" / "versions" / "v2"), RunFolder(root / "run"))
