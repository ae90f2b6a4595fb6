"""A chapter fills its markup with its values, escaped, or is left out."""

from __future__ import annotations

from moee_topics.report.chapter import Chapter
from moee_topics.run_folder import RunFolder


def test_values_are_escaped_and_the_run_is_known(folder: RunFolder) -> None:
    chapter = Chapter("one", "One", lambda run: {"word": "<b>"}, "<p>{{ word }} of {{ run.name }}, {{ longest }}</p>")
    assert chapter.html(folder, 80) == f"<p>&lt;b&gt; of {folder.name}, 80</p>"


def test_a_run_that_has_nothing_of_it_has_no_such_chapter(folder: RunFolder) -> None:
    assert Chapter("one", "One", lambda run: None, "<p></p>").html(folder) is None
