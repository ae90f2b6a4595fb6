"""What the steps of a distillation read: stretches of texts and pairs that do not overlap, the same after a restart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from carved_models import TRAINING
from tiny_models import tiny_tokenizer

from moee_topics.encode.mixtures.passages import Passages, Texts, tokenized
from moee_topics.errors import InputError


def numbered(count: int = 60, size: int = 40) -> Texts:
    """Texts whose tokens say which text and which place: 100 * text + place."""
    tokens = np.concatenate([100 * text + np.arange(size) for text in range(count)])
    return Texts(tokens, np.arange(size, size * count + 1, size), np.arange(count) // (count // 3))


def test_a_pair_is_of_one_text_and_does_not_overlap() -> None:
    passages = Passages(numbered(), replace(TRAINING, pairs=0.5))
    for step in range(20):
        ids = passages.pairs(step)
        one, other = np.split(ids, 2)
        length = ids.shape[1]
        assert length == (8, 4)[step % 2] and len(one) == 256 // (2 * length)
        assert (one // 100 == other // 100).all(), "of one text"
        assert (np.diff(ids, axis=1) == 1).all(), "a stretch of it"
        assert (np.abs(one[:, 0] - other[:, 0]) >= length).all(), "without overlap"


def test_most_steps_tell_a_passage_from_its_like() -> None:
    passages = Passages(numbered(120), replace(TRAINING, pairs=0.5))
    sources = [np.unique(passages.pairs(step) // 100 // 40) for step in range(40)]
    alone = [int(step[0]) for step in sources if len(step) == 1]
    assert 20 <= len(alone) < 40 and set(alone) == {0, 1, 2}


def test_sources_too_small_for_a_step_are_only_told_from_the_others() -> None:
    passages = Passages(numbered(60), TRAINING)
    assert all(len(np.unique(passages.pairs(step) // 100 // 20)) == 3 for step in range(10))


def test_the_passages_of_a_step_are_the_same_after_a_restart() -> None:
    whole, again = (Passages(numbered(), TRAINING) for _ in range(2))
    for step in range(6):
        expected = whole.pairs(step) if step >= 3 else whole.stretches(step)
        assert np.array_equal(expected, again.pairs(step) if step >= 3 else again.stretches(step))


def test_half_of_the_stretches_begin_a_text() -> None:
    starts = Passages(numbered(), TRAINING).stretches(0)[:, 0] % 100
    assert len(starts) == 16 and 3 <= (starts == 0).sum() <= 13


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": (100,)}, "texts have 100 tokens"),
        ({"pairs": 1.5}, "from 0 to 1, got 1.5"),
        ({"pairs": 0.5, "pair_lengths": (30,)}, "texts have 60 tokens"),
        ({"pairs": 1.0, "lengths": (100,)}, "texts have 100 tokens"),
        ({"lengths": (8,), "batch": 7}, "a step of 7 takes 0, and 1 at least"),
        ({"pairs": 1.0, "lengths": (8,), "pair_lengths": (8,), "batch": 16}, "a step of 16 takes 1, and 2 at least"),
    ],
)
def test_texts_that_cannot_fill_a_step_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        numbered().check(replace(TRAINING, **changes))


def test_texts_are_numbered_by_their_source_and_none_is_refused() -> None:
    texts = tokenized(tiny_tokenizer(), [["the farmer sleeps", ""], ["the goalie scores", "planets"]])
    assert texts.sources is not None and texts.sources.tolist() == [0, 1, 1]
    assert texts.ends[-1] == len(texts.tokens)
    with pytest.raises(InputError, match="no text to learn from"):
        tokenized(tiny_tokenizer(), [[], []])
