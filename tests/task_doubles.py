"""Labelled files as tasks, and an encoder whose scores are known by eye."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moee_topics.mteb.tasks import LocalTask, TextRecorder, load, local_task

mteb = pytest.importorskip("mteb")


ENCODE = {"batch_size": 64, "show_progress_bar": False}


class ByFirstWord:
    """An encoder whose vectors are known by eye: one axis per first word, and a little of the text's length."""

    words = ("cat", "dog", "sun", "car")
    mteb_model_meta = mteb.models.model_meta.ModelMeta.create_empty(overwrites={"name": "double/word"})

    def encode(self, inputs: Any, **kwargs: Any) -> np.ndarray:
        texts = [text for batch in inputs for text in batch["text"]]
        axes = [[float(text.split()[0] == word) for word in self.words] for text in texts]
        return np.array([[*axis, len(text) / 1000] for axis, text in zip(axes, texts, strict=True)], dtype=np.float32)

    similarity = TextRecorder.similarity
    similarity_pairwise = TextRecorder.similarity_pairwise


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def score(spec: LocalTask, model: Any = None) -> dict[str, Any]:
    task = load(local_task(spec))
    return dict(task.evaluate(model or ByFirstWord(), "test", encode_kwargs=ENCODE)["default"])


def task_rows(tmp_path: Path, rows: list[dict[str, Any]], kind: Any) -> Any:
    return local_task(LocalTask(kind, write(tmp_path / "rows.jsonl", rows)))
