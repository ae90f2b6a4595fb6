"""Documents of any source become the same strings; what is no column of strings is refused with place and type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from moee_topics.encode import plain_texts
from moee_topics.errors import InputError

TEXTS = ["The court heard.", "", "\u0928\u092e\u0938\u094d\u0924\u0947 🦊"]


@pytest.mark.parametrize(
    "column",
    [
        TEXTS,
        tuple(TEXTS),
        iter(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        pd.Series(TEXTS),
        pd.Series(TEXTS, dtype="string"),
        pa.array(TEXTS),
        pa.chunked_array([TEXTS[:1], TEXTS[1:]]),
    ],
    ids=lambda column: type(column).__name__,
)
def test_every_kind_of_column_gives_the_same_plain_strings(column: Any) -> None:
    texts = list(plain_texts(column))
    assert texts == TEXTS and {type(text) for text in texts} == {str}


def test_a_column_of_polars_gives_plain_strings_and_its_table_is_refused() -> None:
    polars = pytest.importorskip("polars")
    assert list(plain_texts(polars.Series(TEXTS))) == TEXTS
    with pytest.raises(InputError, match="pass the column"):
        list(plain_texts(polars.DataFrame({"text": TEXTS})))


@pytest.mark.parametrize(
    ("other", "shown"),
    [
        (None, r"NoneType \(None\)"),
        (float("nan"), r"float \(nan\)"),
        (7, r"int \(7\)"),
        (b"bytes", "bytes"),
        (["a list"], "list"),
        (pd.NA, "NAType"),
    ],
)
def test_what_is_no_string_is_refused_with_position_and_type(other: Any, shown: str) -> None:
    with pytest.raises(InputError, match=f"Document 2 is of type .*{shown}"):
        list(plain_texts(["fine", "fine", other]))


@pytest.mark.parametrize(
    "table",
    [
        *("one string", b"bytes", {"text": TEXTS}, pd.DataFrame({"text": TEXTS}), pa.table({"text": TEXTS}), None, 3),
        *(set(TEXTS), frozenset(TEXTS), np.array("one string")),
    ],
)
def test_what_would_give_characters_or_names_of_columns_is_refused(table: Any) -> None:
    with pytest.raises(InputError, match="a list or a column of strings"):
        list(plain_texts(table))


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    assert list(plain_texts(["broken \ud800 text"])) == ["broken ? text"]
