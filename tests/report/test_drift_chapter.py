"""The chapter on drift: every update on the way to the version that holds, the last first."""

from __future__ import annotations

from pathlib import Path

from small_run import small_run

from moee_topics.report.drift_chapter import CHAPTER, drift, verdict
from moee_topics.run_folder import RunFolder

FIGURES = {
    "documents": 40,
    "far": 0.12,
    "neighbours": {"value": 1.8, "chance": 1.1},
    "moved": {"value": 0.31, "chance": 0.09},
    "routing": {"value": 0.021, "chance": 0.004},
    "advice": "grow",
    "reasons": ["12% of the new documents are unlike anything before"],
}


def version(number: int, parent: int, **drift: object) -> dict:
    facts = {"version": number, "parent": parent, "policy": "assign", "created": f"2026-01-0{number}T00:00:00+00:00"}
    counts = dict.fromkeys(("documents", "topics", "added", "changed", "removed", "encoded"), 0)
    return {**facts, **counts, "sources": [], "seconds": 0.0, "lineage": [], **drift}


def test_each_update_is_a_row_and_undone_ones_are_none(tmp_path: Path) -> None:
    path = small_run(tmp_path / "run")
    run = RunFolder(path)
    assert drift(run) is None
    versions = [
        version(2, 1, drift={**FIGURES, "advice": "none", "reasons": []}),
        version(3, 2, drift={**FIGURES, "far": 0.99}),
        version(4, 2),
        version(5, 4, drift=FIGURES),
    ]
    history = {"fit": "", "current": 5, "next_topic": 9, "versions": versions}
    RunFolder.history.write(run, history)  # type: ignore[arg-type]
    new = RunFolder(small_run(path / "versions" / "v5"))
    share = {"topic": 1, "before": 0.1, "now": 0.3, "z": 4.2}
    topics = [share, {**share, "topic": 2, "z": 0.3}, {**share, "topic": 77}]
    routed = {"2": {"value": 0.05, "chance": 0.01}}
    RunFolder.drift.write(new, {**FIGURES, "topics": topics, "topic_routing": routed})
    chapter = drift(RunFolder.read(path))
    assert chapter is not None and [row.version for row in chapter["rows"]] == [5, 2]
    first = chapter["rows"][0]
    assert (first.far, first.moved, first.routing) == ("12 %", "31 % (9 %)", "2.1% (0.4%)") and first.advice == "grow"
    assert "may be new subjects. Advised: update with --policy grow" in chapter["verdict"]
    assert [(row.topic.topic, row.routing) for row in chapter["topics"]] == [(1, "–"), (2, "5.0% (1.0%)")]
    html = CHAPTER.html(RunFolder.read(path))
    assert html is not None and "unlike anything before" in html and "+4.2" in html


def test_what_was_done_is_not_advised_again() -> None:
    assert "by which this version was made" in verdict("grow", "grow")
    assert "Advised: update with --policy refit." in verdict("refit", "grow")
    assert "dvised:" not in verdict("none", "assign")
