from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from bag_of_words import THEMES, themed_corpus
from fitted_topics import LABELS, fitted, vectors

from moee_topics.errors import InputError
from moee_topics.evaluate import prediction_agreement
from moee_topics.topics import Voters
from moee_topics.topics.voters import NEW, largest


def test_predict_gives_new_documents_of_a_theme_its_topic() -> None:
    documents, labels = themed_corpus(per_theme=5, noise=0, seed=9)
    topics, shares = fitted().predict(documents)
    of_theme = {theme: fitted().result.topics[LABELS.index(theme)] for theme in THEMES}
    assert topics.tolist() == [of_theme[theme] for theme in labels]
    assert ((shares > 0.5) & (shares <= 1.0)).all()


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_a_vector_that_is_no_number_gets_no_topic_by_chance(odd: float) -> None:
    X = vectors()[:3].copy()
    X[1, 0] = odd
    with pytest.raises(InputError, match="NaN or infinity in 1 vector, the first that of document 1"):
        fitted().voters.predict(X)


@pytest.mark.parametrize("size", [1e25, 1e-25])
def test_topics_do_not_depend_on_the_size_of_vectors(size: float) -> None:
    """The squares of such numbers are infinite in float32, or nothing."""
    X = vectors() * np.float32(size)
    voters = Voters.fit(X, fitted().result.topics)
    expected = fitted().voters.predict(vectors()[::9])
    topics, shares = voters.predict(X[::9])
    assert np.array_equal(topics, expected[0]) and np.allclose(shares, expected[1], atol=1e-3)


def test_a_vector_of_zeros_gets_no_topic_by_chance() -> None:
    X = np.zeros((2, vectors().shape[1]), np.float32)
    topics, shares = fitted().voters.predict(X)
    assert topics.tolist() == [-1, -1] and shares.tolist() == [0, 0]
    assert fitted().voters.predict(X, np.array([2, NEW]))[0].tolist() == [2, -1], "what was fitted keeps its topic"


def test_a_large_fit_keeps_part_of_its_documents_and_every_topic() -> None:
    rng = np.random.default_rng(0)
    topics = np.array([0] * 500 + [1] * 480 + [2] * 20)
    prediction = Voters.fit(rng.normal(size=(1000, 4)), topics, most=100)
    assert 100 <= len(prediction.rows) <= 130
    assert Counter(prediction.topics.tolist())[2] >= 15
    assert np.array_equal(prediction.topics, topics[prediction.rows])


def test_a_prediction_is_the_topic_with_the_largest_sum_of_cosines_among_the_nearest() -> None:
    rng = np.random.default_rng(3)
    X, new = rng.normal(size=(60, 5)), rng.normal(size=(8, 5))
    topics = rng.integers(-1, 3, 60)
    topics_of_new, shares = Voters.fit(X, topics).predict(new)
    for row, vector in enumerate(new):
        cosines = X @ vector / np.linalg.norm(X, axis=1) / np.linalg.norm(vector)
        nearest = np.argsort(-cosines)[:5]
        votes = {topic: cosines[nearest[topics[nearest] == topic]].sum() for topic in set(topics[nearest].tolist())}
        best = max(votes, key=lambda topic: votes[topic])
        assert topics_of_new[row] == best
        assert shares[row] == pytest.approx(0.0 if best == -1 else votes[best] / sum(votes.values()), abs=2e-3)


def test_as_many_documents_vote_as_the_smallest_topic_has() -> None:
    for sizes, neighbors in (([20, 9], 5), ([20, 4], 4), ([20, 2], 3)):
        topics = np.repeat(np.arange(len(sizes)), sizes)
        X = np.random.default_rng(0).normal(size=(len(topics), 4))
        assert Voters.fit(X, topics).neighbors == neighbors


def test_a_topic_of_three_documents_is_predicted_for_a_new_one_of_its_kind() -> None:
    """With fifteen voters it could never be: BERTopic's users met 11 of 60 such topics."""
    rng = np.random.default_rng(0)
    large, small = rng.normal((5, 0), 0.1, (60, 2)), rng.normal((0, 5), 0.1, (3, 2))
    prediction = Voters.fit(np.vstack([large, small]), np.repeat([0, 1], [60, 3]))
    assert prediction.predict([[0.1, 5.0]])[0].tolist() == [1]


def test_copies_of_a_document_have_one_vote() -> None:
    X = np.vstack([np.repeat([[1.0, 0.2]], 50, axis=0), [[1.0, 0.0], [1.0, -0.01], [1.0, 0.01]]])
    prediction = Voters.fit(X, np.repeat([0, 1], [50, 3]))
    assert len(prediction.rows) == 4
    assert prediction.predict([[1.0, 0.05]])[0].tolist() == [1]


def test_a_fitted_document_amid_another_topic_is_told_with_little_confidence() -> None:
    X = np.vstack([np.random.default_rng(0).normal((5, 0), 0.1, (30, 2)), [[5.0, 0.01]]])
    prediction = Voters.fit(X, np.repeat([0, 1], [30, 1]))
    topics, shares = prediction.predict(X[-1:], np.array([1]))
    assert topics.tolist() == [1] and shares[0] <= 1 / 3 + 0.01
    gone, none = prediction.predict(X[-1:], np.array([7]))
    assert (gone.tolist(), none.tolist()) == ([7], [0.0])


def test_left_out_one_by_one_random_topics_are_predicted_by_chance_and_real_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    topics = np.arange(600) % 6
    noise = Voters.fit(rng.normal(size=(600, 8)), topics).leave_one_out()
    clear = Voters.fit(np.eye(8)[topics] + rng.normal(0, 0.1, (600, 8)), topics).leave_one_out()
    assert prediction_agreement(*noise).value == pytest.approx(1 / 6, abs=0.06)
    assert prediction_agreement(*clear).value == 1.0


def test_the_nearest_are_those_of_largest_cosine_and_nobody_is_their_own_neighbour() -> None:
    X = np.random.default_rng(0).normal(size=(1500, 6))
    voters = Voters.fit(X, np.zeros(1500, dtype=np.int64))
    unit = voters.vectors.astype(np.float32) / np.linalg.norm(voters.vectors.astype(np.float32), axis=1)[:, None]
    cosines = unit @ unit.T
    places, nearest = voters.nearest(X)
    assert (np.sort(places, axis=1)[:, :] == np.sort(np.argsort(-cosines, axis=1)[:, :5], axis=1)).mean() > 0.99
    assert nearest.max(axis=1) == pytest.approx(1.0, abs=1e-3)
    np.fill_diagonal(cosines, -1)
    places, nearest = voters.nearest(voters.vectors, own=True)
    assert not (places == np.arange(1500)[:, None]).any()
    assert nearest.max(axis=1) == pytest.approx(cosines.max(axis=1), abs=1e-3)


@pytest.mark.parametrize("columns", [6, 5119, 5120, 6001])
def test_the_largest_of_a_row_are_found_by_groups_as_by_sorting(columns: int) -> None:
    values = np.random.default_rng(columns).standard_normal((20, columns)).astype(np.float32)
    values[0, -1], values[1, 0] = 9, 9
    np.testing.assert_array_equal(np.sort(largest(values, 5)), np.sort(np.argsort(-values, axis=1)[:, :5]))


def test_voters_that_are_no_numbers_are_told_and_not_left_out_of_the_vote(tmp_path: Path) -> None:
    voters = Voters.fit(np.eye(8), np.arange(8) % 2)
    voters.vectors[3, 0] = np.nan
    voters.save(tmp_path)
    with pytest.raises(InputError, match="is damaged: a vector is not finite"):
        Voters.load(tmp_path)
