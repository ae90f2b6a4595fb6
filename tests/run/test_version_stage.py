"""The fit of an updated run is a stage like any other, and its topics are those of its policy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_runs import Heard, recipe_of, write_corpus

from moee_topics.corpus import DocumentList, open_corpus
from moee_topics.run.document_changes import document_changes
from moee_topics.run.embed_stage import EmbedStage
from moee_topics.run.policies import Policy
from moee_topics.run.stages import go_through
from moee_topics.run.version_plan import VersionPlan
from moee_topics.run.version_stage import VersionStage
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import RunFolder


@pytest.mark.parametrize(("policy", "keeps"), [("assign", True), ("refit", False)])
def test_the_loop_of_a_run_makes_a_version(
    root: Path, corpus: Path, tiny_olmoe: Path, tmp_path: Path, policy: Policy, keeps: bool
) -> None:
    parent, heard = RunFolder(root / "run"), Heard()
    recipe = recipe_of(write_corpus(tmp_path / "new.jsonl", 8, first=1000), tiny_olmoe)
    changes = document_changes(parent.result, [open_corpus(recipe.corpus)], remove_missing=False)
    (tmp_path / "v2").mkdir()
    work = Workspace(recipe, tmp_path / "v2", root / "store", heard)
    work.corpus = DocumentList.of(changes.documents, "both")
    stage = VersionStage(VersionPlan(parent, policy, changes))
    plans = go_through((EmbedStage(), stage), work)
    assert [(plan.name, plan.action) for plan in plans] == [("embed", "run"), ("fit", "run")]
    assert {"embed", "fit", policy} <= heard.ended.keys() and not stage.is_done(work)
    version = RunFolder(tmp_path / "v2")
    assert version.encoder == parent.encoder and len(version.result) == len(parent.result) + 8
    stayed = version.result.topics[changes.rows >= 0]
    assert bool(np.array_equal(stayed, parent.result.topics)) or not keeps
