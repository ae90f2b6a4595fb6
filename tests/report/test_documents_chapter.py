"""What of the documents is there without a script."""

from __future__ import annotations

from pathlib import Path

from small_run import bare_run

from moee_topics.report.documents_chapter import EXCERPT, documents, excerpt
from moee_topics.run_folder import RunFolder


def test_an_excerpt_is_one_line_and_never_much_longer_than_it_may_be(tmp_path: Path) -> None:
    folder = RunFolder.read(bare_run(tmp_path, ["two\n lines", "long " * 100]))
    assert excerpt(folder, 0) == "two lines"
    assert len(excerpt(folder, 1)) <= EXCERPT + 1 and excerpt(folder, 1).endswith("…")
    assert excerpt(folder, 7) == ""


def test_each_topic_has_one_typical_document(folder: RunFolder) -> None:
    chapter = documents(folder)
    assert chapter["has_labels"] and [topic for topic, _ in chapter["typical"]] == folder.ranked_topics
    assert all(text == excerpt(folder, topic.representative_docs[0]) for topic, text in chapter["typical"])
