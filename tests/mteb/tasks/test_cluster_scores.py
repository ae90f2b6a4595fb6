"""AMI and ARI of clustering tasks: nothing where there is nothing, all where there is all, copies count once."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from moee_topics.mteb.tasks import LocalTask, TextRecorder, local_task
from moee_topics.mteb.tasks.cluster_scores import LabelledSet, distinct_scores

mteb = pytest.importorskip("mteb")
ENCODE = {"batch_size": 64, "show_progress_bar": False}


class RandomVectors:
    """A text has the same random vector whenever it is asked for; ``signal`` adds the axis of its first word."""

    mteb_model_meta = mteb.models.model_meta.ModelMeta.create_empty(overwrites={"name": "double/random"})

    def __init__(self, signal: float = 0.0) -> None:
        self.signal = signal

    def encode(self, inputs: Any, **kwargs: Any) -> np.ndarray:
        return np.stack([self.vector(text) for batch in inputs for text in batch["text"]])

    def vector(self, text: str) -> np.ndarray:
        vector = np.random.default_rng(zlib.crc32(text.encode())).normal(size=32).astype(np.float32)
        vector[int(text.split()[0]) % 32] += self.signal
        return vector

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        raise NotImplementedError

    similarity_pairwise = similarity


def scored(folder: Path, documents: int, labels: int, *, copies: int = 1, signal: float = 0.0) -> dict[str, Any]:
    rng = np.random.default_rng(documents)
    names = rng.integers(labels, size=documents) if signal == 0 else np.arange(documents) % labels
    rows = [{"text": f"{name} document {i}", "label": f"label {name}"} for i, name in enumerate(names)]
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows * copies))
    task = local_task(LocalTask("Clustering", path)).make()
    return dict(task.evaluate(RandomVectors(signal), "test", encode_kwargs=ENCODE)["default"])


@pytest.mark.parametrize(("documents", "labels"), [(60, 20), (200, 20), (1000, 16)])
def test_random_labels_and_random_vectors_score_nothing(tmp_path: Path, documents: int, labels: int) -> None:
    scores = scored(tmp_path, documents, labels)
    for name in ("ami", "ari", "ami_shuffled", "ari_shuffled"):
        assert abs(scores[name]) < 0.05, (name, scores[name])


def test_shuffled_labels_show_that_v_measure_is_no_zero(tmp_path: Path) -> None:
    scores = scored(tmp_path, 60, 20)
    assert scores["v_measure_shuffled"] > 0.3 and abs(scores["v_measure"] - scores["v_measure_shuffled"]) < 0.2


def test_groups_that_are_there_are_found_and_shuffled_ones_are_not(tmp_path: Path) -> None:
    scores = scored(tmp_path, 240, 4, signal=40.0)
    assert scores["ami"] > 0.95 and scores["ari"] > 0.95
    assert abs(scores["ami_shuffled"]) < 0.05 and scores["v_measure"] > scores["v_measure_shuffled"] + 0.5


def test_copies_of_documents_change_nothing(tmp_path: Path) -> None:
    once, often = scored(tmp_path, 80, 10), scored(tmp_path, 80, 10, copies=5)
    assert {name: once[name] for name in ("ami", "ari")} == {name: often[name] for name in ("ami", "ari")}


def test_the_same_task_scores_the_same(tmp_path: Path) -> None:
    assert scored(tmp_path, 60, 6) == scored(tmp_path, 60, 6)


def test_scores_are_means_over_sets_and_levels_of_known_clusters() -> None:
    axes = np.eye(4, dtype=np.float32) * 10
    texts = [f"text {i}" for i in range(8)]
    vectors = {text: axes[i // 2] + i / 100 for i, text in enumerate(texts)}
    fine = [["a"] if i < 2 else ["a" if i < 4 else "b", str(i // 2)] for i in range(8)]
    one = distinct_scores(vectors, [LabelledSet(texts, fine)], seed=0)
    coarse, clusters = [label[0] for label in fine], None
    from sklearn.cluster import MiniBatchKMeans

    matrix = np.stack(list(vectors.values()))
    clusters = MiniBatchKMeans(2, batch_size=1024, n_init=5, random_state=0).fit_predict(matrix)
    assert one["ami"] == pytest.approx((adjusted_mutual_info_score(coarse, clusters) + 1) / 2)
    assert one["ari"] == pytest.approx((adjusted_rand_score(coarse, clusters) + 1) / 2)
    assert distinct_scores(vectors, [LabelledSet(texts, [["a"]] * 8)], seed=0) == {}


class Newer(mteb.abstasks.AbsTaskClustering):  # type: ignore[misc]
    """A hub task of mteb's newer kind without a hub: hierarchical labels, part of the documents embedded."""

    metadata = mteb.TaskMetadata(
        name="Newer", description="", dataset={"path": "none", "revision": "1"}, type="Clustering", category="t2c",
        eval_splits=["test"], eval_langs=["eng-Latn"], main_score="v_measure",
    )  # fmt: skip
    max_fraction_of_documents_to_embed = 0.5
    max_documents_per_cluster = 50
    n_clusters = 3

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        from datasets import Dataset, DatasetDict

        labels = [[str(i % 4), str(i % 8)] if i % 5 else [str(i % 4)] for i in range(200)]
        rows = {"sentences": [f"text {i}" for i in range(200)], "labels": labels}
        self.dataset = DatasetDict({"test": Dataset.from_dict(rows)})
        self.data_loaded = True


class Older(mteb.abstasks.AbsTaskClusteringLegacy):  # type: ignore[misc]
    """A hub task of mteb's older kind: sets of documents, each clustered once."""

    metadata = Newer.metadata.model_copy(update={"name": "Older"})

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        from datasets import Dataset, DatasetDict

        sets = [[f"set {s} text {i}" for i in range(40)] for s in range(3)]
        rows = {"sentences": sets, "labels": [[i % 4 for i in range(40)] for _ in sets]}
        self.dataset = DatasetDict({"test": Dataset.from_dict(rows)})
        self.data_loaded = True


def test_scores_of_mteb_are_unchanged_by_ours() -> None:
    from moee_topics.mteb.tasks import add_cluster_scores

    for kind in (Newer, Older):
        plain = dict(kind().evaluate(TextRecorder(), "test", encode_kwargs=ENCODE)["default"])
        ours = dict(add_cluster_scores(kind()).evaluate(TextRecorder(), "test", encode_kwargs=ENCODE)["default"])
        assert ours["v_measure"] == plain["v_measure"]
        new = {"ami", "ari", "ami_shuffled", "ari_shuffled", "v_measure_shuffled"}
        assert set(ours) - set(plain) <= new <= set(ours)
        assert -0.2 < ours["ari"] < ours["v_measure"]


@pytest.mark.parametrize(
    ("documents", "labels", "copies"),
    [(40, 2, 1), (60, 20, 1), (100, 50, 1), (500, 3, 1), (500, 100, 1), (2000, 16, 1), (300, 10, 5), (50, 45, 3)],
)
def test_random_labels_of_any_number_score_nothing(documents: int, labels: int, copies: int) -> None:
    rng, texts = np.random.default_rng(0), [f"text {i}" for i in range(documents)]
    scores = []
    for seed in range(6):
        vectors = {text: rng.normal(size=8) for text in texts}
        names = [[str(rng.integers(labels))] for _ in texts] * copies
        drawn = distinct_scores(vectors, [LabelledSet(texts * copies, names)], seed=seed)
        scores.append([drawn[name] for name in ("ami", "ari", "ami_shuffled", "ari_shuffled")])
    assert np.abs(np.mean(scores, axis=0)).max() < 0.03
