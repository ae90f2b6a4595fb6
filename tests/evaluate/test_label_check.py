"""A label fits where a judge finds it again: by made-up topics that lie as a test puts them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from moee_topics.errors import InputError
from moee_topics.evaluate import Ballot, chosen_by_cosine, count_votes, draw_ballots
from moee_topics.evaluate.label_check import nearest_topics

TOPICS = 8
LABELS = {topic: f"label {topic}" for topic in range(TOPICS)}


@pytest.fixture
def cloud() -> tuple[np.ndarray, np.ndarray]:
    """Documents of topics on a half circle: neighbours by number are neighbours; the last ten are outliers."""
    topics = np.repeat([*range(TOPICS), -1], 10)
    angles = np.pi * topics / TOPICS + np.random.default_rng(0).normal(0, 0.02, len(topics))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1), topics


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_labels_beside_a_topic_s_own_are_those_of_its_nearest(cloud: tuple[np.ndarray, np.ndarray]) -> None:
    near = nearest_topics(*cloud, np.arange(TOPICS))
    assert set(near[0]) == {1, 2, 3, 4} and set(near[4]) == {2, 3, 5, 6} and near[4][-1] in (2, 6)


def test_each_topic_has_its_ballots_and_outliers_have_none(cloud: tuple[np.ndarray, np.ndarray]) -> None:
    ballots = draw_ballots(*cloud, 4, rng())
    assert [ballot.topic for ballot in ballots] == np.repeat(range(TOPICS), 4).tolist()
    assert all(cloud[1][ballot.place] == ballot.topic for ballot in ballots)
    assert all(len(set(ballot.choices)) == 5 and ballot.topic in ballot.choices for ballot in ballots)
    assert ballots == draw_ballots(*cloud, 4, rng()) != draw_ballots(*cloud, 4, np.random.default_rng(1))


def test_the_own_label_stands_in_every_place_as_often(cloud: tuple[np.ndarray, np.ndarray]) -> None:
    vectors, topics = (np.concatenate([part] * 50) for part in cloud)
    places = [ballot.choices.index(ballot.topic) for ballot in draw_ballots(vectors, topics, 500, rng())]
    assert np.bincount(places) / len(places) == pytest.approx([0.2] * 5, abs=0.02)


def test_labels_that_lie_with_their_topics_are_right_and_exchanged_ones_wrong(
    cloud: tuple[np.ndarray, np.ndarray],
) -> None:
    vectors, topics = cloud
    ballots = draw_ballots(vectors, topics, 10, rng())
    own = {topic: 3 * vectors[topics == topic].mean(axis=0) for topic in range(TOPICS)}
    right = count_votes("it", ballots, chosen_by_cosine(ballots, vectors, own), LABELS)
    assert right.accuracy == right.high == 1 and right.low > 0.9 and right.chance == 0.2 and right.documents == 80
    exchanged = {topic: own[topic ^ 1] for topic in own}
    wrong = count_votes("it", ballots, chosen_by_cosine(ballots, vectors, exchanged), LABELS)
    assert wrong.accuracy == 0 and [fit.taken_for for fit in wrong.topics] == [topic ^ 1 for topic in range(TOPICS)]


def test_one_label_for_all_topics_is_right_by_chance(cloud: tuple[np.ndarray, np.ndarray]) -> None:
    vectors, topics = (np.concatenate([part] * 50) for part in cloud)
    ballots = draw_ballots(vectors, topics, 500, rng())
    same = dict.fromkeys(range(TOPICS), np.array([0.3, 0.7]))
    found = count_votes("it", ballots, chosen_by_cosine(ballots, vectors, same), LABELS)
    assert found.low < 0.2 < found.high and found.high - found.low < 0.03


def test_with_fewer_topics_there_are_fewer_choices_and_with_one_none(cloud: tuple[np.ndarray, np.ndarray]) -> None:
    vectors, topics = cloud
    three = draw_ballots(vectors[:30], topics[:30], 5, rng())
    found = count_votes("it", three, [ballot.topic for ballot in three], LABELS)
    assert found.choices == 3 and found.chance == pytest.approx(1 / 3) and "nothing get 33%" in found.sentence
    with pytest.raises(InputError, match="this run has 1"):
        draw_ballots(vectors[:10], topics[:10], 5, rng())
    with pytest.raises(InputError, match="this run has 0"):
        draw_ballots(vectors[-10:], topics[-10:], 5, rng())


def test_an_answer_that_is_no_choice_counts_as_wrong() -> None:
    ballots = [Ballot(0, place, (1, 0)) for place in range(4)]
    found = count_votes("it", ballots, [0, None, 1, None], {0: "a", 1: "b"})
    assert (found.right, found.unanswered, found.accuracy) == (1, 2, 0.25) and found.topics[0].taken_for == 1
    assert "Answers without a label, which count as wrong: 2." in found.sentence and len(found.topics) == 1
    assert json.loads(json.dumps(found.to_json()))["topics"][0]["low"] == round(found.topics[0].low, 4)
