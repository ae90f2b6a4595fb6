"""An encoder that is loaded when it is first needed: what is said of it before is what it turns out to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moee_topics.embed import Embedder
from moee_topics.encode import EncoderSettings, EncoderSource, MoEEncoder
from moee_topics.encode.prompts import TokenCounts
from moee_topics.encode.quantization import integer_products

TEXTS = ["the court heard a case", "goalie and puck " * 40, ""]


@pytest.mark.parametrize("options", [{}, {"quantize": "int8"}, {"pooling": "mean", "long_documents": "chunk"}])
def test_what_is_expected_before_the_weights_are_loaded_is_what_they_turn_out_to_be(
    tiny_olmoe: Path, options: dict[str, str]
) -> None:
    source = EncoderSource(EncoderSettings.checked(model=str(tiny_olmoe), max_tokens=64, **options))
    expected = source.expected
    assert not source.is_loaded and source.counts == TokenCounts()
    assert expected.items() <= source.key().items() and source.is_loaded
    stored = source().encode(TEXTS).rounded()
    assert source.bytes_per_document * len(TEXTS) == stored.stored_bytes
    assert source.counts == source.count(TEXTS)


def test_bytes_are_named_by_view_and_are_those_that_are_stored(tiny_olmoe: Path, tmp_path: Path) -> None:
    views = {"layers": [1, "last"], "pooling": ["mean"], "routing": ["mean", "last_token", "frequency"]}
    source = EncoderSource(EncoderSettings.checked(model=str(tiny_olmoe), max_tokens=64, **views))  # type: ignore[arg-type]
    scores = 2 * 2 * 8
    assert source.bytes_per_view == {
        "hidden_states@1/mean": 2 * 64,
        "hidden_states@last/mean": 2 * 64,
        "router@all/mean": 2 * scores,  # logits, and the mean of their softmax
        "hidden_states@last/last_token": 2 * 64,  # where the scores of the last token are kept
        "router@all/last_token": scores,
        "router@all/frequency": scores,
    }
    parts = source().encode_entries(TEXTS, source.reading.entries)
    assert source.bytes_per_document * len(TEXTS) == sum(part.stored_bytes for part in parts.values())


def test_bytes_of_values_are_those_of_their_heads(tiny_olmoe: Path) -> None:
    options = {"states": "values", "layers": ["1-2", 2], "pooling": "mean", "routing": "none"}
    source = EncoderSource(EncoderSettings.checked(model=str(tiny_olmoe), max_tokens=64, **options))  # type: ignore[arg-type]
    assert source.bytes_per_view == {"values@1-2/mean": 2 * 32, "values@2/mean": 2 * 32}  # two heads of 16
    assert source().encode(TEXTS).hidden_states.shape == (3, 32)


def test_a_store_that_holds_one_of_several_views_is_known(tiny_olmoe: Path, tmp_path: Path) -> None:
    plain = EncoderSource(EncoderSettings(str(tiny_olmoe), max_tokens=64))
    Embedder(plain, tmp_path).ensure_texts(TEXTS)
    several = EncoderSource(EncoderSettings(str(tiny_olmoe), max_tokens=64, layers=(1, "last")))
    assert several.stored_key(tmp_path) == several.key()
    assert EncoderSource(EncoderSettings(str(tiny_olmoe), max_tokens=64, pooling="mean")).stored_key(tmp_path) is None


PROMPTS = ("tone", "Topic of {text}:")


def test_several_prompts_are_counted_and_kept_each_as_if_it_were_alone(tiny_olmoe: Path, tmp_path: Path) -> None:
    def source(**options: Any) -> EncoderSource:
        return EncoderSource(EncoderSettings.checked(tiny_olmoe, max_tokens=96, dtype="float32", **options))

    alone, both = [source(prompt=prompt) for prompt in PROMPTS], source(prompts=PROMPTS)
    counts = [each.count(TEXTS) for each in alone]
    assert both.count(TEXTS).tokens == sum(each.tokens for each in counts)
    assert both.count(TEXTS).documents_cut == max(each.documents_cut for each in counts) == 1
    assert both.bytes_per_document == sum(each.bytes_per_document for each in alone)
    assert both.bytes_of(both.reading.hidden_states) == 2 * 2 * 64
    assert (both.states_size, source(prompts=PROMPTS, combine_prompts="concat").states_size) == (64, 128)
    Embedder(alone[0], tmp_path).ensure_texts(TEXTS)
    assert both.stored_key(tmp_path) == both.key() and both.expected.items() <= both.key().items()
    embedder = Embedder(both, tmp_path, key=both.stored_key(tmp_path))
    found, tokens = embedder.embed(TEXTS), both.counts.tokens
    assert tokens == counts[1].tokens, "the first prompt was stored"
    parts = [Embedder(each, tmp_path).embed(TEXTS) for each in alone]
    assert not alone[1].is_loaded or alone[1].counts.tokens == 0, "the second now is too"
    np.testing.assert_array_equal(found.hidden_states, np.mean([p.hidden_states.astype(np.float32) for p in parts], 0))
    fresh = Embedder(both, rounds=True).embed(TEXTS)
    np.testing.assert_array_equal(fresh.hidden_states, found.hidden_states)
    assert both.counts == both.count(TEXTS) + TokenCounts(counts[1].documents_cut, tokens, counts[1].tokens_lost)


def test_the_weights_are_loaded_once(tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = EncoderSource(EncoderSettings(str(tiny_olmoe)))
    encoder = source()
    monkeypatch.setattr(MoEEncoder, "from_settings", None)
    assert source() is encoder


def test_a_store_that_this_encoder_filled_is_known_by_its_key(tiny_olmoe: Path, tmp_path: Path) -> None:
    source = EncoderSource(EncoderSettings(str(tiny_olmoe), max_tokens=64))
    assert source.stored_key(tmp_path) is None
    Embedder(source, tmp_path).ensure_texts(TEXTS)
    assert EncoderSource(source.settings).stored_key(tmp_path) == source.key()
    assert EncoderSource(EncoderSettings(str(tiny_olmoe), max_tokens=65)).stored_key(tmp_path) is None


def test_a_run_notes_family_and_size_of_the_model(tiny_olmoe: Path) -> None:
    facts = EncoderSource(EncoderSettings(str(tiny_olmoe))).facts()
    assert (facts["family"], facts["experts_per_token"]) == ("olmoe", 2)
    assert 0 < facts["active_parameters"] < facts["parameters"]


@pytest.mark.parametrize("options", [{}, {"quantize": "int8"}])
def test_a_control_has_the_shape_of_a_model_weights_at_random_and_a_key_of_its_own(
    tiny_olmoe: Path, tmp_path: Path, options: dict[str, str]
) -> None:
    settings = EncoderSettings.checked(model=str(tiny_olmoe), max_tokens=64, dtype="float32", **options)  # type: ignore[arg-type]
    trained, control = EncoderSource(settings), EncoderSource(settings, trained=False)
    assert control.expected.items() <= control.key().items() and control.expected["quantize"] == "none"
    found, other = control().encode(TEXTS), trained().encode(TEXTS)
    assert found.hidden_states.shape == other.hidden_states.shape
    assert not np.allclose(found.hidden_states, other.hidden_states, atol=0.1)
    Embedder(control, tmp_path).ensure_texts(TEXTS)
    assert control.stored_key(tmp_path) == control.key() and trained.stored_key(tmp_path) is None
    control.release()
    assert not control.is_loaded
    np.testing.assert_array_equal(control().encode(TEXTS).hidden_states, found.hidden_states)


def test_what_a_store_was_begun_in_is_gone_on_with(
    tiny_olmoe: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def source(**options: Any) -> EncoderSource:
        return EncoderSource(EncoderSettings.checked(tiny_olmoe, max_tokens=64, device="cpu", **options))

    own = source().expected["dtype"]
    other = "float32" if own == "bfloat16" else "bfloat16"
    for store, options in ((tmp_path / "other", {"dtype": other}), (tmp_path / "nf4", {"quantize": "nf4"})):
        Embedder(source(**options), store).ensure_texts(TEXTS)  # a store of another machine
    kept = source()
    assert kept.stored_key(tmp_path / "other") == source(dtype=other).key() and not caplog.text
    assert kept().spec.dtype == other
    assert f"in none and {other}, and what it lacks is encoded alike; this machine would take none and {own}" in (
        caplog.text
    )
    named = source(quantize="none")
    assert named.stored_key(tmp_path / "other") is None and named.expected["dtype"] == own
    assert source().stored_key(tmp_path / "nf4") is None, "four bits are other vectors"
    Embedder(source(quantize="none"), tmp_path / "other").ensure_texts(TEXTS)
    assert source().stored_key(tmp_path / "other") == named.key(), "of two this machine's own"


def test_a_store_of_integers_is_told_apart_and_gone_on_with(tiny_olmoe: Path, tmp_path: Path) -> None:
    kind = next((kind for kind in integer_products.KINDS if integer_products.is_exact(kind)), None)
    if not kind:
        pytest.skip("this processor has no exact kernel of 8-bit integers")

    def source(quantize: str) -> EncoderSource:
        return EncoderSource(EncoderSettings.checked(tiny_olmoe, max_tokens=64, device="cpu", quantize=quantize))

    for named in ("none", kind):
        Embedder(source(named), tmp_path / named).ensure_texts(TEXTS)
    assert source("none").stored_key(tmp_path / kind) is None and source(kind).stored_key(tmp_path / "none") is None
    assert source("auto").stored_key(tmp_path / kind) == source(kind).key()
    assert source(kind).key()["quantize"] == kind
    Embedder(source("none"), tmp_path / kind).ensure_texts(TEXTS)
    both = source("auto")
    assert both.stored_key(tmp_path / kind) == source("none").key(), "of two this machine's own"


def test_another_prompt_keeps_to_the_arithmetic_of_its_store(tiny_olmoe: Path, tmp_path: Path) -> None:
    first = EncoderSettings.checked(tiny_olmoe, max_tokens=64, device="cpu", dtype="float32", quantize="none")
    Embedder(EncoderSource(first), tmp_path).ensure_texts(TEXTS)
    source = EncoderSource(EncoderSettings.checked(tiny_olmoe, max_tokens=64, device="cpu", prompt="tone"))
    assert source.stored_key(tmp_path) is None
    assert (source.settings.quantize, source.settings.dtype) == ("none", "float32")
