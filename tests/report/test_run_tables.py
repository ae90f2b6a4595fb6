from __future__ import annotations

from pathlib import Path

from small_run import bare_run

from moee_topics.report.run_tables import document_table, expert_table, tables_of, topic_table
from moee_topics.run_folder import RunFolder


def test_topics_come_by_size_and_the_outliers_last(run: Path) -> None:
    rows = topic_table(RunFolder.read(run))
    counts = [row["documents"] for row in rows[:-1]]
    assert counts == sorted(counts, reverse=True) and rows[-1]["name"] == "Outliers"
    assert all(row["words_MMR"] == f"aspect{row['topic']}" for row in rows)


def test_documents_keep_the_order_of_the_corpus_and_every_column_it_has(run: Path) -> None:
    folder = RunFolder.read(run)
    rows = document_table(folder)
    assert [row["id"] for row in rows] == list(folder.result.ids)
    assert list(rows[0]) == ["id", "topic", "name", "probability", "x", "y", "label", "timestamp", "text"]


def test_a_table_without_rows_is_no_table(tmp_path: Path) -> None:
    plain = RunFolder.read(bare_run(tmp_path, ["one", "two"]))
    assert expert_table(plain) == [] and set(tables_of(plain)) == {"topics", "documents"}
    assert list(document_table(plain)[0]) == ["id", "topic", "name", "probability", "x", "y", "text"]
