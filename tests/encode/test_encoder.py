from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import save_checkpoint, tiny_olmoe_config, tiny_tokenizer
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3NextConfig

from moee_topics.embeddings import Embeddings, softmax
from moee_topics.encode.encoder import EncodingReport, MoEEncoder
from moee_topics.encode.layout import Layout
from moee_topics.encode.models import load_model
from moee_topics.encode.prompts import get_prompt
from moee_topics.encode.settings import POCKET, EncoderSettings
from moee_topics.errors import InputError, ModelError

T = TypeVar("T")
WORDS = ("the", "court", "heard", "a", "case", "while", "space", "probes", "orbit", "planets", "and", "goalie", "puck")


def documents(count: int = 24) -> list[str]:
    """Texts of 1 to some 60 words, all different."""
    generator = np.random.default_rng(0)
    sizes = np.clip(generator.lognormal(2.2, 1.0, count).astype(int), 1, 60)
    return [f"{i} " + " ".join(generator.choice(WORDS, size)) for i, size in enumerate(sizes)]


def encoder_of(folder: Path, **options: object) -> MoEEncoder:
    return MoEEncoder.from_pretrained(folder, **{"dtype": "float32", "max_tokens": 256, **options})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def encoder(tiny_olmoe: Path) -> MoEEncoder:
    return encoder_of(tiny_olmoe)


def assert_close(one: Embeddings, other: Embeddings, tolerance: float) -> None:
    np.testing.assert_allclose(one.hidden_states, other.hidden_states, rtol=0, atol=tolerance)
    np.testing.assert_allclose(one.router_logits, other.router_logits, rtol=0, atol=tolerance)
    np.testing.assert_allclose(one.routing_weights, other.routing_weights, rtol=0, atol=tolerance)


def assert_same_bits(one: Embeddings, other: Embeddings) -> None:
    assert_close(one, other, 0.0)


def alone(encoder: MoEEncoder, texts: list[str]) -> Embeddings:
    return Embeddings.concatenate([encoder.encode(text) for text in texts])


@pytest.mark.parametrize("fixture", ["tiny_olmoe", "tiny_qwen2_moe"])
def test_equals_the_causal_model_run_on_one_text_in_the_reference_way(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(fixture)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer, texts = tiny_tokenizer(), documents(5)
    found = encoder_of(folder).encode(texts)
    assert found.hidden_states.shape == (5, 64) and found.router_logits.shape == (5, 2, 8)
    for row, text in enumerate(texts):
        ids = tokenizer(f'This sentence : "{text}" means in one word:"', return_tensors="pt")["input_ids"]
        with torch.no_grad():
            plain = model(ids, output_hidden_states=True, output_router_logits=True)
        logits = torch.stack([layer[-1] for layer in plain.router_logits]).numpy()
        np.testing.assert_allclose(found.hidden_states[row], plain.hidden_states[-1][0, -1], atol=1e-5)
        np.testing.assert_allclose(found.router_logits[row], logits, atol=1e-5)
        np.testing.assert_allclose(found.routing_weights[row], softmax(logits), atol=1e-6)


@pytest.mark.parametrize("pooling", ["last_token", "mean"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.0)])
def test_a_vector_does_not_depend_on_neighbours_batch_size_or_order(
    tiny_olmoe: Path, pooling: str, dtype: str, tolerance: float
) -> None:
    encoder = encoder_of(tiny_olmoe, dtype=dtype, pooling=pooling)
    assert encoder.packed
    texts = documents()
    together = encoder.encode(texts)
    assert_close(together, alone(encoder, texts), tolerance)
    order = np.random.default_rng(1).permutation(len(texts))
    assert_close(together[order], encoder.encode([texts[i] for i in order]), tolerance)
    small = encoder_of(tiny_olmoe, dtype=dtype, pooling=pooling, tokens_per_batch=300)
    assert_close(together, small.encode(texts), tolerance)


def test_quantized_vectors_do_not_depend_on_neighbours_either(tiny_olmoe: Path) -> None:
    encoder = encoder_of(tiny_olmoe, quantize="nf4", dtype="bfloat16")
    assert encoder.spec.quantize == "nf4"
    assert_same_bits(encoder.encode(documents(8)), alone(encoder, documents(8)))


def test_the_shortest_documents_have_the_same_vector_alone_and_among_others(tiny_olmoe: Path) -> None:
    encoder = encoder_of(tiny_olmoe, dtype="bfloat16", prompt="none")
    texts = ["a", "b", "", "ab", *documents(6)]
    assert_same_bits(encoder.encode(texts), alone(encoder, texts))


def test_the_padded_fallback_agrees_with_packing(tiny_olmoe: Path) -> None:
    texts = documents()
    for pooling in ("last_token", "mean"):
        packed, padded = encoder_of(tiny_olmoe, pooling=pooling), encoder_of(tiny_olmoe, pooling=pooling)
        padded.model.set_attn_implementation("sdpa")
        padded.layout = "padded"
        assert_close(packed.encode(texts), padded.encode(texts), 1e-5)


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


def test_one_string_is_one_document_and_none_are_none(encoder: MoEEncoder) -> None:
    assert len(encoder.encode("a text")) == 1
    nothing = encoder.encode([])
    assert nothing.hidden_states.shape == (0, 64) and nothing.router_logits.shape == (0, 2, 8)


def test_identical_documents_are_encoded_once(tiny_olmoe: Path) -> None:
    encoder = encoder_of(tiny_olmoe)
    found = encoder.encode(["same", "other", "same", "same"])
    assert (encoder.report.documents, encoder.report.encoded) == (4, 2)
    assert np.array_equal(found.hidden_states[0], found.hidden_states[3])
    assert not np.allclose(found.hidden_states[0], found.hidden_states[1])


def test_a_stream_gives_the_same_vectors_in_order_and_reads_only_what_it_needs(encoder: MoEEncoder) -> None:
    read = []

    def endless() -> Iterator[str]:
        for i in range(10**9):
            read.append(i)
            yield f"document {i % 7}"

    stream = encoder.encode_stream(endless(), documents_per_step=10)
    parts = [next(stream), next(stream)]
    assert len(read) == 20 and [len(part) for part in parts] == [10, 10]
    assert_close(Embeddings.concatenate(parts), encoder.encode([f"document {i % 7}" for i in range(20)]), 1e-5)


def test_the_report_counts_documents_tokens_and_what_was_cut(tiny_olmoe: Path) -> None:
    encoder = encoder_of(tiny_olmoe, prompt="none", max_tokens=32)
    short, long = "a b c", "0123456789" * 10
    encoder.encode([short, long, long])
    tokens = len(tiny_tokenizer()(short)["input_ids"])
    assert encoder.report == EncodingReport(1, tokens + 32, len(tiny_tokenizer()(long)["input_ids"]) - 32, 3, 2)


def test_an_empty_document_has_a_vector(tiny_olmoe: Path) -> None:
    for prompt in ("none", "prompteol"):
        found = encoder_of(tiny_olmoe, prompt=prompt).encode(["", "x"])
        assert np.isfinite(found.hidden_states).all()
        assert not np.allclose(found.hidden_states[0], found.hidden_states[1])


def test_chunks_are_averaged_by_their_tokens(tiny_olmoe: Path) -> None:
    chunked = encoder_of(tiny_olmoe, prompt="none", max_tokens=32, long_documents="chunk")
    pieces = ["0123456789" * 3 + "01", "23456789"]
    found = chunked.encode(["".join(pieces)])
    parts = encoder_of(tiny_olmoe, prompt="none", max_tokens=32).encode(pieces)
    weight = np.array([len(tiny_tokenizer()(piece)["input_ids"]) for piece in pieces], dtype=np.float32)
    weight /= weight.sum()
    assert chunked.report.tokens_lost == 0 and chunked.report.encoded == 1
    np.testing.assert_allclose(found.hidden_states[0], weight @ parts.hidden_states, atol=1e-5)
    np.testing.assert_allclose(
        found.routing_weights[0], np.einsum("c,cle->le", weight, parts.routing_weights), atol=1e-5
    )


def test_a_short_document_has_the_same_vector_whatever_is_done_with_long_ones(
    tiny_olmoe: Path, encoder: MoEEncoder
) -> None:
    chunked = encoder_of(tiny_olmoe, long_documents="chunk")
    assert_close(chunked.encode(documents(4)), encoder.encode(documents(4)), 1e-5)
    long = chunked.encode(["many words " * 500, *documents(4)])
    assert_close(long[1:], encoder.encode(documents(4)), 1e-5)


def test_mean_routing_weights_are_the_mean_of_softmaxes_not_the_softmax_of_a_mean(tiny_olmoe: Path) -> None:
    found = encoder_of(tiny_olmoe, pooling="mean").encode(documents(4))
    assert found.mean_routing_weights is not None
    np.testing.assert_allclose(found.routing_weights.sum(-1), 1, atol=1e-5)
    assert not np.allclose(found.routing_weights, softmax(found.router_logits), atol=1e-3)


def test_text_that_is_no_valid_unicode_is_encoded(encoder: MoEEncoder) -> None:
    assert np.isfinite(encoder.encode(["broken \ud800 text"]).hidden_states).all()


def test_a_document_that_is_no_string_is_refused(encoder: MoEEncoder) -> None:
    with pytest.raises(InputError, match=r"Document 1 .* NoneType"):
        encoder.encode(["fine", None])  # type: ignore[list-item]
    with pytest.raises(InputError, match="a single string"):
        next(encoder.encode_stream("text"))


@pytest.mark.parametrize(
    ("option", "value"),
    [("quantize", "int3"), ("pooling", "max"), ("long_documents", "drop"), ("dtype", "int8"), ("prompt", "promteol")],
)
def test_an_option_that_does_not_exist_is_refused_by_name(tiny_olmoe: Path, option: str, value: str) -> None:
    with pytest.raises(InputError, match=value):
        encoder_of(tiny_olmoe, **{option: value})


def test_the_key_changes_with_all_that_vectors_depend_on_and_with_nothing_else(tiny_olmoe: Path) -> None:
    key = encoder_of(tiny_olmoe).spec.key()
    assert key == encoder_of(tiny_olmoe, tokens_per_batch=512).spec.key()
    changes = {
        "dtype": "bfloat16",
        "pooling": "mean",
        "prompt": "none",
        "max_tokens": 128,
        "long_documents": "chunk",
        "quantize": "int8",
    }
    for name, value in changes.items():
        assert encoder_of(tiny_olmoe, **{name: value}).spec.key()[name] != key[name]


def test_the_key_follows_the_content_of_a_folder_not_its_place(tiny_olmoe: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(tiny_olmoe, tmp_path / "moved"))
    key = encoder_of(tiny_olmoe).spec.key()
    assert encoder_of(moved).spec.key() == key
    shard = sorted(moved.glob("*.safetensors"))[0]
    tensors = load_file(shard)
    name = next(iter(tensors))
    tensors[name].view(-1)[0] += 1
    save_file(tensors, shard, metadata={"format": "pt"})
    assert encoder_of(moved).spec.key() != key


def test_a_model_without_routers_is_refused_but_gives_hidden_states_where_asked(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=384, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4
    )
    folder = save_checkpoint(config, tmp_path / "dense")
    with pytest.raises(ModelError, match="no routers"):
        encoder_of(folder)
    for pooling in ("last_token", "mean"):
        found = encoder_of(folder, require_routers=False, pooling=pooling).encode(["a", "b b b"])
        assert found.hidden_states.shape == (2, 64)
        assert found.router_logits.shape == (2, 0, 0)


def test_a_missing_model_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="folder in hub layout"):
        MoEEncoder.from_pretrained("nobody/no-such-model")
    with pytest.raises(ModelError, match="holds no model"):
        MoEEncoder.from_pretrained(tmp_path)


def test_weights_that_are_missing_from_a_checkpoint_are_an_error(tmp_path: Path) -> None:
    folder = save_checkpoint(tiny_olmoe_config(), tmp_path / "model", shard_size="5GB")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights.*norm\.weight"):
        encoder_of(folder)


def test_loading_leaves_no_weight_in_a_mapped_file(tiny_olmoe: Path) -> None:
    model, _ = load_model(EncoderSettings(str(tiny_olmoe), dtype="float32"))
    storages = {parameter.untyped_storage().nbytes() for parameter in model.parameters()}
    assert max(storages) == max(parameter.nbytes for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in model.parameters()) and not model.training


@pytest.mark.skipif(not (POCKET / "config.json").exists(), reason="the embedded model is not in this checkout")
def test_the_embedded_model_has_a_name_and_encodes() -> None:
    encoder = MoEEncoder.from_pretrained("pocket")
    found = encoder.encode(["Hockey players skate and score.", "The goalie saves the puck.", "Tax law and courts."])
    assert encoder.spec.model == "pocket" and encoder.packed
    assert found.router_logits.shape == (3, encoder.spec.layers, encoder.spec.experts)


def test_the_embedded_model_is_read_as_it_reads_best_and_others_as_in_the_paper(tiny_olmoe: Path) -> None:
    pocket, other = MoEEncoder.from_pretrained("pocket").spec, MoEEncoder.from_pretrained(tiny_olmoe).spec
    assert (pocket.prompt, pocket.pooling) == ("{text}", "mean")
    assert (other.prompt, other.pooling) == (get_prompt("prompteol").template, "last_token")


def from_four_threads(work: Callable[[int], T]) -> list[T]:
    """What a function gives for 0, 1, 2 and 3, called at the same moment by four threads."""
    at_once = Barrier(4)

    def start(number: int) -> T:
        at_once.wait()
        return work(number)

    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(start, range(4)))


@pytest.mark.parametrize("pooling", ["last_token", "mean"])
@pytest.mark.parametrize("layout", ["packed", "padded", "alone"])
def test_four_threads_with_one_encoder_get_the_vectors_that_one_thread_gets(
    tiny_olmoe: Path, pooling: str, layout: Layout
) -> None:
    encoder = encoder_of(tiny_olmoe, pooling=pooling, long_documents="chunk", max_tokens=64, prompt="none")
    if layout != "packed":
        encoder.model.set_attn_implementation("sdpa")
        encoder.layout = layout
    texts = [[f"{number} {text}" for text in documents(8)] for number in range(4)]
    right = [encoder.encode(mine) for mine in texts]
    before = encoder.report
    for _ in range(2):
        for one, other in zip(from_four_threads(lambda number: encoder.encode(texts[number])), right, strict=True):
            assert_same_bits(one, other)
    after = encoder.report
    assert (after.documents - before.documents, after.encoded - before.encoded) == (2 * 32, 2 * 32)


def test_threads_with_two_prompts_of_one_model_do_not_disturb_each_other(tiny_olmoe: Path) -> None:
    encoder = encoder_of(tiny_olmoe, prompt="none")
    encoders = [encoder, encoder.with_prompt("tone"), encoder.with_prompt("prompteol"), encoder]
    right = [each.encode(documents()) for each in encoders]
    assert not np.allclose(right[0].hidden_states, right[1].hidden_states)
    for one, other in zip(from_four_threads(lambda i: encoders[i].encode(documents())), right, strict=True):
        assert_same_bits(one, other)


def test_an_encoder_that_is_loaded_while_another_encodes_changes_nothing(tiny_olmoe: Path) -> None:
    encoder = encoder_of(tiny_olmoe, pooling="mean")
    right = encoder.encode(documents())

    def encode_or_load(number: int) -> Embeddings:
        busy = encoder if number % 2 else encoder_of(tiny_olmoe, pooling="mean")
        return busy.encode(documents())

    for found in from_four_threads(encode_or_load):
        assert_same_bits(found, right)
