"""What Embedding Atlas reads: https://apple.github.io/embedding-atlas/tool.html."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_run import bare_run

from moee_topics.report import export_report
from moee_topics.report.atlas_export import NEIGHBORS, neighbors_of_documents
from moee_topics.run_folder import RunFolder


def test_every_document_is_a_point_with_topic_and_neighbours(fitted: Path, tmp_path: Path) -> None:
    points, labels = (pq.read_table(path) for path in export_report(fitted, ["atlas"], tmp_path))
    run = RunFolder.read(fitted)
    assert points["text"].to_pylist() == list(run.result.texts) and len(points) == len(run.result)
    places = np.column_stack([points["projection_x"], points["projection_y"]])
    assert np.array_equal(places, run.positions)
    assert pa.types.is_timestamp(points.schema.field("timestamp").type)
    assert {name.split(":")[0] for name in points["topic"].to_pylist()} - {"Outliers"} == {
        str(topic.topic) for topic in run.ranked_topics
    }
    assert labels["text"].to_pylist()[0] in points["topic"].to_pylist()[run.result.topics.tolist().index(0)]
    assert labels["priority"].to_pylist() == [topic.count for topic in run.ranked_topics]
    assert labels["content"] == labels["text"] and set(labels["level"].to_pylist()) == {0}


def test_neighbours_are_the_nearest_rows_by_cosine(fitted: Path) -> None:
    run = RunFolder.read(fitted)
    vectors = run.model.voters.vectors.astype(np.float32)
    rows, neighbors = run.model.voters.rows, neighbors_of_documents(run)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    for place, row in enumerate(rows[:20].tolist()):
        found, expected = neighbors[row], np.sort(1 - cosines[place])[:NEIGHBORS]
        assert row not in found["ids"] and len(set(found["ids"])) == len(found["ids"])
        assert np.allclose(found["distances"], expected, atol=1e-4)
        own = [cosines[place, rows.tolist().index(other)] for other in found["ids"]]
        assert np.allclose(1 - np.array(own), expected, atol=1e-4)


def test_a_run_without_a_model_has_points_without_neighbours(tmp_path: Path) -> None:
    points, labels = (pq.read_table(path) for path in export_report(bare_run(tmp_path, ["a", "b"]), ["atlas"]))
    assert "neighbors" not in points.column_names and labels["x"].to_pylist() == [0.5]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("embedding-atlas") is None, reason="needs the package embedding-atlas")
def test_embedding_atlas_serves_it(fitted: Path, tmp_path: Path) -> None:
    points, labels = export_report(fitted, ["atlas"], tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    columns = ["--text", "text", "--x", "projection_x", "--y", "projection_y", "--neighbors", "neighbors"]
    command = ["embedding-atlas", str(points), *columns, "--labels", str(labels), "--port", str(port)]
    server = subprocess.Popen(command, start_new_session=True)
    try:
        for _ in range(120):
            time.sleep(1)
            assert server.poll() is None
            try:
                with urllib.request.urlopen(f"http://localhost:{port}/data/metadata.json") as answer:
                    props = json.load(answer)["props"]
                    assert props["data"]["projection"]["x"] == "projection_x"
                    assert all(label["content"] == label["text"] for label in props["embeddingViewLabels"])
                return
            except OSError:
                continue
        pytest.fail("it did not answer")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
