from __future__ import annotations

import base64
import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from page_parser import Scripts, unpacked
from small_run import HOSTILE, bare_run, small_run, write_json

from moee_topics.report import write_report
from moee_topics.report.page_data import documents_data, embedded_json, label_names, rows_on_page
from moee_topics.run_folder import RunFolder
from moee_topics.topics.result import TopicResult


def test_every_document_is_in_the_report_with_its_topic(run: Path) -> None:
    documents = unpacked(write_report(run).read_text(encoding="utf-8"))
    result = TopicResult.load(run)
    assert documents["texts"] == list(result.texts)
    assert documents["topics"] == result.topics.tolist()
    assert documents["cut"] == []


@pytest.mark.parametrize("text", [*HOSTILE, "a & b", "\u2028\u2029", "<!--<script>"])
def test_embedded_json_says_the_same_and_closes_nothing(text: str) -> None:
    embedded = embedded_json({"text": text})
    assert json.loads(embedded) == {"text": text}
    assert not set(embedded) & set("<>&\u2028\u2029")


def test_distances_of_the_hierarchy_may_be_a_little_below_nothing(tmp_path: Path) -> None:
    """1 - cos of equal float32 vectors is -1e-7; runs of 0.1.0 that got through have such files."""
    folder = small_run(tmp_path / "run")
    rows = [{"parent": 4, "left": 0, "right": 1, "distance": -1.2e-7, "name": "x"}]
    write_json(folder / "hierarchy.json", rows)
    first = json.loads(Scripts(write_report(folder).read_text(encoding="utf-8")).payload("first"))
    assert first["hierarchy"] == [[4, 0, 1, 0, "x"]]


def test_a_large_corpus_is_cut_to_fit_the_file_the_longest_texts_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moee_topics.report.page_data.TEXT_BYTES", 20_000)
    texts = ["short text"] * 500 + [f"{'long text ' * 150}{i}" for i in range(100)]
    packed, longest = documents_data(RunFolder.read(bare_run(tmp_path / "run", texts)))
    documents = json.loads(gzip.decompress(base64.b64decode(packed)))
    assert documents["texts"][:500] == texts[:500]
    assert longest == 150 and {len(text) for text in documents["texts"][500:]} <= set(range(140, 151))
    assert documents["cut"] == list(range(500, 600))
    page = write_report(tmp_path / "run").read_text(encoding="utf-8")
    assert "at most 150 characters" in page


def test_of_a_very_large_corpus_the_page_holds_a_sample_with_all_that_is_named(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = RunFolder.read(run)
    named = {row for topic in loaded.result.topic_info for row in topic.representative_docs}
    monkeypatch.setattr("moee_topics.report.page_data.MOST_DOCUMENTS", len(loaded.result) - 1)
    monkeypatch.setattr("moee_topics.report.page_data.DOCUMENTS_OF_LARGE", 20)
    rows = rows_on_page(loaded)
    assert named <= set(rows.tolist()) and 20 <= len(rows) < len(loaded.result)
    page = write_report(run).read_text(encoding="utf-8")
    documents, first = unpacked(page), json.loads(Scripts(page).payload("first"))
    assert documents["texts"] == [loaded.result.texts[row] for row in rows]
    assert documents["topics"] == loaded.result.topics[rows].tolist()
    for topic, shown in zip(loaded.result.topic_info, first["topics"], strict=True):
        assert [documents["texts"][place] for place in shown["rows"]] == loaded.result.documents_of(
            topic.topic, len(topic.representative_docs)
        )
        assert shown["count"] == topic.count, "counts are those of all documents"
    places = np.frombuffer(base64.b64decode(first["map"]["row"]), dtype=np.uint32)
    assert places.max() < len(rows)
    if loaded.experts:
        for user, kept in zip(loaded.experts.expert_documents, documents["experts"]["expert_documents"], strict=True):
            assert [documents["ids"][place] for place in kept["rows"]] == [loaded.result.ids[row] for row in user.rows]
    assert f"holds {len(rows)} of the {len(loaded.result)} documents" in page


def test_a_representative_document_keeps_more_of_its_text(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moee_topics.report.page_data.TEXT_BYTES", 100)
    monkeypatch.setattr("moee_topics.report.page_data.SHORTEST_TEXT", 12)
    loaded = RunFolder.read(run)
    packed, longest = documents_data(loaded)
    texts = json.loads(gzip.decompress(base64.b64decode(packed)))["texts"]
    whole = {row for topic in loaded.result.topic_info for row in topic.representative_docs}
    assert longest == 12
    assert all(len(text) <= 12 or row in whole for row, text in enumerate(texts))
    assert all(texts[row] == loaded.result.texts[row] for row in whole)


def test_labels_with_numbers_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    run = RunFolder(bare_run(tmp_path, ["one"] * 5))
    labels = ["part 10", "part 9", "", "a", "2"]
    RunFolder.result.write(run, replace(run.result, labels=labels))
    assert label_names(RunFolder.read(tmp_path)) == ["2", "a", "part 9", "part 10"]
