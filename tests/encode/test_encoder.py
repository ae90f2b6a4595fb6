"""Texts to embeddings: the vector of a document depends on the document and the spec alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from encoders import alone, assert_close, assert_same_bits, documents, encoder_of
from tiny_models import save_checkpoint, tiny_tokenizer
from transformers import AutoModelForCausalLM, LlamaConfig

from moee_topics.embeddings import Embeddings, softmax
from moee_topics.encode.encoder import EncodingReport, MoEEncoder, one_behind
from moee_topics.encode.layout import Layout
from moee_topics.encode.pooling import POOLINGS
from moee_topics.encode.prompts import PromptTokenizer
from moee_topics.encode.quantization import integer_products
from moee_topics.encode.settings import POCKET, Integer
from moee_topics.encode.views import View
from moee_topics.errors import InputError, ModelError

T = TypeVar("T")


@pytest.fixture(scope="module")
def encoder(tiny_olmoe: Path) -> MoEEncoder:
    return encoder_of(tiny_olmoe)


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


@pytest.mark.parametrize("layout", ["packed", "padded", "alone"])
def test_no_view_depends_on_neighbours_batch_size_or_order(tiny_olmoe: Path, layout: Layout) -> None:
    options: dict[str, object] = {"layers": ["all", 0], "pooling": [*POOLINGS], "routing": [*POOLINGS, "frequency"]}
    # Padding makes other row counts and so other kernels, whose rounding shows; all else has the same bits.
    dtype, tolerance = ("float32", 1e-4) if layout == "padded" else ("bfloat16", 0.0)
    encoder = encoder_of(tiny_olmoe, dtype=dtype, **options)
    small = encoder_of(tiny_olmoe, dtype=dtype, tokens_per_batch=300, **options)
    for each in (encoder, small):
        if layout != "packed":
            each.model.set_attn_implementation("sdpa")
        each.layout = layout
    texts, entries = documents(12), encoder.spec.reading.entries
    assert len(entries) == 3 * 4 + 1
    together = encoder.encode_entries(texts, entries)
    order = np.random.default_rng(1).permutation(len(texts))
    mixed = small.encode_entries([texts[i] for i in order], entries)
    singles = [encoder.encode_entries(text, entries) for text in texts]
    for entry in entries:
        assert_close(together[entry][order], mixed[entry], tolerance)
        assert_close(together[entry], Embeddings.concatenate([single[entry] for single in singles]), tolerance)


@pytest.mark.parametrize("states", ["values", "attention_outputs"])
def test_values_and_attention_do_not_depend_on_neighbours_either(tiny_olmoe: Path, states: str) -> None:
    options: dict[str, object] = {"states": states, "layers": ["1-2", 2], "pooling": [*POOLINGS], "routing": "none"}
    encoder = encoder_of(tiny_olmoe, dtype="bfloat16", **options)
    texts, entries = documents(8), encoder.spec.reading.entries
    together, singles = (
        encoder.encode_entries(texts, entries),
        [encoder.encode_entries(text, entries) for text in texts],
    )
    for entry in entries:
        assert_same_bits(together[entry], Embeddings.concatenate([single[entry] for single in singles]))


def test_a_rerouted_document_depends_on_itself_alone_and_its_first_token_on_its_last(tiny_olmoe: Path) -> None:
    plain, rerouted = (encoder_of(tiny_olmoe, prompt="none", pooling="mean", reroute=reroute) for reroute in (None, 2))
    assert rerouted.spec.key()["reroute"] == [2] and "reroute" not in plain.spec.key()
    texts = documents(8)
    together = rerouted.encode(texts)
    assert_same_bits(together, Embeddings.concatenate([rerouted.encode(text) for text in texts]))
    assert not np.allclose(together.hidden_states, plain.encode(texts).hidden_states, atol=1e-2)
    first = np.array([plain.encode(text).router_logits[0, 0] for text in texts])
    np.testing.assert_array_equal(together.router_logits[:, 0], first)  # what goes into the layer before is as it was


def test_keys_and_values_of_a_model_that_does_not_run_packed_are_not_rerouted(
    tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moee_topics.encode.encoder.choose_layout", lambda *_: "padded")
    with pytest.raises(ModelError, match=r"cannot be re-routed: its documents run padded, and 0 of its 2 layers"):
        encoder_of(tiny_olmoe, reroute="all")


def test_a_view_is_the_same_whatever_else_is_read_in_its_pass(tiny_olmoe: Path) -> None:
    usual = encoder_of(tiny_olmoe, pooling="mean").encode(documents(5))
    many = encoder_of(tiny_olmoe, layers=["last", 1], pooling=["mean", "last_token"], routing=["mean", "frequency"])
    assert_same_bits(many.encode(documents(5)), usual)
    frequency = many.encode_entries(documents(5), many.spec.reading.entries)[View("router", "all", "frequency")]
    np.testing.assert_allclose(frequency.router_logits.sum(-1), 2, atol=1e-6)  # each token goes to two experts


def test_each_view_of_a_long_document_is_the_mean_of_its_chunks(tiny_olmoe: Path) -> None:
    options: dict[str, object] = {"prompt": "none", "max_tokens": 32, "layers": [1], "routing": "frequency"}
    chunked = encoder_of(tiny_olmoe, long_documents="chunk", **options)
    pieces = ["0123456789" * 3 + "01", "23456789"]
    found, parts = chunked.encode("".join(pieces)), encoder_of(tiny_olmoe, **options).encode(pieces)
    weight = np.array([len(tiny_tokenizer()(piece)["input_ids"]) for piece in pieces], dtype=np.float32)
    weight /= weight.sum()
    np.testing.assert_allclose(found.hidden_states[0], weight @ parts.hidden_states, atol=1e-5)
    np.testing.assert_allclose(
        found.routing_weights[0], np.einsum("c,cle->le", weight, parts.routing_weights), atol=1e-5
    )


def test_quantized_vectors_do_not_depend_on_neighbours_either(tiny_olmoe: Path) -> None:
    encoder = encoder_of(tiny_olmoe, quantize="nf4", dtype="bfloat16")
    assert encoder.spec.quantize == "nf4"
    assert_same_bits(encoder.encode(documents(8)), alone(encoder, documents(8)))


@pytest.mark.parametrize("pooling", ["last_token", "mean"])
@pytest.mark.parametrize("kind", integer_products.KINDS)
def test_vectors_in_integers_have_the_same_bits_alone_and_among_others(
    tiny_olmoe: Path, kind: Integer, pooling: str
) -> None:
    if not integer_products.is_exact(kind):
        pytest.skip(f"this processor has no exact kernel for {kind}")
    encoder = encoder_of(tiny_olmoe, quantize=kind, dtype="bfloat16", pooling=pooling)
    assert encoder.spec.quantize == kind
    assert_same_bits(encoder.encode(documents(8)), alone(encoder, documents(8)))


def test_the_shortest_documents_have_the_same_vector_alone_and_among_others(tiny_olmoe: Path) -> None:
    encoder = encoder_of(tiny_olmoe, dtype="bfloat16", prompt="none")
    texts = ["a", "b", "", "ab", *documents(6)]
    assert_same_bits(encoder.encode(texts), alone(encoder, texts))


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
    assert len(read) == 30 and [len(part) for part in parts] == [10, 10]
    assert_close(Embeddings.concatenate(parts), encoder.encode([f"document {i % 7}" for i in range(20)]), 1e-5)


def test_a_call_is_tokenized_while_the_one_before_is_in_the_model(
    encoder: MoEEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    second_is_tokenized, tokenize, run = Event(), PromptTokenizer.sequences, MoEEncoder._run

    def sequences(self: PromptTokenizer, texts: Any, long_documents: Any) -> Any:
        found = tokenize(self, texts, long_documents)
        if "second" in texts:
            second_is_tokenized.set()
        return found

    def waits(self: MoEEncoder, *given: Any) -> Any:
        assert second_is_tokenized.wait(timeout=60)
        return run(self, *given)

    expected = [encoder.encode(text) for text in ("first", "second")]
    monkeypatch.setattr(PromptTokenizer, "sequences", sequences)
    monkeypatch.setattr(MoEEncoder, "_run", waits)
    reading = encoder.spec.reading
    for parts, whole in zip(encoder.encode_calls([["first"], ["second"]], reading.read_entries), expected, strict=True):
        assert_close(reading.joined(parts), whole, 0.0)


def test_what_reading_raises_comes_after_every_step_that_was_full_before(encoder: MoEEncoder) -> None:
    def torn() -> Iterator[str]:
        yield from ("one", "two", "three")
        raise OSError("the disk is gone")

    stream, parts = encoder.encode_stream(torn(), documents_per_step=1), []
    with pytest.raises(OSError, match="the disk is gone"):
        parts.extend(stream)
    assert_close(Embeddings.concatenate(parts), encoder.encode(["one", "two", "three"]), 1e-5)


def test_an_interrupt_of_the_reader_waits_for_no_step(encoder: MoEEncoder) -> None:
    def interrupted() -> Iterator[str]:
        yield from ("one", "two")
        raise KeyboardInterrupt

    stream, parts = encoder.encode_stream(interrupted(), documents_per_step=1), []
    with pytest.raises(KeyboardInterrupt):
        parts.extend(stream)
    assert len(parts) == 1, "the second was read, and not encoded any more"


def test_what_the_tokenizer_raises_comes_with_its_call(encoder: MoEEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenize = PromptTokenizer.sequences

    def sequences(self: PromptTokenizer, texts: Any, long_documents: Any) -> Any:
        if "bad" in texts:
            raise InputError("this text is bad")
        return tokenize(self, texts, long_documents)

    monkeypatch.setattr(PromptTokenizer, "sequences", sequences)
    stream = encoder.encode_stream(["good", "bad", "good"], documents_per_step=1)
    assert len(next(stream)) == 1
    with pytest.raises(InputError, match="this text is bad"):
        next(stream)


def test_a_pass_is_read_when_the_next_one_has_begun() -> None:
    done: list[str] = []

    def passes() -> Iterator[Any]:
        for number in range(3):
            done.append(f"begun {number}")
            yield number

    for number in one_behind(passes()):
        done.append(f"read {number}")
    assert done == ["begun 0", "begun 1", "read 0", "begun 2", "read 1", "read 2"]
    assert list(one_behind(iter([]))) == []


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


@pytest.mark.skipif(not (POCKET / "config.json").exists(), reason="the embedded model is not in this checkout")
def test_the_embedded_model_has_a_name_and_encodes() -> None:
    encoder = MoEEncoder.from_pretrained("pocket")
    found = encoder.encode(["Hockey players skate and score.", "The goalie saves the puck.", "Tax law and courts."])
    assert encoder.spec.model == "pocket" and encoder.packed
    assert found.router_logits.shape == (3, encoder.spec.layers, encoder.spec.experts)


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
