"""Tasks that can be made afresh, and the version of their data."""

from __future__ import annotations

from pathlib import Path

import pytest

from moee_topics.mteb.tasks import LocalTask, VersionedTask, local_task

pytest.importorskip("mteb")


def test_a_task_is_made_afresh_and_has_the_version_of_its_data(labelled: Path) -> None:
    source = local_task(LocalTask("Clustering", labelled, name="Mine"))
    assert source.make() is not source.make()
    task = VersionedTask.of(source)
    assert (task.name, task.revision) == ("Mine", source.make().metadata.revision)
    assert VersionedTask.of(local_task(LocalTask("Clustering", labelled, seed=7))).revision != task.revision
