"""What a user may name as a source."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_files import opened, refused, written

from moee_topics.errors import InputError


def test_opening_a_corpus_reads_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.jsonl", "not json")
    corpus = opened(path)
    with pytest.raises(InputError):
        next(iter(corpus))


@pytest.mark.parametrize("name", ["missing.csv", "nosuchcorpus"])
def test_a_source_that_is_not_there_is_refused_with_what_could_be(name: str) -> None:
    message = refused(name)
    assert name in message and "20newsgroups" in message and ".parquet" in message


def test_a_file_of_unknown_kind_is_refused(tmp_path: Path) -> None:
    assert ".docx" in refused(written(tmp_path, "t.docx", "x"))
    assert ".parquet.gz" in refused(written(tmp_path, "t.parquet.gz", "x"))
