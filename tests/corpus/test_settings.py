"""What a corpus can be told, refused before anything is read."""

from __future__ import annotations

import pytest

from moee_topics.corpus import CorpusSettings
from moee_topics.errors import InputError


@pytest.mark.parametrize("encoding", ["klingon", "base64", "a\0b"])
def test_an_encoding_that_is_none_is_refused(encoding: str) -> None:
    with pytest.raises(InputError, match=r"corpus\.encoding"):
        CorpusSettings("t.csv", encoding=encoding)


@pytest.mark.parametrize("delimiter", ["", '"', ";;", "\n"])
def test_a_delimiter_that_is_none_is_refused(delimiter: str) -> None:
    with pytest.raises(InputError, match=r"corpus\.delimiter"):
        CorpusSettings("t.csv", delimiter=delimiter)


@pytest.mark.parametrize("pattern", ["", ".", "/a/*", "../*", "**a"])
def test_a_pattern_that_no_file_of_a_folder_can_match_is_refused(pattern: str) -> None:
    with pytest.raises(InputError, match=r"corpus\.pattern"):
        CorpusSettings("folder", pattern=pattern)


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(InputError, match=r"'idna' is not an encoding.*corpus\.delimiter.*corpus\.pattern"):
        CorpusSettings("t.csv", encoding="idna", delimiter="ab", pattern="")
