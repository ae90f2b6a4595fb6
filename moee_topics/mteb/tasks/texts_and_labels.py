"""The texts and labels of a task: what an evaluation encodes, rows of clustering and of pairs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.errors import InputError
from moee_topics.messages import first_lines
from moee_topics.mteb.tasks.hub_retries import without_retries
from moee_topics.mteb.tasks.task_source import TaskSource, mteb
from moee_topics.progress import full_disk
from moee_topics.store import content_hash


def load(source: TaskSource) -> Any:
    """A fresh task with its data loaded.

    Raises:
        InputError: the data is neither on this machine nor to be had from the hub.
    """
    task = source.make()
    with without_retries(source) as why_not_asked:
        try:
            task.load_data()
        except (OSError, ValueError, RuntimeError) as error:
            if full := full_disk(error, "Then run the same command again."):
                raise full from error
            path = task.metadata.dataset["path"]
            reason = f" ({why_not_asked})" if why_not_asked else ""
            raise InputError(
                f"The data of the task {source.name} ({path}) is not on this machine and could not be fetched{reason}: "
                f"{type(error).__name__}: {first_lines(error)[:200]}. Run once with a network, copy the hub's cache "
                "(HF_HOME), leave the task out, or give a labelled file of your own as a local task."
            ) from error
    return task


@dataclass
class TextRecorder:
    """An encoder that remembers which texts mteb asks for, and answers with small vectors made of their hashes.

    A run of a task with it finds the texts that the task will encode, its own sampling included, at the cost of scoring
    a few dimensions: they can then be counted, encoded in one go, or taken as the corpus of a standardizer.
    """

    texts: dict[str, None] = field(default_factory=dict)
    dimensions: int = 4

    @property
    def mteb_model_meta(self) -> Any:
        """A ``ModelMeta`` for mteb; the recorder's results are never kept."""
        return mteb("models.model_meta").ModelMeta.create_empty(overwrites={"name": "moee-topics/recorder"})

    def encode(self, inputs: Iterable[Mapping[str, Any]], **kwargs: Any) -> NDArray[np.float32]:
        """Small vectors (N, dimensions) that depend on the texts."""
        texts = [text for batch in inputs for text in batch["text"]]
        self.texts.update(dict.fromkeys(texts))
        # Not random: mteb's k-means and classifiers must see different texts as different, and the same in each run.
        rows = [np.frombuffer(content_hash(text), dtype=np.uint16)[: self.dimensions] for text in texts]
        return (np.stack(rows) / 2**15 - 1).astype(np.float32)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of all pairs."""
        return mteb("similarity_functions").cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of corresponding rows."""
        return mteb("similarity_functions").pairwise_cos_sim(embeddings1, embeddings2)


def texts_of(source: TaskSource) -> list[str]:
    """The distinct texts that an evaluation of the task encodes, mteb's own sampling included, in its order.

    Raises:
        InputError: the data of the task cannot be had.
    """
    task = load(source)
    recorder = TextRecorder()
    with warnings.catch_warnings():
        # The scores of the recorder's vectors mean nothing, and neither do the warnings about them.
        warnings.simplefilter("ignore")
        for split in task.eval_splits:
            task.evaluate(recorder, split, encode_kwargs={"batch_size": 512, "show_progress_bar": False})
    return list(recorder.texts)


def clustering_rows(source: TaskSource, split: str = "test") -> tuple[list[str], list[int]]:
    """The documents of a clustering task and the number of their label, sets of older tasks one after the other.

    Hierarchical labels count at their first level; labels that repeat in several sets are the same.

    Raises:
        InputError: the data cannot be had.
    """
    task = load(source)
    rows = task.dataset[split]
    texts, labels = list(rows[task.input_column_name]), list(rows[task.label_column_name])
    if texts and isinstance(texts[0], list):
        texts, labels = ([item for part in column for item in part] for column in (texts, labels))
    names = [str(label[0] if isinstance(label, list) else label) for label in labels]
    number = {name: i for i, name in enumerate(sorted(set(names)))}
    return texts, [number[name] for name in names]


def pair_rows(source: TaskSource, split: str = "test") -> tuple[list[str], list[str], list[float]]:
    """The first texts, second texts and known scores of the pairs of an STS task.

    Raises:
        InputError: the data cannot be had.
    """
    task = load(source)
    rows = task.dataset[split]
    first, second = (list(rows[name]) for name in task.column_names)
    return first, second, [float(value) for value in rows["score"]]
