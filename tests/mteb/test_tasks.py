"""Labelled local files as tasks of mteb."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moee_topics.errors import InputError
from moee_topics.mteb.tasks import LocalTask, TextRecorder, guess_type, hub_task, load, local_task, read_rows, texts_of

mteb = pytest.importorskip("mteb")
DATA = Path(__file__).parents[2] / "../shared/data"
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


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    words = ("cat", "dog", "sun")
    rows = [{"text": f"{words[i % 3]} {i}", "body": f"more {i}", "label": words[i % 3]} for i in range(60)]
    return write(tmp_path / "labelled.jsonl", rows)


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


def test_pairs_rank_by_similarity(tmp_path: Path) -> None:
    same = [{"sentence1": f"cat {i}", "sentence2": f"cat {i + 1}", "score": 5, "label": 1} for i in range(10)]
    other = [{"sentence1": f"cat {i}", "sentence2": f"dog {i}", "score": 0, "label": 0} for i in range(10)]
    rows = same + other
    sts = write(tmp_path / "sts.jsonl", [{k: v for k, v in row.items() if k != "label"} for row in rows])
    pairs = write(tmp_path / "pairs.jsonl", [{k: v for k, v in row.items() if k != "score"} for row in rows])
    assert score(LocalTask(None, sts))["cosine_spearman"] > 0.8
    assert score(LocalTask(None, pairs))["max_ap"] == 1


def ranking_rows() -> list[dict[str, Any]]:
    return [
        {"query": f"{word} q", "positive": [f"{word} a", f"{word} b"], "negative": ["car x", "car yy"]}
        for word in ("cat", "dog", "sun")
    ]


def test_candidates_rank_in_both_layouts(tmp_path: Path) -> None:
    grouped = write(tmp_path / "grouped.jsonl", ranking_rows())
    flat = tmp_path / "flat.csv"
    with flat.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["query", "candidate", "label"])
        writer.writeheader()
        for row in ranking_rows():
            for side, label in (("positive", 1), ("negative", 0)):
                writer.writerows({"query": row["query"], "candidate": text, "label": label} for text in row[side])
    scores = [score(LocalTask(None, path)) for path in (grouped, flat)]
    assert [s["map_at_1000"] for s in scores] == [1, 1]
    assert score(LocalTask("Retrieval", grouped))["ndcg_at_10"] == 1


def test_a_classifier_learns_from_the_training_file(tmp_path: Path, labelled: Path) -> None:
    train = write(
        tmp_path / "train.jsonl", [{"text": f"{w} {i}", "label": w} for w in ("cat", "dog", "sun") for i in range(20)]
    )
    source = local_task(LocalTask(None, labelled, train=train, samples_per_label=4))
    assert source.type == "Classification"
    assert score(LocalTask(None, labelled, train=train, samples_per_label=4))["accuracy"] == 1
    assert score(LocalTask(None, labelled, train=train, samples_per_label=4), TextRecorder())["accuracy"] < 0.7


def test_a_summary_is_scored_by_its_nearest_human_one(tmp_path: Path) -> None:
    row = {
        "text": "cat story",
        "human_summaries": ["cat one"],
        "machine_summaries": ["cat one", "cat " + "x" * 300, "dog one"],
        "relevance": [5.0, 3.0, 1.0],
    }
    assert score(LocalTask(None, write(tmp_path / "s.jsonl", [row, row])))["cosine_spearman"] == pytest.approx(1)


def test_the_recorder_finds_exactly_what_is_encoded(labelled: Path) -> None:
    source = local_task(LocalTask("Clustering", labelled, sample=20))
    assert len(texts_of(source)) == 20
    assert texts_of(source) == texts_of(source)


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


def test_every_format_reads_the_same(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"text": "häß, lich", "label": "a"}, {"text": "two\tlines", "label": "b"}]
    lines = "\n".join(json.dumps(row) for row in rows).encode()
    (tmp_path / "x.jsonl").write_bytes(lines)
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(lines))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    for name, delimiter in (("x.csv", ","), ("x.tsv", "\t")):
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["text", "label"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    assert all([dict(row.values) for row in read_rows(path)] == rows for path in tmp_path.iterdir())


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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("x.txt", b"a", "no known kind"), ("x.jsonl", b"[1]", "object"), ("x.jsonl.gz", b"no", "cannot be unpacked"),
     ("x.jsonl", b"\xff\xfe\x00", "x.jsonl"), ("x.parquet", b"no", "cannot be read"), ("x.csv", b"", "is empty")],
)  # fmt: skip
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_rows(tmp_path / name)
    with pytest.raises(InputError, match="no file"):
        read_rows(tmp_path / "absent.csv")


def task_rows(tmp_path: Path, rows: list[dict[str, Any]], kind: Any) -> Any:
    return local_task(LocalTask(kind, write(tmp_path / "rows.jsonl", rows)))


@pytest.mark.parametrize("score", [float("nan"), "NaN", float("inf"), "high"])
def test_a_score_that_is_no_number_is_refused_by_line(tmp_path: Path, score: Any) -> None:
    good = [{"sentence1": "x", "sentence2": "y", "score": i} for i in range(3)]
    with pytest.raises(InputError, match=r"line 4: the score is .*not a number"):
        task_rows(tmp_path, [*good, {**good[0], "score": score}], "STS")


def test_blank_and_null_candidates_are_left_out_and_counted(tmp_path: Path) -> None:
    row = {"query": "q", "positive": ["yes", "", None], "negative": ["no", "  "]}
    source = task_rows(tmp_path, [row, {"query": "r", "positive": "yes", "negative": "no"}], "Reranking")
    assert source.left_out == 3 and set(texts_of(source)) == {"q", "r", "yes", "no"}


def test_a_candidate_marked_both_ways_is_refused_by_line(tmp_path: Path) -> None:
    rows = [{"query": "q", "candidate": "a", "label": label} for label in (1, 0)]
    with pytest.raises(InputError, match=r"line 2: the candidate 'a' is marked both 1 and 0"):
        task_rows(tmp_path, rows, "Reranking")


def test_a_candidate_that_stands_twice_counts_once(tmp_path: Path) -> None:
    rows = [{"query": "q", "candidate": text, "label": label} for text, label in (("a", 1), ("a", 1), ("b", 0))]
    relevant = load(task_rows(tmp_path, rows, "Reranking")).dataset["default"]["test"]["relevant_docs"]
    assert relevant == {"q0": {"q0-d0": 1, "q0-d1": 0}}


def test_retrieval_takes_grades_and_reranking_does_not(tmp_path: Path) -> None:
    rows = [{"query": "q", "candidate": f"c{grade}", "label": grade} for grade in (0, 1, 2)]
    relevant = load(task_rows(tmp_path, rows, "Retrieval")).dataset["default"]["test"]["relevant_docs"]
    assert relevant == {"q0": {"d1": 1, "d2": 2}}
    with pytest.raises(InputError, match=r"line 3: the label is 2; binary labels"):
        task_rows(tmp_path, rows, "Reranking")


def test_test_rows_of_a_class_without_training_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", [{"text": f"t{i}", "label": "ab"[i % 2]} for i in range(20)])
    rows = [{"text": f"x{i}", "label": "abc"[i % 3]} for i in range(9)]
    source = local_task(LocalTask(None, write(tmp_path / "test.jsonl", rows), train=train))
    assert source.left_out == 3 and len(load(source).dataset["test"]) == 6


@pytest.mark.parametrize("word", ["NaN", "None", "NA", "", " ", None, float("nan")])
def test_a_word_for_none_is_no_class(tmp_path: Path, word: Any) -> None:
    rows = [{"text": f"t{i}", "label": "ab"[i % 2]} for i in range(6)]
    source = task_rows(tmp_path, [*rows, {"text": "None", "label": word}], "Clustering")
    assert source.left_out == 1 and set(load(source).dataset["test"]["labels"]) == {0, 1}


def test_a_text_may_say_none(tmp_path: Path) -> None:
    rows = [{"text": text, "label": label} for text, label in (("None", "a"), ("b", "b"), ("c", "a"))]
    assert task_rows(tmp_path, rows, "Clustering").left_out == 0


def test_labels_that_begin_late_are_seen(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": f"t{i}"} for i in range(3)]
    source = task_rows(tmp_path, [*rows, *({"text": f"u{i}", "label": "ab"[i % 2]} for i in range(4))], None)
    assert source.type == "Clustering" and source.left_out == 3


def test_quotation_marks_are_text_in_a_tsv_and_no_row_is_lost(tmp_path: Path) -> None:
    lines = [f'"so he said {i}\tand "{i}" was it\t{i % 5}' for i in range(60)]
    (tmp_path / "pairs.tsv").write_text("sentence1\tsentence2\tscore\n" + "\n".join(lines) + "\n")
    source = local_task(LocalTask("STS", tmp_path / "pairs.tsv"))
    assert len(load(source).dataset["test"]) == 60 and source.left_out == 0


def test_a_line_separator_inside_a_string_ends_no_row(tmp_path: Path) -> None:
    rows = [{"text": f"one\u2028two\x85{i}", "label": "ab"[i % 2]} for i in range(6)]
    path = tmp_path / "separators.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    assert len(texts_of(local_task(LocalTask(None, path)))) == 6


def test_types_are_told_from_columns() -> None:
    assert guess_type(["text", "label", "id"]) == "Clustering"
    assert guess_type(["sentence1", "sentence2", "score", "label"]) == "STS"


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(InputError, match="STS12"):
        hub_task("STS12x")
    with pytest.raises(InputError, match="only text"):
        hub_task("CIFAR10")


def test_missing_data_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    source = hub_task("STS12")

    def no_network(self: Any, **kwargs: Any) -> None:
        raise ConnectionError("Couldn't reach the hub\nand more")

    monkeypatch.setattr(type(source.make()), "load_data", no_network)
    with pytest.raises(InputError, match=r"STS12 \(mteb/sts12-sts\).*Couldn't reach the hub\. Run once with a network"):
        load(source)


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


def test_a_labelled_file_is_told_its_encoding_delimiter_and_quoting(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    rows = [f'caf\xe9 "no{n};{"ab"[n % 2]}' for n in range(40)]
    path.write_bytes("\n".join(["text;label", *rows]).encode("cp1252"))
    with pytest.raises(InputError, match="FILE,encoding=cp1252"):
        local_task(LocalTask("Clustering", path))
    task = local_task(LocalTask("Clustering", path, encoding="cp1252", delimiter=";", quoting="none"))
    assert set(texts_of(task)) == {f'caf\xe9 "no{n}' for n in range(40)}


@pytest.mark.parametrize("key", ["lable", "encodings"])
def test_a_misspelt_key_of_a_labelled_file_is_refused(key: str) -> None:
    with pytest.raises(InputError, match=f"{key} is no key"):
        LocalTask("Clustering", Path("posts.csv"), columns={key: "x"})
