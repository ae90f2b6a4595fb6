from __future__ import annotations

import numpy as np
import pytest

from moee_topics.errors import InputError
from moee_topics.evaluate import topic_lineage


def lineage(before: list[int], after: list[int], more_before: tuple[int, ...] = (), more: tuple[int, ...] = ()) -> dict:
    events = topic_lineage(np.array(before), np.array(after), [*before, *more_before], [*after, *more])
    return {event["topic"]: (event["event"], event["topics"]) for event in events}


def test_what_stays_is_no_event() -> None:
    assert lineage([0, 0, 1, -1], [0, 0, 1, 1]) == {}


def test_a_topic_of_new_documents_alone_is_born_of_none() -> None:
    assert lineage([0, 0], [0, 0], more=(7,)) == {7: ("born", [])}


def test_a_topic_born_of_another_splits_it() -> None:
    assert lineage([3] * 10, [3] * 6 + [8] * 4) == {3: ("split", [(8, 0.4)]), 8: ("born", [(3, 1.0)])}


def test_a_topic_that_went_into_another_is_merged() -> None:
    assert lineage([1, 1, 2, 2], [1, 1, 1, 1]) == {2: ("merged", [(1, 1.0)])}


def test_a_topic_that_went_in_parts_is_split_and_one_without_documents_is_gone() -> None:
    events = lineage([0, 0, 1, 1, 2, 2, 2, 2, 2], [0, 0, 1, 1, 0, 0, 1, 1, -1], more_before=(9,))
    assert events == {2: ("split", [(0, 0.4), (1, 0.4)]), 9: ("gone", [])}


def test_a_topic_that_is_all_in_new_ones_is_split_however_large_a_part_is() -> None:
    events = lineage([0] * 10 + [1], [5] * 7 + [6] * 3 + [1])
    assert events[0] == ("split", [(5, 0.7), (6, 0.3)]) and events[5][0] == events[6][0] == "born"


def test_outliers_are_no_topic() -> None:
    assert lineage([-1, -1, 0], [5, 5, 0]) == {5: ("born", [])}
    assert lineage([5, 5, 0], [-1, -1, 0]) == {5: ("gone", [])}


def test_versions_of_other_documents_are_refused() -> None:
    with pytest.raises(InputError, match="same documents"):
        topic_lineage(np.zeros(3), np.zeros(4), [0], [0])
