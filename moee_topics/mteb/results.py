"""Results of earlier evaluations, in mteb's own layout, so that mteb's tools read them and nothing is scored twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from moee_topics.errors import import_extra
from moee_topics.mteb.board import Scores
from moee_topics.mteb.tasks import SHUFFLED, VersionedTask
from moee_topics.store import write_bytes


class Results:
    """mteb's ``ResultCache`` in a folder, with what it does not look after.

    Attributes:
        cache: to be handed to ``mteb.evaluate``.
    """

    def __init__(self, folder: Path) -> None:
        self.cache: Any = import_extra("mteb", "mteb").ResultCache(folder)

    def load(self, task: VersionedTask, meta: Any) -> Scores | None:
        """The scores of vectors on a task, or None where they are to be computed.

        Args:
            task: with the version of its data.
            meta: the ``ModelMeta`` of the vectors.
        """
        try:
            result = self.cache.load_task_result(task.name, meta)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # a damaged file; it is written anew
        # mteb takes a complete result for valid even if the data has changed since.
        if result is None or result.dataset_revision != task.revision:
            return None
        scores = scores_of(result.scores)
        # Clusterings without the control were scored by version 0.1.0, whose AMI and ARI were not corrected.
        is_old = task.source.type == "Clustering" and f"v_measure{SHUFFLED}" not in scores
        return None if is_old else scores

    def keep(self, task: VersionedTask, meta: Any) -> Scores:
        """Makes what mteb has just written survive a power cut, and reads it back."""
        path = self.cache.get_task_result_path(model_name=meta, task_name=task.name)
        for file in (path, *path.parent.glob("model_meta.json")):
            # mteb writes without a sync, and in place: until here a cut leaves half a file.
            write_bytes(file, file.read_bytes())
        # Read back, because mteb rounds what it writes: a run that was resumed must give the same numbers.
        return scores_of(json.loads(path.read_text("utf-8"))["scores"])


def scores_of(splits: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an mteb result, by name: the mean over its splits and subsets."""
    entries = [entry for split in splits.values() for entry in split]
    names = [
        name for name, value in entries[0].items() if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return {name: float(np.mean([entry[name] for entry in entries])) for name in names}
