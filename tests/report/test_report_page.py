from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from page_parser import Scripts, unpacked
from small_run import HOSTILE, bare_run

from moee_topics.errors import InputError
from moee_topics.report import ReportSettings, export_report, write_report
from moee_topics.report.chapters import CHAPTERS
from moee_topics.report.report_page import chapter_script


def test_the_report_is_one_file_that_names_nothing_outside_itself(run: Path, tmp_path: Path) -> None:
    page = write_report(run, tmp_path / "deep" / "page.html").read_text(encoding="utf-8")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["page.html"]
    outside = [
        value for name, value in Scripts(page).attributes if name in ("src", "href") and not value.startswith("#")
    ]
    assert outside == ["data:,"]
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", page.split('id="packed"')[0])
    assert any(value.startswith("default-src 'none'") for name, value in Scripts(page).attributes if name == "content")


def test_the_report_goes_into_the_run_folder_and_reads_nothing_else(run: Path) -> None:
    assert write_report(run) == run / "report.html"
    first = (run / "report.html").read_bytes()
    assert write_report(run).read_bytes() == first


def test_hostile_text_leaves_the_page_s_three_scripts_alone(hostile: Path) -> None:
    page = write_report(hostile).read_text(encoding="utf-8")
    parsed = Scripts(page)
    assert [attributes.get("type") for attributes, _ in parsed.content] == ["application/json", None, "text/plain"]
    assert not {name for name, _ in parsed.attributes if name.startswith("on")}
    assert "img" not in parsed.tags and "window.hacked" not in parsed.content[1][1]
    assert json.loads(parsed.payload("first"))["topics"][1]["name"] == HOSTILE[0]
    assert unpacked(page)["ids"][1] == f"post-1{HOSTILE[1]}"


def test_a_page_has_the_scripts_of_its_own_chapters_alone(run: Path, tmp_path: Path) -> None:
    plain = bare_run(tmp_path / "plain", ["one", "two"])
    scripts = [
        Scripts(write_report(path, tmp_path / "page.html").read_text("utf-8")).content[1][1] for path in (run, plain)
    ]
    parts = {chapter.key: chapter_script(chapter.script) for chapter in CHAPTERS if chapter.script}
    assert [key for key, part in parts.items() if part in scripts[0]] == list(parts)
    assert [key for key, part in parts.items() if part in scripts[1]] == ["overview", "topics", "documents"]


def test_a_run_without_any_optional_file_has_a_report(tmp_path: Path) -> None:
    page = write_report(bare_run(tmp_path / "plain", ["one", "two", "three"])).read_text(encoding="utf-8")
    assert '<h1 id="overview-title">plain</h1>' in page
    for absent in ("experts", "hierarchy", "time", "labels", "outliers"):
        assert f'<section id="{absent}"' not in page


@pytest.mark.parametrize("topics", [[], [-1, -1, -1], [0]])
def test_no_documents_only_outliers_and_a_single_document_have_a_report(tmp_path: Path, topics: list[int]) -> None:
    folder = bare_run(tmp_path / "run", ["text"] * len(topics), topics)
    page = write_report(folder).read_text(encoding="utf-8")
    assert len(unpacked(page)["ids"]) == len(topics)
    assert [path.suffix for path in export_report(folder, ["markdown", "svg", "csv", "json"], tmp_path / "out")]


def test_what_is_no_run_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"topics\.parquet is missing"):
        write_report(tmp_path)
    folder = bare_run(tmp_path / "run", ["text"])
    with pytest.raises(InputError, match="map_documents=0"):
        write_report(folder, settings=ReportSettings(map_documents=0))
    (folder / "scores.json").write_text("{not json", encoding="utf-8")
    with pytest.raises(InputError, match=r"scores\.json cannot be read .* Make it again with: moee-topics run"):
        write_report(folder)
    (folder / "scores.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match=r"scores\.json is damaged .*object.* Make it again with: moee-topics run"):
        write_report(folder)
