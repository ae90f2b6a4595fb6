"""Views: their names, which layers they mean, and the keys that they are stored under."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from moee_topics.embeddings import Embeddings
from moee_topics.encode.views import (
    Reading,
    View,
    entry_keys,
    entry_of,
    key_of_blocks,
    key_of_reading,
    reading_of,
    usual_reading,
)
from moee_topics.errors import InputError

KEY = {"model": "tiny", "pooling": "mean", "layers": 2, "experts": 3}


def hidden(layer: str, pooling: str = "mean") -> View:
    return View("hidden_states", layer, pooling)


def test_a_name_is_read_as_it_is_written() -> None:
    for name in (
        "hidden_states@last/mean",
        "values@3-8/last_token",
        "attention_outputs@2/mean",
        "router@all/frequency",
    ):
        assert str(View.named(name)) == name


@pytest.mark.parametrize(
    "name", ["hidden_states", "hidden_states@x/mean", "router@3/mean", "router@all/none", "hidden_states@3/frequency"]
)
def test_what_is_no_view_is_refused_with_what_one_is(name: str) -> None:
    with pytest.raises(InputError, match=r"is not a view.*hidden_states@LAYER/POOLING"):
        View.named(name)


@pytest.mark.parametrize(
    ("asked", "layers"),
    [
        (["last"], ["last"]),
        ([1, "2"], ["1", "2"]),
        (["2-4"], ["2", "3", "last"]),
        (["all"], ["1", "2", "3", "last"]),
        ([0.5, 1.0, 0.0], ["2", "last", "1"]),
        ([0, 4, "last", "4-4"], ["0", "last"]),
    ],
)
def test_layers_are_counted_from_one_and_the_last_has_one_name(asked: list[object], layers: list[str]) -> None:
    reading = reading_of(asked, ["mean"], ["none"], depth=4, model="tiny")  # type: ignore[arg-type]
    assert [view.layer for view in reading.views] == layers


def test_a_layer_that_a_model_does_not_have_is_named_with_those_it_has() -> None:
    with pytest.raises(InputError, match=r"asks for layer 6, and 'tiny' has 4: 1 to 4, 0 for"):
        reading_of(["3-6"], ["mean"], [], depth=4, model="tiny")


def test_the_usual_views_have_the_key_of_0_1_0() -> None:
    reading = reading_of(["last"], ["mean"], [], depth=4, model="tiny")
    assert reading == usual_reading("mean") and key_of_reading(reading) == {"pooling": "mean"}
    assert entry_keys(KEY) == {hidden("last"): KEY}


def test_each_view_has_a_key_and_the_last_states_keep_theirs_whatever_is_read_beside_them() -> None:
    reading = reading_of([2, "last"], ["mean", "last_token"], ["mean", "frequency"], depth=4, model="tiny")
    keys = entry_keys({**KEY, **key_of_reading(reading)})
    assert keys[hidden("last")] == KEY and keys[hidden("last", "last_token")] == {**KEY, "pooling": "last_token"}
    assert keys[hidden("2")] == {**KEY, "view": "hidden_states@2/mean"}
    assert keys[View("router", "all", "frequency")]["view"] == "router@all/frequency"
    assert [entry_of(key) for key in keys.values()] == list(keys) and len(keys) == 5


def test_of_values_and_attention_an_entry_of_the_list_is_one_view_and_a_range_its_mean() -> None:
    reading = reading_of(["2-4", 0.5, "all"], ["mean"], ["none"], depth=4, model="tiny", states="values")
    assert list(map(str, reading.views)) == ["values@2-4/mean", "values@2/mean", "values@1-4/mean"]
    assert reading.hidden_states.block == "values" and reading.entries == reading.views
    with pytest.raises(InputError, match="no values and no attention"):
        reading_of([0], ["mean"], [], depth=4, model="tiny", states="attention_outputs")


def test_a_document_is_the_first_view_of_each_block() -> None:
    reading = reading_of([2, "last"], ["mean"], ["frequency", "last_token"], depth=4, model="tiny")
    assert (reading.hidden_states, str(reading.routing)) == (hidden("2"), "router@all/frequency")
    assert list(map(str, reading.read_entries)) == ["hidden_states@2/mean", "router@all/frequency"]
    ones, shares = np.ones((3, 2), np.float32), np.full((3, 1, 4), 0.5, np.float32)
    nothing = np.zeros((3, 0, 0), np.float32)
    parts = {
        reading.read_entries[0]: Embeddings(ones, nothing),
        reading.read_entries[1]: Embeddings(ones[:, :0], shares),
    }
    joined = reading.joined(parts)
    assert (joined.hidden_states == 1).all() and (joined.routing_weights == 0.5).all()


def test_what_is_made_of_documents_depends_on_their_two_views_and_no_others() -> None:
    last, router = hidden("last"), View("router", "all", "mean")
    views = [str(view) for view in (last, router, hidden("2"), View("router", "all", "frequency"))]
    assert key_of_blocks({**KEY, "views": views}) == key_of_blocks(KEY) == KEY
    other = key_of_blocks({**KEY, "views": [views[2], *views]})
    assert other == {**KEY, "views": [views[2], views[1]]} and key_of_blocks(other) == other
    assert key_of_blocks({**KEY, "views": views[:1]})["views"] == views[:1]


def test_without_routing_a_document_has_hidden_states_alone() -> None:
    reading = Reading((hidden("last"),))
    whole = Embeddings(np.ones((3, 2), np.float32), np.ones((3, 1, 4), np.float32))
    assert reading.joined({hidden("last"): whole}).router_logits.shape == (3, 0, 0)


def test_each_prompt_has_the_entries_that_it_has_alone_and_is_in_their_names() -> None:
    reading = replace(usual_reading("mean"), prompts=("Topic of {text}:", "{text}"))
    key = {**KEY, **key_of_reading(reading)}
    assert Reading.of_key(key) == reading and key["prompts"] == ["Topic of {text}:", "{text}"]
    keys = entry_keys(key)
    assert list(map(str, keys)) == ["hidden_states@last/mean 'Topic of {text}:'", "hidden_states@last/mean none"]
    for prompt, (entry, of_entry) in zip(reading.prompts, keys.items(), strict=True):
        assert of_entry == {**KEY, "prompt": prompt} and entry_of(of_entry, reading) == entry


@pytest.mark.parametrize("combine", ["mean", "concat"])
def test_the_blocks_of_several_prompts_become_one(combine: Literal["mean", "concat"]) -> None:
    reading = replace(usual_reading("mean"), prompts=("a {text}", "b {text}"), combine=combine)
    parts = {
        entry: Embeddings(np.full((3, 2), number, np.float16), np.full((3, 1, 2), number, np.float16), shares)
        for number, (entry, shares) in enumerate(
            zip(reading.entries, (np.full((3, 1, 2), [0.5, 0.5]), np.full((3, 1, 2), [0.1, 0.9])), strict=True)
        )
    }
    joined = reading.joined(parts)
    expected = [[0.0, 0.0, 1.0, 1.0]] * 3 if combine == "concat" else [[0.5, 0.5]] * 3
    np.testing.assert_array_equal(joined.hidden_states, np.array(expected, np.float32))
    np.testing.assert_allclose(joined.routing_weights[0, 0], [0.3, 0.7], rtol=1e-6)
    assert joined.hidden_states.dtype == joined.router_logits.dtype == np.float32
