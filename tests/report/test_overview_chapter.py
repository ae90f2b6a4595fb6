"""The numbers that a report begins with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_run import bare_run, small_run

from moee_topics.report import write_report
from moee_topics.report.overview_chapter import LARGEST, overview
from moee_topics.run_folder import RunFolder


def test_the_overview_counts_topics_labels_and_outliers(folder: RunFolder) -> None:
    chapter = overview(folder)
    assert chapter["topics_total"] == len(folder.ranked_topics)
    assert chapter["largest"] == folder.ranked_topics[:LARGEST] and chapter["label_count"] == 2
    assert chapter["outlier_share"] == pytest.approx((folder.result.topics == -1).mean())


def test_a_run_of_a_method_that_is_gone_has_an_overview(tmp_path: Path) -> None:
    plain = RunFolder.read(bare_run(tmp_path, ["one", "two"]))
    chapter = overview(plain)
    assert (chapter["method"], chapter["label_count"], chapter["outlier_share"]) == (None, 0, None)


def test_an_updated_run_names_its_sources_and_its_version(tmp_path: Path) -> None:
    run = RunFolder(small_run(tmp_path / "run"))
    counts = dict.fromkeys(("documents", "topics", "added", "changed", "removed", "encoded"), 0)
    made = {**counts, "version": 2, "parent": 1, "policy": "grow", "created": "", "sources": ["new.csv"],
            "seconds": 0.0, "lineage": []}  # fmt: skip
    undone, last = ({**made, "version": 3, "sources": ["undone.csv"]},
                    {**made, "version": 4, "parent": 2, "policy": "decide", "sources": []})  # fmt: skip
    own = run.section("corpus")["source"]
    assert (overview(run)["sources"], overview(run)["version"]) == ([own], None)
    latest = run.version(4)
    shutil.copytree(run.path, latest.path)
    RunFolder.manifest.write(latest, {**run.manifest, "update": last})
    history = {"fit": "", "current": 4, "next_topic": 9, "versions": [made, undone, last]}
    RunFolder.history.write(run, history)  # type: ignore[arg-type]
    chapter = overview(RunFolder(latest.path))
    assert (chapter["sources"], chapter["version"]) == ([own, "new.csv"], 4)
    page = " ".join(write_report(run.path).read_text(encoding="utf-8").split())
    assert f"from <b>{own}</b> and <b>new.csv</b>, version 4 of the run," in page
