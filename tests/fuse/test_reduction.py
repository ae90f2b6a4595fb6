"""Principal components from a stream: those of the whole, whatever its cut, and a vector of its document alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fusion_doubles import embeddings
from sklearn.decomposition import PCA

from moee_topics.errors import InputError
from moee_topics.fuse import Fusion, Reduction


def cloud(rows: int = 300, width: int = 20, mean: float = 50.0) -> np.ndarray:
    """Correlated numbers far from zero."""
    rng = np.random.default_rng(0)
    return (
        mean + rng.normal(0, 1, (rows, 6)) @ rng.normal(0, 1, (6, width)) + rng.normal(0, 0.1, (rows, width))
    ).astype(np.float32)


@pytest.mark.parametrize("block", [7, 64, 300])
def test_components_are_those_of_the_whole_whatever_the_cut(block: int) -> None:
    X = cloud()
    reduction = Reduction.fit((X[at : at + block] for at in range(0, len(X), block)), 5)
    plain = PCA(5, svd_solver="full").fit(X.astype(np.float64))
    along = np.abs(np.einsum("ij,ij->i", plain.components_, reduction.components))
    np.testing.assert_allclose(along, 1.0, atol=1e-5)
    assert reduction.kept == pytest.approx(plain.explained_variance_ratio_.sum(), abs=1e-5)
    np.testing.assert_allclose(np.abs(reduction.transform(X)), np.abs(plain.transform(X)), atol=1e-3)


def test_a_reduced_vector_depends_on_its_document_alone() -> None:
    X = cloud()
    reduction = Reduction.fit([X], 4)
    together = reduction.transform(X)
    assert all(np.array_equal(reduction.transform(X[row : row + 1])[0], together[row]) for row in (0, 5, 299))
    assert reduction.transform(X[:0]).shape[0] == 0


def test_no_more_components_than_numbers_and_each_with_one_sign() -> None:
    X = cloud(width=3)
    reduction = Reduction.fit([X], 100)
    assert reduction.components.shape == (3, 3) and reduction.kept == pytest.approx(1.0)
    largest = np.abs(reduction.components).argmax(axis=1)
    assert (reduction.components[np.arange(3), largest] > 0).all()


def test_no_vectors_and_vectors_of_another_width_are_refused() -> None:
    with pytest.raises(InputError, match="no documents"):
        Reduction.fit([], 5)
    with pytest.raises(InputError, match=r"19 numbers, .* 20"):
        Reduction.fit([cloud()], 5).transform(cloud(width=19))


def test_a_fusion_keeps_its_reduction_and_gives_the_same_vectors_when_loaded(tmp_path: Path) -> None:
    documents = embeddings(40)
    fusion = Fusion().fit([documents])
    reduced = fusion.reduced(Reduction.fit([fusion.transform(documents)], 3))
    reduced.save(tmp_path / "fusion.safetensors")
    loaded = Fusion.load(tmp_path / "fusion.safetensors")
    assert loaded.transform(documents).shape == (40, 3)
    np.testing.assert_array_equal(loaded.transform(documents), reduced.transform(documents))
    assert reduced.canonical().reduction is reduced.reduction and fusion.reduction is None
    assert reduced.with_alpha(1.0).reduction is None, "components of other vectors"


def test_a_damaged_reduction_is_told(tmp_path: Path) -> None:
    documents = embeddings(40)
    fusion = Fusion("concat", standardize="none")
    reduction = Reduction.fit([fusion.transform(documents)], 3)
    fusion.reduced(Reduction(reduction.mean[:-1], reduction.components, 1.0)).save(tmp_path / "fusion.safetensors")
    with pytest.raises(InputError, match="not of one width"):
        Fusion.load(tmp_path / "fusion.safetensors")
