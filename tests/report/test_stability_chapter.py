from __future__ import annotations

import json
from pathlib import Path

from small_run import HOSTILE, STABILITY, small_run, write_json

from moee_topics.report import export_report, write_report
from moee_topics.report.stability_chapter import stability
from moee_topics.run_folder import RunFolder


def test_the_report_shows_how_stable_the_topics_are_the_least_stable_first(tmp_path: Path) -> None:
    folder = small_run(tmp_path / "run")
    write_json(folder / "stability.json", STABILITY)
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    for kind in ("seeds", "bootstrap"):
        value = STABILITY[kind]["ami"]
        scores[f"stability_{kind}"] = {"value": value, "description": "of some fits", "higher_is_better": True}
    write_json(folder / "scores.json", scores)
    chapter = stability(RunFolder.read(folder))
    assert chapter is not None
    assert [(row.topic.topic, row.mark) for row in chapter["topics"]] == [
        (1, "dissolves"), (2, "in part"), (3, "stable"), (0, "stable"),
    ]  # fmt: skip
    assert chapter["topics"][0].figures == ["0.90", "0.49"]
    assert [(row.fits, row.ami, row.words, row.topics) for row in chapter["fits"]] == [
        ("5", "0.81", "0.61", "3 to 5"), ("3", "0.60", "–", "4"),
    ]  # fmt: skip
    page = write_report(folder).read_text(encoding="utf-8")
    assert "nearly the same topics. Of 4 topics 2 are stable and 1 dissolves." in page
    overview = page.split('id="topics"')[0]
    assert "<dt>Stability over seeds</dt>" in overview and "<dt>Stability on samples</dt>" in overview
    (text,) = export_report(folder, ["markdown"], tmp_path)
    assert "| stability\\_seeds | 0.81 | Fitted again, the corpus gives nearly the same topics. |" in text.read_text()


def test_stability_with_seeds_alone_or_with_nothing_that_can_be_read(tmp_path: Path) -> None:
    folder = small_run(tmp_path / "run", hostile=True)
    write_json(folder / "stability.json", {"seeds": {**STABILITY["seeds"], "ami": HOSTILE[0]}, "topics": {"0": {}}})
    chapter = stability(RunFolder.read(folder))
    assert chapter is not None and chapter["kinds"] == ["Other seeds"]
    assert {row.mark for row in chapter["topics"]} == {""} and chapter["fits"][0].ami == "–"
    assert 'id="stability"' in write_report(folder).read_text(encoding="utf-8")
    write_json(folder / "stability.json", {"ami": 0.5})
    assert stability(RunFolder.read(folder)) is None
