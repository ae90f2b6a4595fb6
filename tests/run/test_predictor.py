"""New documents through a finished run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import recipe_of, write_corpus

from moee_topics import run as pipeline
from moee_topics.corpus import CorpusSettings, open_corpus
from moee_topics.errors import InputError, ModelError
from moee_topics.run.fit_stage import fused
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import RunFolder


def test_predict_gives_every_new_document_a_topic_of_the_run(finished: Path, tmp_path: Path) -> None:
    new = open_corpus(CorpusSettings(str(write_corpus(tmp_path / "new.jsonl", 10, first=1000))))
    rows = list(pipeline.predict(finished / "run", new))
    assert [row.id for row in rows] == [f"d{number}" for number in range(1000, 1010)]
    info = json.loads((finished / "run" / "topic_info.json").read_text())
    names = {topic["topic"]: topic["name"] for topic in info}
    assert all(row.topic == -1 or names[row.topic] == row.name for row in rows)
    assert all(0 <= row.probability <= 1 for row in rows)


def test_predict_of_the_run_s_own_corpus_is_the_fit(finished: Path, corpus: Path) -> None:
    own = RunFolder(finished / "run").result
    rows = list(pipeline.predict(finished / "run", open_corpus(CorpusSettings(str(corpus)))))
    assert [row.topic for row in rows] == own.topics.tolist() and all(row.fitted for row in rows)


def test_predict_uses_the_vectors_of_the_fit(finished: Path, corpus: Path, tiny_olmoe: Path) -> None:
    texts = [document.text for document in open_corpus(CorpusSettings(str(corpus), limit=10))]
    fresh = pipeline.Predictor.load(finished / "run").vectors(texts)
    texts = [document.text for document in open_corpus(CorpusSettings(str(corpus)))]
    _, fitted = fused(Workspace(recipe_of(corpus, tiny_olmoe), finished / "run", finished / "store"), texts)
    assert np.allclose(fresh, fitted[:10], atol=1e-3)


def test_predict_reads_several_prompts_as_the_fit_did(corpus: Path, tiny_olmoe: Path, tmp_path: Path) -> None:
    several = ('encoder.prompt=""', 'encoder.prompts=[none, "a {text}"]', "encoder.combine_prompts=concat")
    recipe = recipe_of(corpus, tiny_olmoe, *several)
    run = pipeline.run(recipe, tmp_path / "run", tmp_path / "store")
    assert run.encoder["key"]["prompts"] == ["{text}", "a {text}"] == run.manifest["encoder"]["templates"]
    rows = list(pipeline.predict(run.path, open_corpus(CorpusSettings(str(corpus)))))
    assert [row.topic for row in rows] == run.result.topics.tolist()
    texts = [document.text for document in open_corpus(CorpusSettings(str(corpus)))]
    _, fitted = fused(Workspace(recipe, run.path, tmp_path / "store"), texts)
    # Not to the last bit: the fit read them in other packs.
    assert np.allclose(pipeline.Predictor.load(run.path).vectors(texts[:10]), fitted[:10], atol=1e-3)


def test_predict_does_not_depend_on_the_other_documents(finished: Path, tmp_path: Path) -> None:
    documents = list(open_corpus(CorpusSettings(str(write_corpus(tmp_path / "new.jsonl", 6, first=500)))))
    together = list(pipeline.predict(finished / "run", documents))
    alone = [row for document in documents for row in pipeline.predict(finished / "run", [document])]
    assert [(row.id, row.topic) for row in together] == [(row.id, row.topic) for row in alone]


def test_predict_with_another_model_in_the_folder_is_refused(root: Path, tmp_path: Path, tiny_olmoe: Path) -> None:
    other = Path(shutil.copytree(tiny_olmoe, tmp_path / "model"))
    weights = sorted(other.glob("*.safetensors"))[0]
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    run = RunFolder(root / "run")
    run.encoder["options"]["model"] = str(other)
    RunFolder.encoder.write(run, run.encoder)
    with pytest.raises(ModelError, match="revision differ"):
        list(pipeline.predict(root / "run", open_corpus(CorpusSettings(str(write_corpus(tmp_path / "t.jsonl", 2))))))


def test_predict_of_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished run"):
        list(pipeline.predict(tmp_path, []))


@pytest.mark.slow
def test_each_of_many_small_topics_is_predicted_for_its_own_documents(tmp_path: Path, tiny_olmoe: Path) -> None:
    """One case users have: of 60 topics of 400 documents, 11 were never predicted."""
    corpus = write_corpus(tmp_path / "posts.jsonl", 400)
    run = pipeline.run(
        recipe_of(corpus, tiny_olmoe, "hdbscan.min_cluster_size=3"), tmp_path / "run", tmp_path / "store"
    )
    predicted = pipeline.predict(tmp_path / "run", open_corpus(CorpusSettings(str(corpus))))
    topics = run.result.topics.tolist()
    assert [row.topic for row in predicted] == topics and len(set(topics)) > 20
