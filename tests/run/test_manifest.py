"""The manifest of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bag_of_words import THEMES
from tiny_runs import DOCUMENTS, recipe_of

from moee_topics import run as pipeline
from moee_topics.errors import InputError
from moee_topics.run import corpus_like, report
from moee_topics.run.manifest import remembered_store
from moee_topics.run_folder import RunFolder


def test_the_manifest_says_what_was_done(finished: Path, corpus: Path) -> None:
    manifest = RunFolder(finished / "run").manifest
    assert manifest["finished"] is not None and manifest["created"] <= manifest["finished"]
    assert manifest["seed"] == 42 and manifest["recipe"]["umap"]["n_epochs"] == 20
    assert {"python", "moee_topics", "torch", "transformers", "bertopic"} <= set(manifest["versions"])
    facts = manifest["corpus"]
    assert (facts["source"], facts["documents"], facts["labels"]) == (str(corpus), DOCUMENTS, 4)
    assert facts["label_names"] == sorted(THEMES)
    assert facts["timestamps"] == ["2024-01-01T00:00:00", "2024-01-28T00:00:00"]
    assert facts["documents_cut"] > 0 and facts["tokens_lost"] > 0 and facts["tokens"] <= 32 * DOCUMENTS
    encoder = manifest["encoder"]
    assert (encoder["family"], encoder["layers"], encoder["experts"], encoder["hidden_size"]) == ("olmoe", 2, 8, 64)
    assert encoder["arithmetic"] == f"{encoder['dtype']}: 8-bit integers save nothing at a hidden size of 64"
    assert manifest["fusion"]["dimensions"] == 64 + 2 * 8
    names = [stage["name"] for stage in manifest["stages"]]
    assert names == ["embed", "fuse", "topics", "scores", "experts", "relations"]
    assert manifest["peak_memory_bytes"] > 50e6
    assert manifest["store"] == "../store"
    assert set(manifest["hashes"]) == {"corpus", "store", "recipe"}


@pytest.mark.parametrize("recipe", ["x", ["corpus"], {"corpus": "x", "report": 3}])
def test_a_damaged_recipe_in_a_manifest_without_digest_is_told(tmp_path: Path, recipe: Any) -> None:
    run = RunFolder(tmp_path)
    RunFolder.manifest.write(run, {"recipe": recipe})
    run.digests.path.unlink()
    for read in (lambda: corpus_like(tmp_path, "docstrings"), lambda: report(tmp_path)):
        with pytest.raises(InputError, match=r"run\.json is damaged: recipe\..*Make it again with: moee-topics run"):
            read()


def test_what_signs_an_address_is_in_no_file_of_the_run(
    tiny_olmoe: Path, tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moee_topics.corpus.sources.local_copy", lambda url: corpus)
    address = "https://me:hush@host/posts.jsonl?X-Amz-Signature=secret"
    recipe = recipe_of(corpus, tiny_olmoe, f"corpus.source={address}", "report.html=true")
    run = pipeline.run(recipe, tmp_path / "run", tmp_path / "store")
    assert (
        run.manifest["recipe"]["corpus"]["source"] == run.manifest["corpus"]["source"] == "https://host/posts.jsonl?…"
    )
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [blob for blob in files if b"secret" in blob or b"hush" in blob]
    monkeypatch.undo()
    with pytest.raises(InputError, match="Give all of it"):
        pipeline.update(run.path)


@pytest.mark.parametrize(
    ("store", "remembered"),
    [
        ("/data/runs/store", "../store"),
        ("/data/runs/../stores/x", "../../stores/x"),
        ("/data/runs/posts/own", "own"),
        ("/shared/store", "/shared/store"),
    ],
)
def test_a_store_is_remembered_as_seen_from_its_run_unless_it_is_elsewhere(store: str, remembered: str) -> None:
    assert remembered_store(Path(store), Path("/data/runs/posts")) == remembered
