"""Quickstart on 400 documents, predictions and a local score come out as ``write.py`` has written them.

Where the vectors are the same bits on the same kind of processor, all that follows must be the same to the last
document. Elsewhere sums have other last digits, of which UMAP makes another layout: vectors and scores are then
compared within what AVX2 alone and AVX-512 differ by.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from golden.write import GOLDEN, NEW, golden_values, weights
from sklearn.metrics import adjusted_mutual_info_score

pytest.importorskip("mteb")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    if not GOLDEN.exists():
        pytest.skip("not written yet: python tests/golden/write.py")
    values: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert values["weights"] == weights(), "other weights: python tests/golden/write.py"
    return values


@pytest.fixture(scope="module")
def today(golden: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    values = golden_values(tmp_path_factory.mktemp("golden"))
    if values["corpus"] != golden["corpus"]:
        pytest.skip("the docstrings are those of other versions than constraints.txt names")
    return values


@pytest.fixture(scope="module")
def exact(golden: dict[str, Any], today: dict[str, Any]) -> bool:
    """Whether all that follows from the vectors must be the same."""
    same_bits = today["vectors"]["digests"] == golden["vectors"]["digests"]
    return bool(same_bits and today["processor"] == golden["processor"])


def test_vectors_are_those_that_were_written(golden: dict[str, Any], today: dict[str, Any]) -> None:
    vectors, expected = today["vectors"], golden["vectors"]
    np.testing.assert_allclose(vectors["hidden_norms"], expected["hidden_norms"], rtol=1e-3)
    np.testing.assert_allclose(vectors["routing_peaks"], expected["routing_peaks"], atol=1e-3)
    assert np.mean(np.array(vectors["nearest"]) == expected["nearest"]) >= 0.98


def test_topics_are_those_that_were_written(golden: dict[str, Any], today: dict[str, Any], exact: bool) -> None:
    fit, expected = today["fit"], golden["fit"]
    assert fit == expected or not exact
    assert adjusted_mutual_info_score(fit["topics"], expected["topics"]) >= 0.7
    assert fit["scores"] == pytest.approx(expected["scores"], abs=0.1)


def test_new_documents_go_where_it_was_written(golden: dict[str, Any], today: dict[str, Any], exact: bool) -> None:
    rows, expected = today["predictions"], golden["predictions"]
    assert len(rows) == len(NEW) and (rows == expected or not exact)
    assert [row["package"] for row in rows] == [row["package"] for row in expected]


def test_scores_are_those_that_were_written(golden: dict[str, Any], today: dict[str, Any], exact: bool) -> None:
    scores, expected = today["scores"], golden["scores"]
    assert scores == expected or not exact
    assert scores == pytest.approx(expected, abs=0.05)  # k-means starts at random points: another minimum may be nearer
