"""Fusion as a value: fitted once, saved, loaded, said in one way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fusion_doubles import embeddings, fuse, no_routers
from safetensors.numpy import save_file

from moee_topics.errors import InputError
from moee_topics.fuse.blocks import raw_blocks, unit_rows
from moee_topics.fuse.fusion import Fusion, fuse_all
from moee_topics.fuse.methods import METHODS
from moee_topics.recipe import parse_recipe


@pytest.mark.parametrize("alpha", [-0.1, float("nan"), float("inf"), "1", True, None])
def test_an_alpha_that_makes_no_sense_is_refused(alpha: Any) -> None:
    with pytest.raises(InputError, match="0 or more"):
        fuse(embeddings(2), "weighted_sum", alpha=alpha)
    with pytest.raises(InputError, match="weight of the words, 0 or more"):
        Fusion(lexical=alpha)
    assert Fusion(alpha=np.float32(2)).label == Fusion(alpha=2).label == "sum 2 z"  # type: ignore[arg-type]


def test_a_method_goes_by_the_name_that_tables_give_it_and_is_kept_under_its_own() -> None:
    for method, entry in METHODS.items():
        assert Fusion(entry.short_name) == Fusion(entry.short_name.lower()) == Fusion(method)
        assert Fusion(entry.short_name).method == method
    recipe = parse_recipe({"corpus": {"source": "x"}}, ["fusion.method=SUM"])
    assert recipe == parse_recipe({"corpus": {"source": "x"}}, ["fusion.method=weighted_sum"])
    assert recipe.model_dump()["fusion"]["method"] == "weighted_sum"
    with pytest.raises(InputError, match="Did you mean weighted_sum"):
        Fusion("weighed_sum")


@pytest.mark.parametrize("method", ["routing_weights", "concat", "weighted_sum"])
def test_a_model_without_routers_has_hidden_states_only(method: str) -> None:
    with pytest.raises(InputError, match="Use method 'hidden_states'"):
        fuse(no_routers(), method)  # type: ignore[arg-type]
    assert fuse(no_routers(), "hidden_states").shape == (2, 3)
    assert Fusion("hidden_states").fit([no_routers()]).transform(no_routers()).shape == (2, 3)


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
        with pytest.raises(InputError, match=r"holds no fusion|no way to fuse"):
            Fusion.load(tmp_path / name)


def test_a_fusion_that_standardizes_must_be_fitted_and_says_so() -> None:
    with pytest.raises(InputError, match="Call fit"):
        Fusion().transform(embeddings(3))
    with pytest.raises(InputError, match="needs statistics of the hidden_states"):
        Fusion().fitted_like(Fusion(standardize="routing_weights").fit([embeddings(3)]))
    fitted = Fusion("hidden_states").fit([embeddings(9)])
    other = Fusion("concat", standardize="hidden_states").fitted_like(fitted)
    np.testing.assert_array_equal(other.transform(embeddings(9))[:, :6], fitted.transform(embeddings(9)))


@pytest.mark.parametrize("standardize", ["none", "hidden_states", "routing_weights", "both"])
def test_a_fusion_takes_no_more_than_it_needs_of_another_one(standardize: Any) -> None:
    documents, texts = embeddings(30), TEXTS
    whole = Fusion("concat", standardize="both", lexical=1.0).fit([documents], texts)
    for lexical in (0.0, 1.0):
        mine = Fusion("concat", standardize=standardize, lexical=lexical)
        taken, learnt = mine.fitted_like(whole), mine.fit([documents], texts)
        np.testing.assert_array_equal(taken.transform(documents, texts), learnt.transform(documents, texts))


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
    shipped = ("hidden_states", "routing_weights", "concat", "weighted_sum")
    labels = [Fusion(method, 0.5, scaled).label for method in shipped for scaled in ("none", "both")]  # type: ignore[arg-type]
    assert labels == ["HS", "HS z", "RW", "RW z", "concat", "concat z", "sum 0.5", "sum 0.5 z"]
    assert Fusion("concat", standardize="routing_weights").label == "concat z(RW)"


def test_a_corpus_in_blocks_is_fused_like_one_block() -> None:
    documents, fusion = embeddings(25), Fusion().fit([embeddings(25)])
    blocks = (documents[start : start + 4] for start in range(0, 25, 4))
    np.testing.assert_array_equal(fuse_all(blocks, fusion, 25), fusion.transform(documents))
    with pytest.raises(InputError, match="no documents"):
        fuse_all([], fusion, 0)


@pytest.mark.parametrize("expected", [24, 26])
def test_blocks_of_fewer_or_more_documents_than_expected_are_refused(expected: int) -> None:
    with pytest.raises(InputError, match=f"embeddings of {expected} documents, got 25"):
        fuse_all([embeddings(20), embeddings(5)], Fusion(standardize="none"), expected)


def test_the_length_of_a_vector_is_known_beforehand() -> None:
    for method in METHODS:
        fusion = Fusion(method, standardize="none")
        assert fusion.transform(embeddings(3)).shape[1] == fusion.dimensions(6, 12)


@pytest.mark.parametrize("value", ["concat", 3, {"method": "concat"}, Fusion])
def test_what_is_no_fusion_is_refused_before_anything_is_encoded(value: Any) -> None:
    from moee_topics import MoEEBackend
    from moee_topics.mteb import load_mteb_encoder

    for use in (MoEEBackend, load_mteb_encoder):
        with pytest.raises(InputError, match=r"fusion is .* expected a Fusion, such as Fusion"):
            use("a/model", fusion=value)


TEXTS = [f"{'orbit moon' if i % 2 else 'bread oven'} number{i // 3}" for i in range(30)]


def test_words_come_beside_the_rest_at_their_weight() -> None:
    documents = embeddings(30)
    alone = Fusion("concat").fit([documents]).transform(documents)
    fusion = Fusion("concat", lexical=0.25).fit([documents], TEXTS)
    vectors = fusion.transform(documents, TEXTS)
    assert vectors.shape[1] <= fusion.dimensions(6, 12) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors[:, :18], unit_rows(alone), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors[:, 18:], axis=1), 0.5, atol=1e-6)
    np.testing.assert_array_equal(vectors[3:4], fusion.transform(documents[3:4], TEXTS[3:4]))
    parts = [documents[start : start + 7] for start in range(0, 30, 7)]
    np.testing.assert_array_equal(fuse_all(parts, fusion, 30, TEXTS), vectors)
    np.testing.assert_array_equal(fusion.without_words(vectors), vectors[:, :18])
    np.testing.assert_array_equal(Fusion("concat").without_words(alone), alone)


def test_words_are_saved_with_the_fusion_and_without_them_the_file_is_as_before(tmp_path: Path) -> None:
    documents = embeddings(30)
    for standardize in ("none", "both"):
        fusion = Fusion(standardize=standardize, lexical=1.0).fit([documents], TEXTS)  # type: ignore[arg-type]
        fusion.save(tmp_path / "fusion")
        loaded = Fusion.load(tmp_path / "fusion")
        assert loaded == fusion and not loaded.needs_fit
        np.testing.assert_array_equal(loaded.transform(documents, TEXTS), fusion.transform(documents, TEXTS))
    Fusion().fit([documents]).save(tmp_path / "fusion")
    assert b"lexical" not in (tmp_path / "fusion").read_bytes()


def test_a_fusion_that_weighs_words_needs_texts_and_says_so() -> None:
    documents, words = embeddings(30), Fusion(standardize="none", lexical=1.0)
    assert words.needs_fit and words.learns and not Fusion(standardize="none").learns
    with pytest.raises(InputError, match=r"sum 0\.5 \+words 1\) weighs the words of documents"):
        words.fit([documents])
    fitted = words.fit([documents], TEXTS)
    with pytest.raises(InputError, match="Give their texts too"):
        fitted.transform(documents)
    with pytest.raises(InputError, match="30 embeddings and 2 texts"):
        fitted.transform(documents, TEXTS[:2])
    with pytest.raises(InputError, match="needs the words of a corpus"):
        words.fitted_like(Fusion().fit([documents]))
    assert not words.fitted_like(fitted).needs_fit and not fitted.with_alpha(2.0).needs_fit
    with pytest.raises(InputError, match="weight of the words, 0 or more"):
        Fusion(lexical=-1)
