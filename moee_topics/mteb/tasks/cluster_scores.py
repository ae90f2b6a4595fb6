"""AMI and ARI for the clustering tasks of mteb, and what all scores come to when the labels are shuffled.

mteb's newer tasks cluster bootstrap samples. A sample drawn with replacement holds the same document several times, and
copies of a document always agree: with random vectors, 60 documents and 20 random labels its AMI is 39 percent, not 0.
So ours are of one k-means on the different documents; V-measure is mteb's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

WITH_LABELS_SHUFFLED = "_shuffled"
"""Ends the name of a score that was worked out for shuffled labels."""
SHUFFLES = 10


class LabelledSet(NamedTuple):
    """Documents that are clustered together; a label has a level for each depth of a hierarchy."""

    texts: Sequence[str]
    labels: Sequence[Sequence[Any]]


def add_cluster_scores(task: Any) -> Any:
    """Makes a clustering task report AMI and ARI, and every score for shuffled labels as well, and returns it."""
    evaluate = task._evaluate_subset

    def evaluate_subset(model: Any, data_split: Any, **options: Any) -> dict[str, Any]:
        state = task.rng_state.getstate()  # evaluating uses it up
        memory = RememberedVectors(model)
        scores = dict(evaluate(memory, data_split, **options))
        sets = [part for part in labelled_sets(task, data_split) if len(set(map(tuple, part.labels))) > 1]
        scores |= distinct_scores(memory.vectors, sets, seed=task.seed)
        # The control embeds and samples the same documents: only the labels differ.
        task.rng_state.setstate(state)
        memory.recalls = True
        control = evaluate(memory, _with_shuffled_labels(task, data_split), **{**options, "prediction_folder": None})
        return {**scores, f"v_measure{WITH_LABELS_SHUFFLED}": float(control["v_measure"])}

    task._evaluate_subset = evaluate_subset
    return task


class RememberedVectors:
    """A model of mteb that remembers the vector of each text.

    Attributes:
        vectors: of each text that was embedded.
        recalls: whether it answers from memory, without the model.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.recalls = False
        self.vectors: dict[str, NDArray[np.floating]] = {}

    @property
    def mteb_model_meta(self) -> Any:
        """The model's own."""
        return self._model.mteb_model_meta

    def encode(self, inputs: Iterable[Mapping[str, Any]], **options: Any) -> NDArray[np.floating]:
        """The vectors (N, d) of the texts of mteb's batches."""
        batches = list(inputs)
        texts = [text for batch in batches for text in batch["text"]]
        if self.recalls:
            return np.stack([self.vectors[text] for text in texts])
        matrix = np.asarray(self._model.encode(batches, **options))
        self.vectors.update(zip(texts, matrix, strict=True))
        return matrix

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """The model's own, of all pairs."""
        return self._model.similarity(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """The model's own, of corresponding rows."""
        return self._model.similarity_pairwise(embeddings1, embeddings2)


def labelled_sets(task: Any, data_split: Any) -> list[LabelledSet]:
    """The sets of an older task, which clusters each by itself; of a newer one all documents in one set."""
    texts, labels = list(data_split[task.input_column_name]), list(data_split[task.label_column_name])
    nested = bool(texts) and isinstance(texts[0], list)
    parts = zip(texts, labels, strict=True) if nested else [(texts, labels)]
    return [LabelledSet(t, [label if isinstance(label, list) else [label] for label in names]) for t, names in parts]


def distinct_scores(
    vectors: Mapping[str, NDArray[np.floating]], sets: Sequence[LabelledSet], *, seed: int
) -> dict[str, float]:
    """AMI and ARI of k-means on the different documents, with their labels and with shuffled ones.

    Args:
        vectors: of each text that was embedded; others of the sets are not looked at.
        sets: their means are taken, and those of the levels of a hierarchy.
        seed: of k-means and of the shuffles.
    """
    rows = [_level_scores(matrix, names, seed) for part in sets for matrix, names in _levels(vectors, part)]
    if not rows:
        return {}
    names = ("ami", "ari", f"ami{WITH_LABELS_SHUFFLED}", f"ari{WITH_LABELS_SHUFFLED}")
    return {name: float(mean) for name, mean in zip(names, np.mean(rows, axis=0), strict=True)}


def _levels(
    vectors: Mapping[str, NDArray[np.floating]], part: LabelledSet
) -> Iterator[tuple[NDArray[np.floating], list[str]]]:
    """Vectors (N, d) and labels of the different documents at each level, where there are two labels or more."""
    label_of = dict(zip(reversed(part.texts), reversed(part.labels), strict=True))  # the first of equal texts counts
    for level in range(max(map(len, part.labels), default=0)):
        names = {t: str(label[level]) for t, label in label_of.items() if t in vectors and label[level:]}
        if 1 < len(set(names.values())) < len(names):
            yield np.stack([vectors[text] for text in names]), list(names.values())


def _level_scores(matrix: NDArray[np.floating], labels: list[str], seed: int) -> tuple[float, float, float, float]:
    model = MiniBatchKMeans(len(set(labels)), batch_size=1024, n_init=5, random_state=seed)
    clusters = model.fit_predict(matrix)
    rng = np.random.default_rng(seed)
    shuffles = [rng.permutation(np.asarray(labels)) for _ in range(SHUFFLES)]
    scores = (adjusted_mutual_info_score, adjusted_rand_score)
    true = [float(score(labels, clusters)) for score in scores]
    control = [float(np.mean([score(shuffled, clusters) for shuffled in shuffles])) for score in scores]
    return true[0], true[1], control[0], control[1]


def _with_shuffled_labels(task: Any, data_split: Any) -> Any:
    from datasets import Dataset

    rng = np.random.default_rng(task.seed)
    texts, labels = list(data_split[task.input_column_name]), list(data_split[task.label_column_name])
    if texts and isinstance(texts[0], list):
        labels = [[names[row] for row in rng.permutation(len(names))] for names in labels]
    else:
        labels = [labels[row] for row in rng.permutation(len(labels))]
    return Dataset.from_dict({task.input_column_name: texts, task.label_column_name: labels})
