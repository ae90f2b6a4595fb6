"""Labelled files as tasks of mteb: sampled, numbered, named by their content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from task_doubles import score, write

from moee_topics.errors import InputError
from moee_topics.mteb.tasks import LocalTask, TextRecorder, load, local_task, texts_of
from moee_topics.mteb.tasks.local import task_name

DATA = Path(__file__).parents[3] / "../shared/data"


def test_clusters_that_an_encoder_tells_apart_score_one(labelled: Path) -> None:
    scores = score(LocalTask("Clustering", labelled))
    assert [round(scores[name], 6) for name in ("v_measure", "ami", "ari", "main_score")] == [1, 1, 1, 1]


def test_a_fresh_task_scores_the_same_each_time(labelled: Path) -> None:
    first, second = (score(LocalTask("Clustering", labelled), TextRecorder()) for _ in range(2))
    assert first == second
    assert 0 < first["v_measure"] < 1


def test_title_and_abstract_make_a_paragraph_task(labelled: Path) -> None:
    titles = local_task(LocalTask(None, labelled))
    both = local_task(LocalTask(None, labelled, text=("text", "body")))
    assert (titles.name.endswith("ClusteringS2S"), both.name.endswith("ClusteringP2P")) == (True, True)
    assert texts_of(both)[0] == "cat 0 more 0"


def test_a_changed_file_is_another_revision(labelled: Path) -> None:
    first = local_task(LocalTask("Clustering", labelled)).make().metadata.revision
    assert local_task(LocalTask("Clustering", labelled)).make().metadata.revision == first
    labelled.write_text(labelled.read_text() + '\n{"text": "new", "label": "cat"}')
    assert local_task(LocalTask("Clustering", labelled)).make().metadata.revision != first


def test_rows_without_text_or_label_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"text": "cat", "label": 1}, {"text": " ", "label": 1}, {"text": "dog", "label": None}]
    source = local_task(LocalTask(None, write(tmp_path / "x.jsonl", [*rows, {"text": "sun", "label": -1}])))
    assert source.left_out == 2
    assert sorted(load(source).dataset["test"]["labels"]) == [0, 1]


@pytest.mark.parametrize(
    ("rows", "kind", "message"),
    [
        ([{"a": 1}], None, "fit no task type"),
        ([{"text": "x"}], "Clustering", "no column label"),
        ([{"text": "x", "label": "a"}, {"text": "y", "label": "a"}], "Clustering", "one label only"),
        (
            [{"sentence1": "x", "sentence2": "y", "score": "high"}],
            "STS",
            "line 1: the score is 'high'",
        ),
        ([{"sentence1": "x", "sentence2": "y", "score": 1}] * 3, "STS", "the same"),
        ([{"sentence1": "x", "sentence2": "y", "label": 2}], "PairClassification", "binary labels are 0 and 1"),
        ([{"query": "x", "positive": [], "negative": ["y"]}], "Reranking", "both a relevant candidate"),
        ([{"text": "x", "label": "a"}], "Classification", "train=FILE"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, rows: list[dict[str, Any]], kind: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        local_task(LocalTask(kind, write(tmp_path / "bad.jsonl", rows)))


def test_test_rows_of_a_class_without_training_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", [{"text": f"t{i}", "label": "ab"[i % 2]} for i in range(20)])
    rows = [{"text": f"x{i}", "label": "abc"[i % 3]} for i in range(9)]
    source = local_task(LocalTask(None, write(tmp_path / "test.jsonl", rows), train=train))
    assert source.left_out == 3 and len(load(source).dataset["test"]) == 6


def test_a_fault_of_the_training_file_names_that_file(tmp_path: Path, labelled: Path) -> None:
    train = write(tmp_path / "train.jsonl", [{"text": "t", "label": ["a"]}] * 2)
    with pytest.raises(InputError, match=r"train\.jsonl, line 1: the label is a list"):
        local_task(LocalTask(None, labelled, train=train))
    with pytest.raises(InputError, match=r"train\.jsonl has no column label"):
        local_task(LocalTask(None, labelled, train=write(train, [{"text": "t"}])))


@pytest.mark.parametrize("file", ["a.b.jsonl", "a.b.ndjson.zst", "a.b.CSV", "a.b.tsv.zip", "a.b.xlsx", "a.b.parquet"])
def test_the_name_of_a_task_has_no_ending_of_its_file(tmp_path: Path, file: str) -> None:
    assert task_name(LocalTask("STS", tmp_path / "sets" / file), "STS") == "sets-a-b-STS"


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/b", "a\\b", "a\0b", "a\n", ".", "n" * 201, "NUL", "com1.x"])
def test_a_task_has_a_name_and_no_path(name: str, labelled: Path) -> None:
    with pytest.raises(InputError, match="cannot have the name"):
        local_task(LocalTask("Clustering", labelled, name=name))


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        (LocalTask(None, DATA / "arxiv_clustering/archives.jsonl.gz", sample=80), "Clustering"),
        (LocalTask(None, DATA / "biosses/data.jsonl.gz"), "STS"),
        (LocalTask(None, DATA / "mrpc/test.jsonl.gz", sample=60), "PairClassification"),
        (LocalTask(None, DATA / "trecqa_rerank/dev.jsonl.gz", sample=8), "Reranking"),
        (LocalTask("Retrieval", DATA / "trecqa_rerank/dev.jsonl.gz", sample=8), "Retrieval"),
        (LocalTask(None, DATA / "emotion/test.jsonl.gz", train=DATA / "emotion/validation.jsonl.gz", sample=80),
         "Classification"),
        (LocalTask(None, DATA / "summeval/data.jsonl.gz", sample=4), "Summarization"),
    ],
)  # fmt: skip
def test_real_data_of_every_type_is_a_task(spec: LocalTask, kind: str) -> None:
    if not spec.file.is_file():
        pytest.skip(f"{spec.file} is not here")
    source = local_task(spec)
    assert source.type == kind
    scores = score(spec, TextRecorder())
    assert np.isfinite(scores[source.main_score])
    assert texts_of(source)
