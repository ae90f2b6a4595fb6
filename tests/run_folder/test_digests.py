"""Digests: damage is told, a kill between a file and its digest is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moee_topics.errors import InputError
from moee_topics.run_folder import RunFolder

scores = RunFolder.scores


@pytest.mark.parametrize("left", [None, "{}"])
def test_digests_that_are_gone_are_told_but_where_a_version_wrote_none(rewritten: RunFolder, left: str | None) -> None:
    if left is None:
        rewritten.digests.path.unlink()
    else:
        rewritten.digests.path.write_text(left)
    for version, had in (("0.1.0", False), ("0.2.0", True)):
        manifest = rewritten.path / "run.json"
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "versions": {"moee_topics": version}}))
        assert rewritten.whole([scores]) is not had
        if had:
            with pytest.raises(InputError, match=r"digests\.json is missing.* Make it again with: moee-topics run"):
                scores.read(RunFolder(rewritten.path))


def test_damaged_digests_are_told_and_trusted_by_nobody(rewritten: RunFolder) -> None:
    text = rewritten.digests.path.read_text().replace("scores.json", "scares.json")
    rewritten.digests.path.write_text(text)
    assert not rewritten.whole([scores])
    with pytest.raises(InputError, match=r"digests\.json is damaged"):
        scores.read(rewritten)
    scores.write(rewritten, {})
    assert rewritten.whole([scores])


def test_a_kill_between_a_file_and_its_digest_is_no_damage(rewritten: RunFolder) -> None:
    path = scores.path(rewritten)
    with pytest.raises(KeyboardInterrupt), rewritten.digests.changing(path):
        path.write_text("{}")
        raise KeyboardInterrupt
    assert rewritten.whole([scores]) and scores.read(rewritten) == {}
    assert "hierarchy.json" in rewritten.digests.read()


def test_a_digest_of_a_file_outside_of_the_folder_is_not_followed(run: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("x")
    opened = RunFolder(run)
    opened.digests._write({"../../outside": "0" * 32})
    assert opened.digests.damaged(tmp_path / "outside") == []
