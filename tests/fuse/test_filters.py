"""Filters: what each takes out, learnt once, whatever the cut and the neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from fusion_doubles import cosines_of, embeddings, no_routers

from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError
from moee_topics.fuse.blocks import raw_blocks
from moee_topics.fuse.filters import FILTERS, MOST_DOCUMENTS, FilterName, Filters, embedded_words, sample_of
from moee_topics.fuse.fusion import Fusion

NAMES: tuple[FilterName, ...] = get_args(FilterName)


def directions(size: int = 6) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(3).normal(size=(size, size)))[0].T


class Model:
    """Answers what filters ask: the directions of an unembedding, and words far from all documents."""

    def __init__(self, size: int = 6) -> None:
        self.size = size

    def unembedding(self) -> np.ndarray:
        return directions(self.size)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        words = embeddings(len(texts), seed=2) if self.size == 6 else narrow(len(texts), self.size, seed=2)
        return Embeddings(words.hidden_states + np.float32(9), words.router_logits)


TEXTS = ["orbit moon", "bread oven and moon"]


def fitted(names: Any, documents: Embeddings) -> Filters:
    model = Model(documents.hidden_states.shape[1])
    words = raw_blocks(embedded_words(TEXTS, model))
    return Filters.fit(names, raw_blocks(documents), words, model)[0]


def narrow(documents: int, size: int = 40, seed: int = 0) -> Embeddings:
    """States that share one large direction, as those of decoders do."""
    hidden = np.random.default_rng(seed).normal(size=(documents, size)) * np.geomspace(3, 0.3, size) + 5
    return Embeddings(hidden.astype(np.float32), np.zeros((documents, 0, 0), np.float32))


def test_every_filter_has_its_entry() -> None:
    assert tuple(FILTERS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_document_is_filtered_alone_as_among_others(name: FilterName) -> None:
    documents = narrow(300)
    filters = fitted([name], documents)
    whole = filters.transform(documents)[0]
    for row in (0, 63, 64, 299):
        np.testing.assert_array_equal(filters.transform(documents[row : row + 1])[0][0], whole[row])


def test_the_mean_and_the_strongest_directions_are_gone() -> None:
    documents = narrow(500, size=200)
    hidden = documents.hidden_states
    centered = fitted(["center"], documents).transform(documents)[0]
    np.testing.assert_allclose(centered, hidden - hidden.mean(axis=0), atol=1e-5)
    removed = fitted(["remove_top"], documents).transform(documents)[0]
    left, top = np.linalg.svd(hidden - hidden.mean(axis=0), full_matrices=False)[1:]
    np.testing.assert_allclose(removed @ top[:2].T, 0, atol=1e-4)
    np.testing.assert_allclose(np.linalg.svd(removed)[1][: 200 - 2], left[2:], rtol=1e-3)


@pytest.mark.parametrize("documents", [20, 1000])
def test_whitening_shrinks_as_ledoit_and_wolf_do(documents: int) -> None:
    from sklearn.covariance import ledoit_wolf

    corpus = narrow(documents)
    white = fitted(["whiten"], corpus).transform(corpus)[0]
    covariance = ledoit_wolf(corpus.hidden_states.astype(np.float64))[0]
    values, vectors = np.linalg.eigh(covariance)
    plain = (corpus.hidden_states - corpus.hidden_states.mean(axis=0)) @ (vectors / np.sqrt(values)) @ vectors.T
    np.testing.assert_allclose(white, plain, atol=1e-3)


def test_one_outlier_is_clipped_to_where_the_others_are() -> None:
    documents = embeddings(400)
    hidden = documents.hidden_states.astype(np.float32)
    hidden[7, 2] = 1e4
    clipped = fitted(["clip"], Embeddings(hidden, documents.router_logits)).transform(documents)[0]
    assert clipped[:, 2].max() < np.abs(np.delete(hidden[:, 2], 7)).max()


def test_the_middle_of_the_unembedding_is_kept() -> None:
    documents = embeddings(9)
    hidden, routing = fitted(["embed_filter"], documents).transform(documents)
    np.testing.assert_allclose(hidden, raw_blocks(documents)[0] @ directions()[1:4].T, atol=1e-5)
    np.testing.assert_array_equal(routing, raw_blocks(documents)[1])
    fusion = Fusion("concat", standardize="none", filters=("embed_filter",))
    assert fusion.fit([documents], embedder=Model()).transform(documents).shape[1] == fusion.dimensions(6, 12)
    with pytest.raises(InputError, match="Fit it with the embedder too"):
        fusion.fit([documents])
    with pytest.raises(InputError, match="has 4 dimensions, and the hidden states have 6"):
        fusion.fit([documents], embedder=Model(4))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("documents", [1, 2, 3])
def test_few_documents_give_finite_vectors(name: FilterName, documents: int) -> None:
    corpus = embeddings(documents)
    for block in fitted([name], corpus).transform(embeddings(5, seed=1)):
        assert np.isfinite(block).all()


def test_a_model_without_routers_has_only_its_hidden_states_filtered() -> None:
    hidden, routing = fitted(["center", "whiten"], no_routers()).transform(no_routers())
    assert hidden.shape == (2, 3) and routing.shape == (2, 0) and not hidden.any()


@pytest.mark.parametrize("cut", [1, 7, 1000, 50_000])
def test_what_is_learnt_from_does_not_depend_on_the_cut_and_is_bounded(cut: int) -> None:
    count = 2 * MOST_DOCUMENTS + 500
    stream = Embeddings(np.arange(count, dtype=np.float32)[:, None], np.zeros((count, 0, 0), np.float32))
    size = count if cut > 1 else 300
    got = sample_of(stream[start : min(start + cut, size)] for start in range(0, size, cut))[0].ravel()
    assert len(got) <= MOST_DOCUMENTS
    np.testing.assert_array_equal(got, np.arange(0, size, 4 if cut > 1 else 1))


def test_a_filtered_fusion_is_saved_and_gives_the_same_vectors(tmp_path: Path) -> None:
    documents = embeddings(40)
    fusion = Fusion("weighted_sum", filters=("clip", "whiten"), lexical=0).fit([documents])
    fusion.save(tmp_path / "fusion.safetensors")
    loaded = Fusion.load(tmp_path / "fusion.safetensors")
    assert loaded == fusion and loaded.label == "sum 0.5 clip whiten z"
    np.testing.assert_array_equal(loaded.transform(documents), fusion.transform(documents))
    np.testing.assert_allclose(loaded.blocks(documents)[0].std(axis=0), 1, atol=1e-4)


def test_statistics_after_other_filters_are_refused() -> None:
    documents = embeddings(40)
    whole = Fusion("concat", filters=("clip",)).fit([documents])
    mine = Fusion("hidden_states", filters=("clip",))
    np.testing.assert_array_equal(
        mine.fitted_like(whole).transform(documents), mine.fit([documents]).transform(documents)
    )
    for other in (Fusion("concat"), Fusion("concat", filters=("whiten",))):
        with pytest.raises(InputError, match="has others"):
            other.fitted_like(whole)
    with pytest.raises(InputError, match="has not learnt them"):
        mine.fitted_like(Fusion("concat", filters=("clip",)))


def test_names_are_checked_before_anything_is_encoded() -> None:
    with pytest.raises(InputError, match="no filter 'whitening'; there are align_words, center, clip"):
        Fusion(filters=("whitening",))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="key of its own"):
        Fusion(filters=("standardize",))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"filters=\[center\]"):
        Fusion(filters="center")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Call fit"):
        Fusion(standardize="none", filters=("center",)).transform(embeddings(3))


def test_other_dimensions_than_those_of_the_corpus_are_refused() -> None:
    filters = fitted(["center"], embeddings(9))
    with pytest.raises(InputError, match="come from different models"):
        filters.transform(narrow(2))


@pytest.mark.parametrize("names", [("center",), ("remove_top",), ("whiten",)])
def test_states_in_a_narrow_cone_become_isotropic(names: tuple[FilterName, ...]) -> None:
    documents = narrow(400)
    assert np.median(cosines_of(documents.hidden_states)) > 0.8
    fusion = Fusion("hidden_states", standardize="none", filters=names).fit([documents])
    assert abs(np.median(cosines_of(fusion.transform(documents)))) < 0.1


def test_words_lie_around_the_mean_of_documents_in_all_but_one_direction() -> None:
    documents = narrow(300)
    filters = fitted(["align_words"], documents)
    words = filters.transform(Model(40).embed(["and", "bread", "moon", "orbit", "oven"]).rounded())[0]
    np.testing.assert_allclose(words.mean(axis=0), 0, atol=0.02)
    moved = filters.transform(documents)[0] - (documents.hidden_states - documents.hidden_states.mean(axis=0))
    assert np.linalg.matrix_rank(moved, tol=1e-2) == 1


def test_whether_there_is_a_word_to_align_is_told_before_anything_is_encoded() -> None:
    fusion = Fusion("hidden_states", filters=("align_words",))
    with pytest.raises(InputError, match="needs words, and there are none in 9 documents"):
        fusion.check_texts(["😀 🚀"] * 9)
    texts = ["😀 🚀"] * 5001 + ["bread"]  # which no sample of every second or third holds
    fusion.check_texts(texts)
    words = embedded_words(texts, Model())
    assert len(words) == 1
    Fusion(lexical=0.0, filters=("center",)).check_texts([])


def test_of_two_documents_the_one_direction_that_tells_them_apart_is_kept() -> None:
    documents = embeddings(2)
    first, second = fitted(["remove_top"], documents).transform(documents)[0]
    assert not np.allclose(first, second)


def test_words_are_asked_for_by_name() -> None:
    fusion = Fusion("hidden_states", standardize="none", filters=("align_words",))
    with pytest.raises(InputError, match="needs the words of a corpus"):
        fusion.fit([embeddings(9)], TEXTS)
    with pytest.raises(InputError, match="none in 9 documents"):
        fusion.fit([embeddings(9)], ["😀 🚀"] * 9, Model())
