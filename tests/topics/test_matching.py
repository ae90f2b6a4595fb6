from __future__ import annotations

import numpy as np

from moee_topics.topics.matching import matched_topics, word_cosines
from moee_topics.topics.result import Words

SPACE: Words = [("orbit", 0.6), ("moon", 0.3)]
HOCKEY: Words = [("puck", 0.5), ("goalie", 0.5)]
COOKING: Words = [("onion", 0.7)]


def topics(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def test_renumbered_topics_are_found_again() -> None:
    before, after = topics(0, 0, 0, 1, 1, 2, 2, -1), topics(2, 2, 2, 0, 0, 1, 1, -1)
    words = {0: SPACE, 1: HOCKEY, 2: COOKING}
    assert matched_topics(before, after, words, {2: SPACE, 0: HOCKEY, 1: COOKING}) == {2: 0, 0: 1, 1: 2}


def test_words_decide_where_documents_are_torn() -> None:
    before, after = topics(0, 0, 1, 1), topics(0, 1, 0, 1)
    assert matched_topics(before, after, {0: SPACE, 1: HOCKEY}, {0: HOCKEY, 1: SPACE}) == {0: 1, 1: 0}


def test_documents_decide_where_words_have_changed() -> None:
    before, after = topics(0, 0, 0, 1, 1, 1), topics(5, 5, 5, 4, 4, 4)
    assert matched_topics(before, after, {0: SPACE, 1: HOCKEY}, {4: COOKING, 5: [("stew", 1.0)]}) == {5: 0, 4: 1}


def test_no_topic_is_matched_twice_and_what_is_unlike_is_new() -> None:
    before, after = topics(*[0] * 6, *[1] * 6), topics(0, 0, 0, 1, 1, 1, *[2] * 6)
    matches = matched_topics(before, after, {0: SPACE, 1: HOCKEY}, {0: SPACE, 1: SPACE, 2: HOCKEY, 3: COOKING})
    assert matches in ({0: 0, 2: 1}, {1: 0, 2: 1})


def test_a_topic_whose_documents_are_all_gone_is_known_by_its_words() -> None:
    assert matched_topics(topics(), topics(), {3: SPACE}, {0: SPACE, 1: HOCKEY}) == {0: 3}


def test_outliers_and_empty_versions_match_nothing() -> None:
    assert matched_topics(topics(-1, -1), topics(-1, -1), {-1: SPACE}, {-1: SPACE}) == {}
    assert matched_topics(topics(0), topics(-1), {0: SPACE}, {-1: SPACE}) == {}


def test_cosines_are_of_weights_and_bear_what_is_no_number() -> None:
    cosines = word_cosines([SPACE, [], [("orbit", float("nan"))]], [SPACE, [("orbit", 1.0)]])
    assert np.allclose(cosines, [[1.0, 0.6 / np.hypot(0.6, 0.3)], [0, 0], [0, 0]])
