"""The chapter on decisions: conflicts first, names escaped, and none without decisions."""

from __future__ import annotations

from pathlib import Path

from small_run import small_run

from moee_topics.report import write_report
from moee_topics.report.decisions_chapter import decisions
from moee_topics.run_folder import RunFolder
from moee_topics.topics import Decision, Outcome


def test_conflicts_come_first_and_texts_are_escaped(tmp_path: Path) -> None:
    path = small_run(tmp_path / "run")
    run = RunFolder(path)
    assert decisions(RunFolder.read(path)) is None
    outcomes = [
        Outcome(Decision("name", (0,), text="<script>1</script>"), "applied"),
        Outcome(Decision("merge", (1, 99)), "conflict", "topic 99 is not there", known=False),
        Outcome(Decision("seed", seeds=("orbit",)), "settled", "guides the next refit"),
    ]
    RunFolder.decisions.write(run, outcomes)
    chapter = decisions(RunFolder.read(path))
    assert chapter is not None and chapter["conflicts"] == 1
    first = chapter["rows"][0]
    assert (first.verb, first.state, first.others, first.level) == ("Merged", "conflict", [99], "weak")
    page = write_report(path).read_text()
    assert "&lt;script&gt;1&lt;/script&gt;" in page and "1 could not be applied" in page
    assert "topic 99 is not there" in page and '<a href="#decisions">' in page
