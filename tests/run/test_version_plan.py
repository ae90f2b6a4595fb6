"""What the next version is to be follows from the run and from those before it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import Heard

from moee_topics.errors import ModelError
from moee_topics.run.document_changes import DocumentChanges, documents_of
from moee_topics.run.version_plan import VersionPlan
from moee_topics.run_folder import RunFolder


def plan_of(run: RunFolder) -> VersionPlan:
    documents = documents_of(run.result)
    return VersionPlan(run, "assign", DocumentChanges(documents, np.arange(len(documents)), 1, 2, 3, 4), sources=["x"])


def test_the_first_version_is_made_of_the_run_itself(root: Path) -> None:
    run = RunFolder(root / "run")
    plan = plan_of(run)
    record = plan.new_record()
    assert plan.parent is run and (record["version"], record["parent"]) == (2, 1)
    assert plan.history["next_topic"] == run.result.topics.max() + 1 and plan.history["fit"]
    assert (record["added"], record["changed"], record["removed"], record["sources"]) == (1, 2, 3, ["x"])


def test_no_number_of_a_version_is_used_twice(root: Path) -> None:
    run = RunFolder(root / "run")
    plan = plan_of(run)
    records = [{**plan.new_record(), "version": number} for number in (2, 3)]
    RunFolder.history.write(run, {**plan.history, "current": 1, "versions": records})  # both undone
    assert plan_of(run).new_record()["version"] == 4 and plan_of(run).parent is run


def test_documents_are_encoded_by_the_encoder_of_the_run_or_not_at_all(root: Path, tmp_path: Path) -> None:
    run = RunFolder(root / "run")
    work = plan_of(run).workspace(tmp_path)
    assert work.embedder.key == run.encoder["key"] and [one.id for one in work.corpus] == list(run.result.ids)
    RunFolder.encoder.write(run, {**run.encoder, "key": {**run.encoder["key"], "prompt": "another"}})
    with pytest.raises(ModelError):
        plan_of(run).workspace(tmp_path)


def test_a_run_knows_its_store_after_a_move_and_says_where_it_is_lost(root: Path, tmp_path: Path) -> None:
    (root / "store").rename(root / "elsewhere")
    run = RunFolder(root / "run")
    RunFolder.manifest.write(run, {**run.manifest, "store": "../elsewhere"})
    moved = RunFolder(root.rename(tmp_path / "moved") / "run")
    heard = Heard()
    plan = replace(plan_of(moved), progress=heard)
    work = plan.workspace(tmp_path / "new")
    plan.note_lost(work)
    assert work.store == tmp_path / "moved" / "elsewhere" and not any("Encoded again" in note for note in heard.notes)
    shutil.rmtree(work.store)
    lost = plan.workspace(tmp_path / "new")
    plan.note_lost(lost)
    assert lost.store == tmp_path / "moved" / "store"  # as a run of an earlier version, which remembers none
    assert any("Encoded again, since the store" in note and "--store FOLDER" in note for note in heard.notes)
