"""The tree of topics, as a table where no script draws it."""

from __future__ import annotations

from pathlib import Path

from small_run import bare_run

from moee_topics.report.hierarchy_chapter import CHAPTER, hierarchy
from moee_topics.run_folder import RunFolder


def test_the_joints_stand_nearest_first(folder: RunFolder) -> None:
    html = str(CHAPTER.html(folder))
    names = [str(row["name"]) for row in sorted(folder.hierarchy, key=lambda row: row["distance"])]
    places = [html.index(f">{name}<") for name in names]
    assert names and places == sorted(places)


def test_a_run_without_a_tree_has_no_chapter_of_it(tmp_path: Path) -> None:
    assert hierarchy(RunFolder.read(bare_run(tmp_path, ["one", "two"]))) is None
