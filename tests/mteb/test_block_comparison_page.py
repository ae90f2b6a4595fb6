"""The comparison of blocks as a page: the same agree, unrelated ones do not."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scored_files import WORDS, local, recipe
from scoring_doubles import HashEncoder

from moee_topics.embed import Embedder
from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError
from moee_topics.fuse import RAW
from moee_topics.mteb.block_comparison import compare_clusters
from moee_topics.mteb.block_comparison_page import compare
from moee_topics.progress import Progress

pytest.importorskip("mteb")


class Twins(HashEncoder):
    """Hidden states and routing weights that say the same: one axis per first word, and a little noise."""

    def encode(self, texts: Any) -> Embeddings:
        self.seen.extend(texts)
        noise = super()._row
        rows = np.stack(
            [[4.0 * (text.split()[0] == word) for word in WORDS] + 0.05 * noise(text)[:4] for text in texts]
        )
        return Embeddings(rows, np.zeros((len(texts), 1, 4)), rows[:, None, :])


def comparison(files: dict[str, Path], output: Path, double: Callable[[], HashEncoder], *kinds: str) -> Any:
    made = recipe(local(files, *kinds), prompts=["none", "style"], alpha=[0.5])
    encoders = {prompt: double() for prompt in made.score.prompts}
    encoders["style"].name = "double/style"
    embedders = {prompt: Embedder.of(encoder, output / "store") for prompt, encoder in encoders.items()}
    return compare(made, output, embedders.__getitem__, progress=Progress())


def test_blocks_that_say_the_same_agree(files: dict[str, Path], tmp_path: Path) -> None:
    found = comparison(files, tmp_path, Twins, "Clustering", "STS").data
    (clusters,), (pairs,) = found["clusterings"], found["pairs"]
    first = clusters["agreements"][0]
    assert (first["first"], first["second"]) == ("HS", "RW")
    assert [first["agreement"][name] for name in ("ami", "nmi", "jaccard", "exact_match")] == pytest.approx([1] * 4)
    assert clusters["with_labels"]["HS z"]["ami"] == pytest.approx(1)
    np.testing.assert_allclose(pairs["correlations"], 1, atol=1e-6)
    assert pairs["means"] == pytest.approx({"HS-HS": 1, "RW-RW": 1, "RW-HS": 1})
    assert pairs["errors"]["HS, RW"]["only_first_right"] == 0


def test_blocks_that_have_nothing_in_common_do_not_agree(files: dict[str, Path], tmp_path: Path) -> None:
    found = comparison(files, tmp_path, HashEncoder, "Clustering", "STS").data
    assert abs(found["clusterings"][0]["agreements"][0]["agreement"]["ami"]) < 0.25
    assert abs(found["pairs"][0]["means"]["RW-HS"]) < 0.5


def test_a_comparison_is_a_page_json_and_two_figures(files: dict[str, Path], tmp_path: Path) -> None:
    found = comparison(files, tmp_path, HashEncoder, "STS", "Clustering")
    data = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert data == json.loads(json.dumps(found.data))
    for name in ("MySTS-prompts.svg", "MySTS-robustness.svg"):
        assert ET.parse(tmp_path / name).getroot().tag.endswith("svg")
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2 and "HS again" in page
    assert "Agreement of clusters" in (tmp_path / "comparison.md").read_text(encoding="utf-8")


def test_a_comparison_needs_labels_and_a_fitting_task(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two or more different"):
        compare_clusters("t", HashEncoder().encode(["a", "b"]), [0, 0], fusion=RAW.with_alpha(1.0), seed=1)
    with pytest.raises(InputError, match="neither"):
        comparison(files, tmp_path, HashEncoder, "Reranking")
