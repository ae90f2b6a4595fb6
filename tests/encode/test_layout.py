"""How documents lie in a forward pass: packed where a model keeps them apart, else padded."""

from __future__ import annotations

from pathlib import Path

import pytest
from encoders import alone, assert_close, documents, encoder_of
from tiny_models import save_checkpoint
from transformers import Qwen3NextConfig

from moee_topics.encode import MoEEncoder


def test_the_padded_fallback_agrees_with_packing(tiny_olmoe: Path) -> None:
    texts = documents()
    for pooling in ("last_token", "mean"):
        packed, padded = encoder_of(tiny_olmoe, pooling=pooling), encoder_of(tiny_olmoe, pooling=pooling)
        padded.model.set_attn_implementation("sdpa")
        padded.layout = "padded"
        assert_close(packed.encode(texts), padded.encode(texts), 1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rounding_is_no_reason_against_packing(dtype: str) -> None:
    # Thirty layers in bfloat16: a sixth of the states of a document are other ones where it has other row counts.
    assert encoder_of("pocket", dtype=dtype).layout == "packed"


def test_two_encoders_share_a_model_each_in_its_layout(tiny_olmoe: Path) -> None:
    first = encoder_of(tiny_olmoe, prompt="none")
    expected = first.encode(documents(6))
    second = MoEEncoder(first.model, first.tokenizer, first.spec)
    assert second.packed  # found by passes without packing, of a model that runs packed by now
    padded = MoEEncoder(first.model, first.tokenizer, first.spec)
    padded.layout = "padded"
    for each in (second, padded, first):
        assert_close(each.encode(documents(6)), expected, 1e-5)


def test_a_model_that_does_not_keep_packed_documents_apart_is_padded(tmp_path: Path) -> None:
    config = Qwen3NextConfig(
        vocab_size=384,
        hidden_size=64,
        intermediate_size=64,
        moe_intermediate_size=64,
        shared_expert_intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        num_experts=8,
        num_experts_per_tok=2,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        linear_key_head_dim=16,
        linear_value_head_dim=16,
        initializer_range=0.2,
    )
    encoder = encoder_of(save_checkpoint(config, tmp_path / "hybrid"))
    assert not encoder.packed
    texts = documents(8)
    # Recurrent layers add up what rounding leaves: 2e-4 of values up to 5 with AVX2, half of it with AVX-512.
    assert_close(encoder.encode(texts), alone(encoder, texts), 1e-3)
