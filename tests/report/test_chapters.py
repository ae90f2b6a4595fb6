"""The list of chapters is the menu and the order of the report."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from moee_topics.report import report_page, write_report
from moee_topics.report.chapter import Chapter
from moee_topics.report.chapters import CHAPTERS


def test_menu_and_sections_are_the_chapters_in_their_order(run: Path, tmp_path: Path) -> None:
    page = write_report(run, tmp_path / "page.html").read_text(encoding="utf-8")
    absent = ("stability", "drift", "decisions")  # this run was not fitted again, updated or decided on
    keys = [chapter.key for chapter in CHAPTERS if chapter.key not in absent]
    assert re.findall(r'<a href="#([a-z]+)">', page.partition("<main>")[0]) == keys
    assert re.findall(r'<section id="([a-z]+)"', page) == keys
    assert all(f'id="{key}-title"' in page for key in keys)


def test_a_new_chapter_is_one_entry(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    markup = '<h2 id="voices-title">Voices</h2><p>{{ count|read_number }} voices</p>'
    new = Chapter("voices", "Voices", lambda run: {"count": 1234}, markup)
    monkeypatch.setattr(report_page, "CHAPTERS", (*CHAPTERS[:2], new, *CHAPTERS[2:]))
    page = write_report(run, tmp_path / "page.html").read_text(encoding="utf-8")
    assert '<a href="#voices">Voices</a>' in page and "<p>1,234 voices</p></section>" in page
    assert page.index('<section id="topics"') < page.index('<section id="voices"') < page.index('<section id="experts"')
