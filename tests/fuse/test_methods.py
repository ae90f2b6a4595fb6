"""The ways to fuse: each is what its name says, and a new one is one entry that all others learn of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fusion_doubles import cosine, embeddings, fuse
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring_doubles import HashEncoder
from small_run import small_run, write_json

from moee_topics.embed import Embedder
from moee_topics.errors import InputError
from moee_topics.fuse.fusion import Fusion
from moee_topics.fuse.methods import METHODS, Method, find_method, weighted_sum
from moee_topics.mteb.score_recipe import parse_score_recipe
from moee_topics.mteb.scoring_run import score
from moee_topics.recipe import parse_recipe
from moee_topics.report import write_report
from moee_topics.run.estimates import estimate
from moee_topics.run.fusion_methods import parse_methods


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


def test_a_zero_vector_stays_zero_without_nan() -> None:
    blocks = np.array([[0, 0], [3, 4]], np.float32), np.array([[0, 5], [0, 0]], np.float32)
    fused = weighted_sum(blocks, 4.0)
    np.testing.assert_allclose(fused, [[0, 0, 0, 2], [0.6, 0.8, 0, 0]], rtol=1e-6)


def test_very_long_and_very_short_vectors_keep_their_direction() -> None:
    hidden = np.array([[3e-30, 4e-30], [3e30, 4e30]], np.float32)
    fused = weighted_sum((hidden, np.ones((2, 1), np.float32)), 1.0)
    np.testing.assert_allclose(fused[:, :2], [[0.6, 0.8], [0.6, 0.8]], rtol=1e-6)


def test_alpha_zero_is_the_hidden_states_alone() -> None:
    fused = fuse(embeddings(4), "weighted_sum", alpha=0.0)
    assert not fused[:, 6:].any()
    np.testing.assert_allclose(np.linalg.norm(fused[:, :6], axis=1), 1, rtol=1e-6)


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


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a method that is an entry of the registry and is known nowhere else."""

    def scaled(blocks: Any, alpha: float) -> Any:
        return blocks[1] * np.float32(alpha)

    monkeypatch.setitem(METHODS, "scaled_routing", Method("xRW", scaled, reads=("routing_weights",), uses_alpha=True))  # type: ignore[arg-type]
    return "scaled_routing"


def test_a_new_entry_fuses_and_is_labelled_and_saved(made_up: str, tmp_path: Path) -> None:
    documents = embeddings(9)
    fusion = Fusion(find_method("xrw"), 2.0, "both").fit([documents])
    assert fusion.method == made_up and fusion.label == "xRW 2 z" and fusion.label_of_any_alpha == "xRW auto z"
    assert fusion.needs_routers and fusion.canonical().standardize == "routing_weights"
    assert fusion.transform(documents).shape == (9, fusion.dimensions(6, 12)) == (9, 12)
    fusion.save(tmp_path / "fusion.safetensors")
    np.testing.assert_array_equal(
        Fusion.load(tmp_path / "fusion.safetensors").transform(documents), fusion.transform(documents)
    )


def test_a_new_entry_is_scored_with_each_alpha(made_up: str, tmp_path: Path) -> None:
    pytest.importorskip("mteb")
    rows = [f"text {i},other {i},{i % 6}" for i in range(24)]
    (tmp_path / "sts.csv").write_text("\n".join(["sentence1,sentence2,score", *rows]))
    section = {"methods": ["xRW", "RW"], "local": [str(tmp_path / "sts.csv")], "alpha": [0.5, 2.0]}
    board = score(parse_score_recipe({"score": section}), tmp_path, embedder=Embedder.of(HashEncoder(), tmp_path))
    assert board.variants == ["xRW 0.5", "xRW 2", "RW"]
    numbers = [board.tasks[0].score(label, "cosine_spearman") for label in board.variants]
    assert numbers == pytest.approx([numbers[2]] * 3, abs=1e-4)  # a cosine does not see a scale


@pytest.mark.usefixtures("made_up")
def test_a_new_entry_is_a_key_of_recipes_that_runs_estimate_and_compare(tiny_olmoe: Path, tmp_path: Path) -> None:
    (tmp_path / "posts.txt").write_text("\n".join(f"post number {i}" for i in range(30)))
    data = {"corpus": {"source": str(tmp_path / "posts.txt")}, "encoder": {"model": str(tiny_olmoe)}}
    memory = {
        method: estimate(
            parse_recipe({**data, "fusion": {"method": method}}), tmp_path / "store", trial=False
        ).fit_memory_bytes
        for method in METHODS
    }
    assert memory["scaled_routing"] == memory["routing_weights"] < memory["weighted_sum"]
    assert parse_methods("all")[-1] == "scaled_routing"


@pytest.mark.usefixtures("made_up")
def test_the_report_calls_a_new_entry_by_its_name_and_says_that_topics_lean_on_routing(tmp_path: Path) -> None:
    folder = small_run(tmp_path / "run")
    manifest = json.loads((folder / "run.json").read_text())
    pages = {}
    for method in ("scaled_routing", "hidden_states"):
        write_json(folder / "run.json", {**manifest, "fusion": {"method": method, "alpha": 2.0}})
        pages[method] = write_report(folder).read_text(encoding="utf-8")
    assert "embedding: scaled routing, alpha 2.0" in pages["scaled_routing"]
    assert "embedding: hidden states<" in pages["hidden_states"]
    assert ["by construction" in page for page in pages.values()] == [True, False]


def test_an_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'mean'.*weighted_sum"):
        fuse(embeddings(2), "mean")  # type: ignore[arg-type]
