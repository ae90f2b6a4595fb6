"""Fusion: one vector whose cosine is the weighted sum of cosines, and a standardizer that forgets its blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError
from moee_topics.fuse.blocks import raw_blocks
from moee_topics.fuse.fusion import Fusion, fuse_all
from moee_topics.fuse.methods import METHODS, Method, find_method, weighted_sum
from moee_topics.fuse.reference import BatchFusion
from moee_topics.fuse.standardizer import Standardizer
from moee_topics.mteb.score_recipe import parse_score_recipe
from moee_topics.recipe import parse_recipe
from moee_topics.run.fusion_methods import parse_methods


def embeddings(documents: int = 20, seed: int = 0, scale: float = 3.0) -> Embeddings:
    generator = np.random.default_rng(seed)
    hidden = generator.normal(1.0, scale, (documents, 6)).astype(np.float16)
    return Embeddings(hidden, generator.normal(0, 2, (documents, 3, 4)).astype(np.float16))


def no_routers() -> Embeddings:
    return Embeddings(np.ones((2, 3), np.float32), np.zeros((2, 0, 0), np.float32))


def fuse(documents: Embeddings, method: str, alpha: float = 1.0) -> np.ndarray:
    return Fusion(method, alpha, "none").transform(documents)  # type: ignore[arg-type]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    alpha=st.floats(0, 100, allow_subnormal=False),
    scale=st.floats(1e-2, 1e3),
    standardize=st.booleans(),
)
def test_weighted_sum_keeps_the_cosine_of_the_sum_exactly(
    seed: int, alpha: float, scale: float, standardize: bool
) -> None:
    documents = embeddings(8, seed, scale)
    fusion = Fusion("weighted_sum", alpha, standardize).fit([documents])
    hidden, routing = (block.astype(np.float64) for block in fusion.blocks(documents))
    fused = fusion.transform(documents).astype(np.float64)
    for i in range(8):
        for j in range(8):
            expected = (cosine(hidden[i], hidden[j]) + alpha * cosine(routing[i], routing[j])) / (1 + alpha)
            assert abs(cosine(fused[i], fused[j]) - expected) < 2e-6
            assert abs(fused[i] @ fused[j] - expected * (1 + alpha)) < 2e-6 * (1 + alpha)


def test_each_method_is_what_its_name_says() -> None:
    documents = embeddings(5)
    weights = documents.routing_weights.reshape(5, 12)
    np.testing.assert_array_equal(fuse(documents, "hidden_states"), documents.hidden_states.astype(np.float32))
    np.testing.assert_array_equal(fuse(documents, "routing_weights"), weights)
    np.testing.assert_array_equal(
        fuse(documents, "concat"), np.hstack([documents.hidden_states.astype(np.float32), weights])
    )
    assert fuse(documents, "weighted_sum").shape == (5, 18)
    assert {fuse(documents, m).dtype for m in ("hidden_states", "concat", "weighted_sum")} == {np.dtype(np.float32)}


def test_mean_routing_weights_are_used_where_they_are() -> None:
    documents = embeddings(4)
    mean = np.full(documents.router_logits.shape, 0.25, np.float16)
    averaged = Embeddings(documents.hidden_states, documents.router_logits, mean)
    np.testing.assert_array_equal(fuse(averaged, "routing_weights"), np.full((4, 12), 0.25, np.float32))


def test_alpha_zero_is_the_hidden_states_alone() -> None:
    fused = fuse(embeddings(4), "weighted_sum", alpha=0.0)
    assert not fused[:, 6:].any()
    np.testing.assert_allclose(np.linalg.norm(fused[:, :6], axis=1), 1, rtol=1e-6)


def test_a_zero_vector_stays_zero_without_nan() -> None:
    blocks = np.array([[0, 0], [3, 4]], np.float32), np.array([[0, 5], [0, 0]], np.float32)
    fused = weighted_sum(blocks, 4.0)
    np.testing.assert_allclose(fused, [[0, 0, 0, 2], [0.6, 0.8, 0, 0]], rtol=1e-6)


def test_very_long_and_very_short_vectors_keep_their_direction() -> None:
    hidden = np.array([[3e-30, 4e-30], [3e30, 4e30]], np.float32)
    fused = weighted_sum((hidden, np.ones((2, 1), np.float32)), 1.0)
    np.testing.assert_allclose(fused[:, :2], [[0.6, 0.8], [0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize("alpha", [-0.1, float("nan"), float("inf")])
def test_an_alpha_that_makes_no_sense_is_refused(alpha: float) -> None:
    with pytest.raises(InputError, match="0 or more"):
        fuse(embeddings(2), "weighted_sum", alpha=alpha)


@pytest.mark.parametrize("method", ["routing_weights", "concat", "weighted_sum"])
def test_a_model_without_routers_has_hidden_states_only(method: str) -> None:
    with pytest.raises(InputError, match="Use method 'hidden_states'"):
        fuse(no_routers(), method)  # type: ignore[arg-type]
    assert fuse(no_routers(), "hidden_states").shape == (2, 3)
    assert Fusion("hidden_states").fit([no_routers()]).transform(no_routers()).shape == (2, 3)


def test_an_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'sum'.*weighted_sum"):
        fuse(embeddings(2), "sum")  # type: ignore[arg-type]


def plain_standardized(block: np.ndarray) -> np.ndarray:
    block = block.astype(np.float64)
    return (block - block.mean(axis=0)) / block.std(axis=0)


@pytest.mark.parametrize("cut", [1, 3, 7, 64, 1000])
def test_the_statistics_do_not_depend_on_the_blocks(cut: int) -> None:
    documents = embeddings(1000)
    standardizer = Standardizer.fit(documents[start : start + cut] for start in range(0, 1000, cut))
    hidden, routing = standardizer.transform(documents)
    np.testing.assert_allclose(hidden, plain_standardized(documents.hidden_states), atol=1e-6)
    np.testing.assert_allclose(routing, plain_standardized(documents.routing_weights.reshape(1000, 12)), atol=1e-6)


def test_more_rows_than_one_pass_takes_are_the_same() -> None:
    documents = embeddings(10_000)
    hidden, _ = Standardizer.fit([documents]).transform(documents)
    np.testing.assert_allclose(hidden, plain_standardized(documents.hidden_states), atol=1e-6)


def test_a_large_offset_costs_no_accuracy() -> None:
    generator = np.random.default_rng(1)
    hidden = generator.normal(1e6, 1.0, (500, 3))
    documents = Embeddings(hidden, np.zeros((500, 0, 0)))
    standardizer = Standardizer.fit(documents[start : start + 7] for start in range(0, 500, 7))
    np.testing.assert_allclose(standardizer.transform(documents)[0], plain_standardized(hidden), atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -1234.5, 6e4])
def test_a_constant_dimension_becomes_zero(value: float) -> None:
    documents = embeddings(99)
    hidden = documents.hidden_states.astype(np.float32)
    hidden[:, 2] = value
    constant = Embeddings(hidden, documents.router_logits)
    standardizer = Standardizer.fit(constant[start : start + 10] for start in range(0, 99, 10))
    got, _ = standardizer.transform(constant)
    assert not got[:, 2].any()
    assert np.isfinite(got).all()


def test_one_document_is_standardized_like_among_others() -> None:
    documents = embeddings(50)
    standardizer = Standardizer.fit([documents])
    whole = standardizer.transform(documents)
    for block, single in zip(whole, standardizer.transform(documents[7:8]), strict=True):
        np.testing.assert_array_equal(single[0], block[7])


def test_a_corpus_of_one_document_gives_zeros() -> None:
    documents = embeddings(1)
    fused = Fusion("weighted_sum").fit([documents]).transform(documents)
    assert not fused.any()


@pytest.mark.parametrize("standardize", ["none", "hidden_states", "routing_weights", "both"])
def test_a_saved_fusion_gives_the_same_vectors_and_leaves_the_same_blocks_alone(
    tmp_path: Path, standardize: Any
) -> None:
    documents = embeddings(30)
    fusion = Fusion("concat", 2.0, standardize).fit([documents])
    fusion.save(tmp_path / "fusion.safetensors")
    loaded = Fusion.load(tmp_path / "fusion.safetensors")
    assert loaded == fusion
    np.testing.assert_array_equal(loaded.transform(documents), fusion.transform(documents))
    untouched = [np.array_equal(a, b) for a, b in zip(raw_blocks(documents), loaded.blocks(documents), strict=True)]
    assert untouched == [standardize not in (name, "both") for name in ("hidden_states", "routing_weights")]


def test_saving_is_deterministic(tmp_path: Path) -> None:
    for name in ("one", "two"):
        Fusion().fit([embeddings(30)]).save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_file_that_is_no_fusion_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"nothing")
    save_file({"hidden_states.count": np.ones(1)}, tmp_path / "other", metadata={"fusion": '{"method": "max"}'})
    save_file({}, tmp_path / "none")
    for name in ("bad", "absent", "other", "none"):
        with pytest.raises(InputError, match=r"holds no fusion|Unknown fusion method"):
            Fusion.load(tmp_path / name)


def test_a_fusion_that_standardizes_must_be_fitted_and_says_so() -> None:
    with pytest.raises(InputError, match="Call fit"):
        Fusion().transform(embeddings(3))
    with pytest.raises(InputError, match="needs statistics of the hidden_states"):
        Fusion().fitted_like(Fusion(standardize="routing_weights").fit([embeddings(3)]))
    fitted = Fusion("hidden_states").fit([embeddings(9)])
    other = Fusion("concat", standardize="hidden_states").fitted_like(fitted)
    np.testing.assert_array_equal(other.transform(embeddings(9))[:, :6], fitted.transform(embeddings(9)))


def test_fit_and_another_alpha_leave_a_fusion_as_it_was() -> None:
    fusion = Fusion()
    fitted = fusion.fit([embeddings(5)])
    assert fusion.needs_fit and not fitted.needs_fit
    assert not fitted.with_alpha(2.0).needs_fit and fitted.alpha == Fusion.alpha


def test_recipes_may_say_true_and_false() -> None:
    assert Fusion(standardize=True) == Fusion(standardize="both") == Fusion()
    assert Fusion(standardize=False) == Fusion(standardize="none")
    with pytest.raises(InputError, match="none, hidden_states, routing_weights, both"):
        Fusion(standardize="maybe")  # type: ignore[arg-type]


def test_what_has_no_effect_on_the_vectors_does_not_make_another_fusion() -> None:
    assert Fusion("hidden_states", 0.3, "routing_weights").canonical() == Fusion("hidden_states", standardize="none")
    assert Fusion("routing_weights", 1).canonical() == Fusion("routing_weights", standardize="routing_weights")
    labels = [Fusion(method, 0.5, scaled).label for method in METHODS for scaled in ("none", "both")]  # type: ignore[arg-type]
    assert labels == ["HS", "HS z", "RW", "RW z", "concat", "concat z", "sum 0.5", "sum 0.5 z"]
    assert Fusion("concat", standardize="routing_weights").label == "concat z(RW)"


def test_a_corpus_in_blocks_is_fused_like_one_block() -> None:
    documents, fusion = embeddings(25), Fusion().fit([embeddings(25)])
    blocks = (documents[start : start + 4] for start in range(0, 25, 4))
    np.testing.assert_array_equal(fuse_all(blocks, fusion, 25), fusion.transform(documents))
    with pytest.raises(InputError, match="no documents"):
        fuse_all([], fusion, 0)


def test_documents_of_another_model_are_refused() -> None:
    standardizer = Standardizer.fit([embeddings(5)])
    with pytest.raises(InputError, match=r"Got 3 dimensions.* have 6"):
        standardizer.transform(no_routers())
    with pytest.raises(InputError, match="different models"):
        Standardizer.fit([embeddings(5), no_routers()])
    with pytest.raises(InputError, match="at least one document"):
        Standardizer.fit([])


@pytest.mark.parametrize("router", ["logits", "softmax"])
def test_the_published_scaling_is_per_batch_and_zero_for_one(router: Any) -> None:
    batch = embeddings(29)
    scores = batch.router_logits.astype(np.float32) if router == "logits" else batch.routing_weights
    both = np.concatenate([batch.hidden_states.astype(np.float64), scores.reshape(29, -1)], axis=1)
    expected = (both - both.mean(axis=0)) / (both.std(axis=0, ddof=1) + 1e-8)
    np.testing.assert_allclose(BatchFusion("concat", router).transform(batch), expected, atol=1e-5)
    assert not BatchFusion("routing_weights", router).transform(batch[:1]).any()


def test_the_published_code_scales_neither_hidden_states_nor_its_sum() -> None:
    with pytest.raises(InputError, match="leaves it as it is"):
        BatchFusion("weighted_sum")


def test_a_method_is_one_entry_of_the_registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def scaled(blocks: Any, alpha: float) -> Any:
        return blocks[1] * np.float32(alpha)

    monkeypatch.setitem(METHODS, "scaled", Method("xRW", scaled, reads=("routing_weights",), uses_alpha=True))  # type: ignore[arg-type]
    documents = embeddings(9)
    fusion = Fusion(find_method("xrw"), 2.0, "both").fit([documents])
    assert fusion.label == "xRW 2 z" and fusion.label_of_any_alpha == "xRW auto z"
    assert fusion.needs_routers and fusion.canonical().standardize == "routing_weights"
    assert fusion.transform(documents).shape == (9, fusion.dimensions(6, 12)) == (9, 12)
    fusion.save(tmp_path / "fusion.safetensors")
    np.testing.assert_array_equal(
        Fusion.load(tmp_path / "fusion.safetensors").transform(documents), fusion.transform(documents)
    )
    assert [fusion.label for fusion in parse_score_recipe({"score": {"methods": ["xRW"]}}).fusions()] == ["xRW 0.5"]
    assert parse_recipe({"corpus": {"source": "x.txt"}, "fusion": {"method": "scaled"}}).fusion.method == "scaled"
    assert parse_methods("all")[-1] == "scaled"


def test_the_length_of_a_vector_is_known_beforehand() -> None:
    for method in METHODS:
        fusion = Fusion(method, standardize="none")
        assert fusion.transform(embeddings(3)).shape[1] == fusion.dimensions(6, 12)
