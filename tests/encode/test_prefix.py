"""Tokens that documents begin with are read once, and no vector is another one for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoders import WORDS, documents, encoder_of

from moee_topics.encode import prefix
from moee_topics.encode.encoder import MoEEncoder
from moee_topics.encode.pooling import POOLINGS
from moee_topics.encode.views import View

INSTRUCTION = "In one word, describe the tone of the following sentence: the court heard the case - {text} :"
ECHO = "Space probes orbit distant planets and send pictures: {text}, and again: {text}"
TEXTS = [*documents(9), "", ": again"]


def blocks(encoder: MoEEncoder, texts: list[str]) -> dict[tuple[View, str], Any]:
    parts = encoder.encode_entries(texts, encoder.spec.reading.entries)
    names = ("hidden_states", "router_logits", "routing_weights")
    return {(entry, name): getattr(part, name) for entry, part in parts.items() for name in names}


@pytest.mark.parametrize("prompt", [INSTRUCTION, ECHO])
def test_no_view_is_another_one_where_a_prefix_is_read_once(tiny_olmoe: Path, prompt: str) -> None:
    views = {"layers": ["all", 0], "pooling": [*POOLINGS], "routing": [*POOLINGS, "frequency"]}
    encoder = encoder_of(tiny_olmoe, prompt=prompt, **views)
    assert len(encoder.beginnings[""]) >= prefix.FEWEST
    kept, alone = blocks(encoder, TEXTS), blocks(encoder, TEXTS[3:4])
    encoder.beginnings = {}
    for place, expected in blocks(encoder, TEXTS).items():
        scale = max(1.0, np.abs(expected).max(initial=0.0))
        np.testing.assert_allclose(kept[place], expected, rtol=0, atol=2e-6 * scale)
        np.testing.assert_allclose(alone[place], expected[3:4], rtol=0, atol=2e-6 * scale)


def test_of_a_prefix_only_the_rest_goes_through_the_model(tiny_olmoe: Path) -> None:
    encoder = encoder_of(tiny_olmoe, prompt=INSTRUCTION, layers=1, routing="none")
    seen: list[int] = []
    encoder.model.get_input_embeddings().register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].numel()))
    for _ in range(2):
        encoder.encode(WORDS[0])
    own = encoder.report.tokens // 2 - len(encoder.beginnings[""])
    rest = encoder.row_counts.filled(own)
    assert seen == [64, rest, rest], "the prefix once, and the document twice, each filled up"
    assert encoder.report.tokens > 2 * len(encoder.beginnings[""]), "a document still has all its tokens"


def test_each_prompt_has_its_own_prefix_and_one_that_is_short_has_none(tiny_olmoe: Path) -> None:
    encoder = encoder_of(tiny_olmoe, prompts=[INSTRUCTION, ECHO, "prompteol"])
    assert set(encoder.beginnings) == {INSTRUCTION, ECHO}
    # Re-routed, the first tokens see the last one of each document, and are none that documents share.
    assert encoder_of(tiny_olmoe, prompt=INSTRUCTION, reroute=1).beginnings == {}
    both = encoder.encode(TEXTS[:3]).hidden_states
    alone = [encoder.with_prompt(prompt).encode(TEXTS[:3]).hidden_states for prompt in (INSTRUCTION, ECHO, "prompteol")]
    np.testing.assert_allclose(both, np.mean(alone, axis=0), atol=1e-6)


def test_a_model_that_would_give_other_vectors_reads_all_tokens_and_that_is_said(
    tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = prefix.Prefix.read

    def forgetful(*given: Any, **more: Any) -> prefix.Prefix:
        found = real(*given, **more)
        return prefix.Prefix(found.size, [(key * 0, value) for key, value in found.attention], found.last)

    monkeypatch.setattr(prefix.Prefix, "read", forgetful)
    encoder = encoder_of(tiny_olmoe, prompt=INSTRUCTION)
    assert encoder.beginnings == {} and encoder.packed
    assert "go through folder with every document" in caplog.text
