"""Results of earlier evaluations, in mteb's own layout, so that mteb's tools read them and nothing is scored twice."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from moee_topics.errors import InputError, import_extra
from moee_topics.mteb.board import Scores
from moee_topics.mteb.tasks import WITH_LABELS_SHUFFLED, VersionedTask
from moee_topics.run_folder import Digests
from moee_topics.store import read_json, write_bytes

SETTINGS = "run_settings.jsonl"
"""What mteb writes down of each run; it adds to the file that is there."""


class Results:
    """mteb's ``ResultCache`` in a folder, with what it does not look after.

    Attributes:
        cache: to be handed to ``mteb.evaluate``.
    """

    def __init__(self, folder: Path) -> None:
        self.cache: Any = whole_or_absent(folder)
        self._digests = Digests(folder)

    def load(self, task: VersionedTask, meta: Any) -> Scores | None:
        """The scores of vectors on a task, or None where they are to be computed.

        Args:
            task: with the version of its data.
            meta: the ``ModelMeta`` of the vectors.
        """
        try:
            # A flipped bit can leave JSON that is a result, with another number.
            if self._digests.damaged(self.cache.get_task_result_path(model_name=meta, task_name=task.name)):
                return None
            result = self.cache.load_task_result(task.name, meta)
        except (InputError, OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # a damaged file; it is written anew
        # mteb takes a complete result for valid even if the data has changed since.
        if result is None or result.dataset_revision != task.revision:
            return None
        scores = scores_of(result.scores)
        # Clusterings without the control were scored by version 0.1.0, whose AMI and ARI were not corrected.
        is_old = task.source.type == "Clustering" and f"v_measure{WITH_LABELS_SHUFFLED}" not in scores
        return None if is_old else scores

    def read_back(self, task: VersionedTask, meta: Any) -> Scores:
        """The scores that mteb has just written, as it rounds them: a resumed run must give the same numbers."""
        path = self.cache.get_task_result_path(model_name=meta, task_name=task.name)
        return scores_of(read_json(path, kind=dict)["scores"])


def whole_or_absent(folder: Path) -> Any:
    """A ``ResultCache`` of mteb in a folder, whose files are written by the one writer."""
    mteb = import_extra("mteb", "mteb")

    class WholeFiles(mteb.ResultCache):  # type: ignore[misc,name-defined]
        def save_to_cache(self, task_result: Any, model_name: Any, model_revision: Any = None, **options: Any) -> None:
            names = {"model_name": model_name, "model_revision": model_revision, "task_name": task_result.task_name}
            path = self.get_task_result_path(**names)
            # mteb 2.x writes in place and without a sync, so a cut leaves half a file: it writes elsewhere here.
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as aside:
                elsewhere = mteb.ResultCache(aside)
                copy = elsewhere.get_task_result_path(**names)
                copy.parent.mkdir(parents=True)
                if path.with_name(SETTINGS).is_file():
                    shutil.copyfile(path.with_name(SETTINGS), copy.with_name(SETTINGS))
                elsewhere.save_to_cache(task_result, model_name, model_revision, **options)
                # The result comes last, since a task counts as scored once it is there.
                with Digests(folder).changing(path):
                    for file in sorted(copy.parent.iterdir(), key=lambda file: file == copy):
                        write_bytes(path.with_name(file.name), file.read_bytes())

    return WholeFiles(folder)


def scores_of(splits: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an mteb result, by name: the mean over its splits and subsets."""
    entries = [entry for split in splits.values() for entry in split]
    names = [
        name for name, value in entries[0].items() if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return {name: float(np.mean([entry[name] for entry in entries])) for name in names}
