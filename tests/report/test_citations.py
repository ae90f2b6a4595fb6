from __future__ import annotations

from pathlib import Path

import pytest
from small_run import bare_run, write_json

from moee_topics.report.citations import REFERENCES, references
from moee_topics.run_folder import RunFolder


@pytest.mark.parametrize(
    ("model", "cited"),
    [
        ("allenai/OLMoE-1B-7B-0924", "arXiv:2409.02060"),
        ("Qwen/Qwen3-30B-A3B", "arXiv:2407.10671"),
        ("deepseek-ai/deepseek-moe-16b-base", "arXiv:2401.06066"),
    ],
)
def test_a_run_cites_the_model_it_was_read_by(tmp_path: Path, model: str, cited: str) -> None:
    write_json(bare_run(tmp_path, ["text"]) / "run.json", {"encoder": {"model": model}})
    works = references(RunFolder.read(tmp_path))
    assert cited in {identifier for _, identifier, _ in works} and len(works) == len(REFERENCES) + 1


def test_a_model_without_a_paper_is_named_and_a_run_without_a_model_cites_the_methods(tmp_path: Path) -> None:
    folder = bare_run(tmp_path, ["text"])
    assert len(references(RunFolder.read(folder))) == len(REFERENCES)
    write_json(folder / "run.json", {"encoder": {"model": "pocket"}})
    assert any("The model pocket" in work for work, _, _ in references(RunFolder.read(folder)))


@pytest.mark.parametrize(
    ("cluster", "of_umap", "cites_hdbscan"),
    [
        ({"method": "hdbscan", "reducer": "umap"}, "the reduction and the map", True),
        ({"method": "fast_hdbscan", "reducer": "pca"}, "the map", True),
        ({"method": "kmeans", "reducer": "none"}, "the map", False),
    ],
)
def test_a_run_cites_the_clusters_and_the_reduction_that_it_was_made_by(
    tmp_path: Path, cluster: dict[str, str], of_umap: str, cites_hdbscan: bool
) -> None:
    write_json(bare_run(tmp_path, ["text"]) / "run.json", {"recipe": {"cluster": cluster}})
    purposes = {identifier: purpose for _, identifier, purpose in references(RunFolder.read(tmp_path))}
    assert purposes[REFERENCES["umap"][1]] == of_umap and (REFERENCES["hdbscan"][1] in purposes) == cites_hdbscan
