"""The manifest of a run."""

from __future__ import annotations

from pathlib import Path

from bag_of_words import THEMES
from tiny_runs import DOCUMENTS

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
    assert manifest["fusion"]["dimensions"] == 64 + 2 * 8
    names = [stage["name"] for stage in manifest["stages"]]
    assert names == ["embed", "fuse", "topics", "scores", "experts", "relations"]
    assert manifest["peak_memory_bytes"] > 50e6
    assert set(manifest["hashes"]) == {"corpus", "store", "recipe"}
