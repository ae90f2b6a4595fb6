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
