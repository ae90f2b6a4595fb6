"""How the run was made, as far as its manifest says it."""

from __future__ import annotations

from pathlib import Path

from small_run import bare_run, small_run

from moee_topics.report.run_chapter import manifest_tables, this_run
from moee_topics.run_folder import RunFolder


def test_the_tables_of_the_manifest_leave_out_what_the_run_does_not_say(tmp_path: Path) -> None:
    tables = dict(manifest_tables(RunFolder.read(small_run(tmp_path))))
    assert dict(tables["Run"]) == {"name": "small", "created": "2026-01-01", "seed": "0"}
    assert ("max tokens", "64") in tables["Encoder"] and "Hashes" not in tables


def test_what_was_left_out_is_told_with_its_reason(tmp_path: Path) -> None:
    plain = RunFolder.read(bare_run(tmp_path / "plain", ["one", "two"]))
    assert this_run(plain)["left_out"] == []
    run = RunFolder.read(small_run(tmp_path / "run"))
    run.manifest["left_out"] = {"experts": "no routers"}
    chapter = this_run(run)
    assert chapter["left_out"] == [("experts", "no routers")] and chapter["references"]
    assert {score.name for score in chapter["scores"]} == set(run.scores)
