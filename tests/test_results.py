"""A topic result survives its files, and a damaged folder is a clear error."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moee_topics.errors import InputError
from moee_topics.results import OUTLIERS, Topic, TopicResult


def result() -> TopicResult:
    return TopicResult(
        ids=["a", "b", "c"],
        texts=["one <script>", "zwei\n", "三"],
        topics=np.array([0, OUTLIERS, 0]),
        probabilities=np.array([0.5, 0, 1], np.float32),
        positions=np.array([[0, 1], [2, 3], [4, 5]], np.float32),
        topic_info=[
            Topic(OUTLIERS, 1, "outliers", [], {}, []),
            Topic(0, 2, "0_one", [("one", 0.25), ("三", 0.125)], {"mmr": [("one", 1.0)]}, [2, 0]),
        ],
    )


def assert_same(a: TopicResult, b: TopicResult) -> None:
    assert (a.ids, a.texts, a.labels, a.timestamps) == (b.ids, b.texts, b.labels, b.timestamps)
    assert a.topic_info == b.topic_info
    for name in ("topics", "probabilities", "positions"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert getattr(a, name).dtype == getattr(b, name).dtype


@pytest.mark.parametrize(
    "extra", [{}, {"labels": ["x", None, "y"]}, {"timestamps": ["2020-01-01", None, "2021-06-01"]}]
)
def test_what_is_saved_is_what_is_loaded(tmp_path: Path, extra: dict[str, list[str]]) -> None:
    saved = replace(result(), **extra)
    saved.save(tmp_path / "run")
    assert_same(TopicResult.load(tmp_path / "run"), saved)


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        result().save(tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_topics_are_found_by_id() -> None:
    assert result().topic(0).name == "0_one"
    with pytest.raises(InputError, match="no topic 7; this model has -1, 0"):
        result().topic(7)
    assert len(result()) == 3


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="one id, text, topic"):
        replace(result(), labels=["x"])


def test_weights_that_are_no_numbers_leave_valid_json(tmp_path: Path) -> None:
    replace(result(), topic_info=[Topic(0, 3, "0", [("a", float("nan")), ("b", float("inf"))])]).save(tmp_path)
    info = json.loads((tmp_path / "topic_info.json").read_text(), parse_constant=pytest.fail)
    assert info[0]["words"] == [["a", 0.0], ["b", 0.0]]


@pytest.mark.parametrize("name", ["topics.parquet", "documents.parquet", "topic_info.json"])
@pytest.mark.parametrize("content", [None, b"", b"{ half"])
def test_a_missing_or_damaged_file_is_a_clear_error(tmp_path: Path, name: str, content: bytes | None) -> None:
    result().save(tmp_path)
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="Fit it again"):
        TopicResult.load(tmp_path)
