"""Decisions on a fit whose topics are the themes of a bag of words, known by eye."""

from __future__ import annotations

import numpy as np
import pytest
from bag_of_words import THEMES
from fitted_topics import DOCUMENTS, LABELS, assert_consistent, fitted, fresh, vectors

from moee_topics.topics import Decision, Replay, TopicModel
from moee_topics.topics.replay import clustered, first_words, likeness

TOPIC_OF = {
    theme: int(np.bincount(fitted().result.topics[[label == theme for label in LABELS]] + 1).argmax()) - 1
    for theme in THEMES
}
FIRST, SECOND, THIRD, FOURTH = TOPIC_OF.values()
IDS = [str(row) for row in range(len(DOCUMENTS))]


def words_of(topic: int) -> tuple[str, ...]:
    return first_words(fitted().result.topic(topic))


def rows_of(model: TopicModel, topic: int) -> set[int]:
    return set(np.flatnonzero(model.result.topics == topic).tolist())


def states(replay: Replay, *decisions: Decision) -> list[tuple[str, str]]:
    return [(outcome.state, outcome.reason) for outcome in replay.apply(decisions)]


def test_a_name_is_the_name_everywhere() -> None:
    model = fresh()
    assert states(Replay(model, 9), Decision("name", (SECOND,), text="<i>Second</i>")) == [("applied", "")]
    assert model.result.topic(SECOND).name == "<i>Second</i>" and np.array_equal(
        model.result.topics, fitted().result.topics
    )
    info = model.model.get_topic_info().set_index("Topic")
    assert info.loc[SECOND, "CustomName"] == "<i>Second</i>"
    assert {one.name for one in model.result.topic_info} - {"<i>Second</i>"} <= {
        one.name for one in fitted().result.topic_info
    }


def test_merged_dropped_and_pinned_documents_are_where_they_were_put() -> None:
    model = fresh()
    outcomes = Replay(model, 9).apply(
        [
            Decision("merge", (FIRST, SECOND)),
            Decision("drop", (THIRD,)),
            Decision("pin", (FOURTH,), documents=(IDS[0],)),
            Decision("name", (FIRST,), text="Both"),
        ]
    )
    assert [outcome.state for outcome in outcomes] == ["applied"] * 4
    old = fitted()
    assert rows_of(model, FIRST) == (rows_of(old, FIRST) | rows_of(old, SECOND)) - {0}
    assert not rows_of(model, SECOND) and rows_of(old, THIRD) - {0} <= rows_of(model, -1)
    assert 0 in rows_of(model, FOURTH) and model.result.probabilities[0] == 1
    assert model.result.topic(FIRST).name == "Both" and model.result.topic(FOURTH).name == old.result.topic(FOURTH).name
    assert outcomes[0].decision.words == (words_of(FIRST), words_of(SECOND))
    assert_consistent(model)


def test_a_split_gives_the_parts_back_that_a_merge_joined() -> None:
    model, old = fresh(), fitted()
    merged, split = Decision("merge", (FIRST, SECOND)), Decision("split", (FIRST,))
    outcome = Replay(model, 9).apply([merged, split])[1]
    assert outcome.decision.into == (9, 10) and not rows_of(model, FIRST)
    parts = [rows_of(model, 9), rows_of(model, 10)]
    for topic in (FIRST, SECOND):
        assert max(len(part & rows_of(old, topic)) for part in parts) >= 0.9 * len(rows_of(old, topic))
    assert len(parts[0]) >= len(parts[1]) and set(model.result.topic(9).name) and model.X is not None
    assert_consistent(model)


def test_in_another_fit_a_topic_is_found_by_its_words() -> None:
    model = fresh()
    wrong = [
        Decision("name", (FIRST,), text="Second", words=(words_of(SECOND),)),
        Decision("drop", (77,), words=(words_of(THIRD),)),
    ]
    outcomes = Replay(model, 9).apply(wrong)
    assert model.result.topic(SECOND).name == "Second" and not rows_of(model, THIRD)
    assert [outcome.decision.topics for outcome in outcomes] == [(SECOND,), (THIRD,)]


def test_an_id_holds_where_topics_descend_from_those_of_the_decision() -> None:
    model, named = fresh(), Decision("name", (FIRST,), text="Kept", words=(("other", "words", "then"),))
    before = dict(zip(IDS, model.result.topics.tolist(), strict=True))
    assert states(Replay(model, 9, known=[named], before=before), named) == [("applied", "")]
    assert model.result.topic(FIRST).name == "Kept"
    (state, reason), *_ = states(Replay(fresh(), 9), named)
    assert state == "conflict" and reason.startswith(f"topic {FIRST} is now {', '.join(words_of(FIRST)[:3])}; ")
    assert reason.endswith("the decision is on other, words, then, and no topic has these words")


def test_what_a_refit_brings_back_is_merged_and_dropped_again() -> None:
    """Known decisions look among the topics that were born, and nowhere else."""
    merged = Decision("merge", (FIRST, 50), words=(words_of(FIRST), words_of(SECOND)))
    dropped = Decision("drop", (51,), words=(words_of(THIRD),))
    was = {SECOND: FIRST, THIRD: -1}
    before = {name: was.get(topic, topic) for name, topic in zip(IDS, fitted().result.topics.tolist(), strict=True)}
    model = fresh()
    outcomes = Replay(model, 60, known=[merged, dropped], before=before).apply([merged, dropped])
    assert [outcome.state for outcome in outcomes] == ["applied", "applied"]
    assert [outcome.decision for outcome in outcomes] == [merged, dropped], "found once more the next time"
    assert not rows_of(model, SECOND) and not rows_of(model, THIRD)
    model = fresh()
    before = dict(zip(IDS, model.result.topics.tolist(), strict=True))
    told = states(Replay(model, 60, known=[merged, dropped], before=before), merged, dropped)
    assert told == [("settled", "they are one topic"), ("settled", "it has not come back")]
    assert np.array_equal(model.result.topics, fitted().result.topics)


def test_parts_that_a_refit_joined_are_parted_as_they_were() -> None:
    split = Decision("split", (70,), into=(FIRST, 71), words=(words_of(FIRST),))
    model, rows = fresh(), sorted(rows_of(fitted(), FIRST))
    before = dict(zip(IDS, model.result.topics.tolist(), strict=True)) | {IDS[row]: 71 for row in rows[::2]}
    del before[IDS[rows[-1]]]
    assert states(Replay(model, 80, known=[split], before=before), split) == [("applied", "")]
    assert rows_of(model, 71) - {rows[-1]} == set(rows[::2]) - {rows[-1]}
    assert states(Replay(model, 80, known=[split], before=before), split) == [("settled", "its parts are there")]


def test_conflicts_are_told_and_take_no_other_decision_with_them() -> None:
    model = fresh()
    told = states(
        Replay(model, 9),
        Decision("name", (77,), text="Nobody"),
        Decision("merge", (FIRST, 78)),
        Decision("split", (FIRST,), parts=50),
        Decision("pin", (SECOND,), documents=("gone", IDS[3])),
        Decision("merge", (FIRST, SECOND)),
        Decision("merge", (SECOND, FIRST)),
        Decision("name", (SECOND,), text="One of two"),
    )
    assert [state for state, _ in told] == ["conflict"] * 4 + ["applied", "settled", "applied"]
    assert told[0][1] == "topic 77 is not there" and "too few for 50 parts" in told[2][1]
    assert told[3][1] == "1 of its documents is gone, such as 'gone'; the others are pinned"
    assert told[5][1] == "they are one topic" and model.result.topics[3] == FIRST
    all_gone = states(Replay(fresh(), 9), Decision("pin", (SECOND,), documents=("gone", "lost")))
    assert all_gone == [("conflict", "2 of its documents are gone, such as 'gone'; none is left")]
    assert model.result.topic(FIRST).name == "One of two"


def test_copies_of_one_text_are_not_split() -> None:
    model = fresh()
    model.X = vectors().copy()
    model.X[sorted(rows_of(model, FIRST))] = model.X[0]
    ((state, reason),) = states(Replay(model, 9), Decision("split", (FIRST,)))
    assert state == "conflict" and f"of topic {FIRST} have 1 different vectors in all" in reason
    assert np.array_equal(model.result.topics, fitted().result.topics)


def test_the_last_topic_is_not_dropped() -> None:
    model = fresh()
    told = states(Replay(model, 9), *(Decision("drop", (topic,)) for topic in TOPIC_OF.values()))
    assert [state for state, _ in told] == ["applied"] * 3 + ["conflict"] and "the only one" in told[-1][1]


def test_a_name_on_a_topic_that_was_merged_away_is_no_conflict() -> None:
    named, merged = Decision("name", (50,), text="Gone"), Decision("merge", (FIRST, 50))
    before = dict(zip(IDS, fitted().result.topics.tolist(), strict=True))
    told = states(Replay(fresh(), 9, known=[named, merged], before=before), named, merged)
    assert told[0] == ("settled", "another decision took its topic away")


def test_a_name_that_was_taken_back_gives_way_to_the_words() -> None:
    model, named = fresh(), Decision("name", (FIRST,), text="For a while")
    Replay(model, 9).apply([named])
    Replay(model, 9, known=[named], before=dict(zip(IDS, model.result.topics.tolist(), strict=True))).apply([])
    assert model.result.topic(FIRST).name == fitted().result.topic(FIRST).name
    assert model.model.custom_labels_ is None


def test_vectors_are_asked_for_only_where_a_document_moves() -> None:
    model = fresh(with_vectors=False)
    never = Replay(model, 9, vectors=lambda: pytest.fail("asked for"))
    never.apply(
        [Decision("name", (FIRST,), text="A"), Decision("note", (FIRST,), text="B"), Decision("seed", seeds=("c",))]
    )
    Replay(model, 9, vectors=vectors).apply([Decision("drop", (FIRST,))])
    assert model.X is not None


def test_lists_of_words_are_alike_by_what_they_share() -> None:
    assert likeness(["a", "b", "c", "d"], ["a", "b", "x", "y"]) == pytest.approx(0.5)
    assert likeness(["a"], ["b"]) == 0 and likeness([], ["b"]) == 0


def test_parts_are_those_of_two_clouds() -> None:
    X = np.concatenate([np.eye(6)[:3] + 9 * np.eye(6)[5], np.eye(6)[:3] - 9 * np.eye(6)[5]])
    labels = clustered(X, 2, seed=1)
    assert len(set(labels[:3])) == 1 and set(labels[:3]).isdisjoint(labels[3:])
