"""The vectors of a large corpus on disk: streamed, found again, made again where they are lost, and used by all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_runs import DOCUMENTS, Heard, contents, recipe_of, write_corpus

from moee_topics import run as pipeline
from moee_topics.errors import Interrupted
from moee_topics.fuse import Fusion, Reduction
from moee_topics.recipe import load_recipe
from moee_topics.run.reduce_stage import ReduceStage
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import RunFolder

REDUCED = "reduce.dimensions=6"


def test_vectors_are_those_of_the_fusion_by_the_components_of_all(root: Path, corpus: Path, tiny_olmoe: Path) -> None:
    run = pipeline.run(recipe_of(corpus, tiny_olmoe, REDUCED), root / "run", root / "store")
    work = Workspace(recipe_of(corpus, tiny_olmoe), root / "other", root / "store")
    blocks = list(work.embedder.stored_blocks(work.survey.hash_list()))
    plain = work.recipe.fusion.fit(blocks)
    X = np.concatenate([plain.transform(block) for block in blocks])
    expected = Reduction.fit([X], 6).transform(X)
    assert isinstance(run.vectors, np.memmap) and run.vectors.shape == (DOCUMENTS, 6)
    np.testing.assert_allclose(run.vectors, expected, atol=1e-4)
    assert run.fusion == plain and run.model.voters.vectors.shape[1] == 6
    assert run.manifest["fusion"]["dimensions"] == 6
    assert "reduce" in [stage["name"] for stage in run.manifest["stages"]]


def test_new_documents_are_reduced_as_those_of_the_fit(root: Path, corpus: Path, tiny_olmoe: Path) -> None:
    run = pipeline.run(recipe_of(corpus, tiny_olmoe, REDUCED), root / "run", root / "store")
    predicted = list(pipeline.predict(root / "run", pipeline.corpus_like(root / "run", str(corpus))))
    assert [one.topic for one in predicted] == run.result.topics.tolist() and all(one.fitted for one in predicted)


def test_it_is_done_once_and_again_where_its_file_is_lost(
    root: Path, corpus: Path, tiny_olmoe: Path, no_model: None
) -> None:
    recipe = recipe_of(corpus, tiny_olmoe, REDUCED)
    pipeline.run(recipe, root / "run", root / "store")
    before, heard = contents(root / "run"), Heard()
    pipeline.run(recipe, root / "run", root / "store", progress=heard)
    assert heard.skipped == ["embed", "reduce", "fit"]
    (root / "run" / "vectors.npy").unlink()
    pipeline.run(recipe, root / "run", root / "store", progress=(heard := Heard()))
    assert heard.skipped == ["embed"] and contents(root / "run") == before
    pipeline.run(recipe_of(corpus, tiny_olmoe, REDUCED, "hdbscan.min_cluster_size=5"), root / "run", root / "store",
                 progress=(heard := Heard()))  # fmt: skip
    assert heard.skipped == ["embed", "reduce"]


def test_a_run_without_it_takes_its_files_away_and_is_as_ever(
    root: Path, corpus: Path, tiny_olmoe: Path, no_model: None
) -> None:
    before = contents(root / "run")
    pipeline.run(recipe_of(corpus, tiny_olmoe, REDUCED), root / "run", root / "store")
    assert {"vectors.npy", "reduction.safetensors"} <= set(contents(root / "run"))
    pipeline.run(recipe_of(corpus, tiny_olmoe), root / "run", root / "store")
    assert contents(root / "run") == before


def test_stopped_in_the_middle_it_leaves_no_half_file(
    root: Path, corpus: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, passes = recipe_of(corpus, tiny_olmoe, REDUCED), 0
    whole = Fusion.transform

    def stops(self: Fusion, *args: object) -> np.ndarray:
        nonlocal passes
        passes += self.reduction is not None
        if passes == 1:
            raise KeyboardInterrupt
        return whole(self, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Fusion, "transform", stops)
        pipeline.run(recipe, root / "run", root / "store")
    assert not RunFolder.vectors.exists(RunFolder(root / "run")) and not list((root / "run").glob("*.tmp"))
    again = pipeline.run(recipe, root / "run", root / "store")
    assert again.vectors.shape == (DOCUMENTS, 6)


@pytest.mark.parametrize(
    ("overrides", "dimensions"),
    [
        ((), None),
        (("large.documents=79",), 100),
        (("large.documents=80",), None),
        (("large.documents=0",), None),
        (("large.documents=79", "reduce.dimensions=null"), None),
        ((REDUCED,), 6),
    ],
)
def test_only_a_large_corpus_is_reduced_unless_a_number_is_said(
    tmp_path: Path, corpus: Path, tiny_olmoe: Path, overrides: tuple[str, ...], dimensions: int | None
) -> None:
    work = Workspace(recipe_of(corpus, tiny_olmoe, *overrides), tmp_path / "run", tmp_path / "store")
    assert work.reduced_dimensions == dimensions
    assert ReduceStage().is_wanted(work) == (dimensions is not None)


def test_updates_go_on_in_the_space_of_the_run(root: Path, corpus: Path, tiny_olmoe: Path) -> None:
    recipe = recipe_of(corpus, tiny_olmoe, REDUCED)
    pipeline.run(recipe, root / "run", root / "store")
    more = write_corpus(root / "more.jsonl", 12, first=DOCUMENTS)
    for policy in ("assign", "grow", "refit"):
        updated = pipeline.update(root / "run", [str(more)], policy, store=root / "store").run
        assert updated.model.voters.vectors.shape[1] == 6
        more = write_corpus(root / "more.jsonl", 12, first=DOCUMENTS + 12)
    assert len(updated.vectors) == len(updated.result)


def test_words_are_reduced_with_the_rest(root: Path, corpus: Path, tiny_olmoe: Path) -> None:
    recipe = recipe_of(corpus, tiny_olmoe, REDUCED, "fusion.lexical=1", "topics.representation=keybert")
    run = pipeline.run(recipe, root / "run", root / "store")
    assert run.vectors.shape == (DOCUMENTS, 6) and run.fusion.lexicon is not None
    assert load_recipe("quickstart").reduce.dimensions == "auto"
