"""mteb tasks: those of its registry, and labelled local files with mteb's own protocols.

A ``TaskSource`` makes a fresh task object for each evaluation, because mteb's tasks use up a random state: the same
object evaluated twice gives two scores. Clustering tasks report AMI and ARI beside V-measure, which is not corrected
for chance and grows with the number of clusters.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import hashlib
import io
import json
import random
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, v_measure_score

from moee_topics.errors import InputError, MoEETopicsError, import_extra
from moee_topics.store import content_hash

LocalType = Literal[
    "Clustering", "STS", "PairClassification", "Reranking", "Retrieval", "Classification", "Summarization"
]
LOCAL_TYPES: tuple[LocalType, ...] = get_args(LocalType)
MAIN_SCORES: Mapping[LocalType, str] = {
    "Clustering": "v_measure",
    "STS": "cosine_spearman",
    "PairClassification": "max_ap",
    "Reranking": "map_at_1000",
    "Retrieval": "ndcg_at_10",
    "Classification": "accuracy",
    "Summarization": "cosine_spearman",
}
Row = Mapping[str, Any]
Table = dict[str, list[Any]]
LARGEST_SAMPLE = 16_384
Item = TypeVar("Item")


@dataclass(frozen=True)
class TaskSource:
    """A task that can be made again and again.

    Attributes:
        name: its name in results and tables.
        type: mteb's task type.
        main_score: the score mteb ranks it by.
        make: makes a fresh mteb task object.
        local: whether its data is a local file.
        left_out: rows of the file that lack a text or a label.
    """

    name: str
    type: str
    main_score: str
    make: Callable[[], Any] = field(repr=False)
    local: bool = False
    left_out: int = 0


@dataclass(frozen=True)
class LocalTask:
    """A labelled file that is to be a task.

    Attributes:
        type: the task type, or None to tell it from the columns.
        file: csv, tsv, jsonl or parquet; the text formats also as .gz.
        name: its name in results; made from the file's name if empty.
        train: the file with the training rows of a classification task.
        text: the columns whose texts, joined by a space, are the document of a clustering or classification task. One
            title column makes a sentence-to-sentence task, title and abstract a paragraph-to-paragraph one.
        columns: names of other columns where they differ from the usual ones: label, sentence1, sentence2, score,
            query, positive, negative, candidate, machine_summaries, human_summaries, relevance.
        sample: rows to keep, drawn with the seed (queries, where rows are grouped by query), and of training rows four
            times as many; None keeps all.
        samples_per_label: rows per label that a classifier is trained on, ten times over; 8 is mteb's default.
        seed: of the sample and of the task.
    """

    type: LocalType | None
    file: Path
    name: str = ""
    train: Path | None = None
    text: tuple[str, ...] = ("text",)
    columns: Mapping[str, str] = field(default_factory=dict)
    sample: int | None = None
    samples_per_label: int = 8
    seed: int = 42

    def column(self, role: str) -> str:
        """The name of the column that has a role."""
        return self.columns.get(role, role)


# --- reading ---------------------------------------------------------------------------------------------------------


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a csv, tsv, jsonl or parquet file, the text formats also gzipped.

    Raises:
        InputError: the file is missing, of another kind, empty, or cannot be read.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}. Give a csv, tsv, jsonl or parquet file with a header.")
    kind = path.name.removesuffix(".gz").rsplit(".", 1)[-1].lower()
    if kind not in _READERS:
        raise InputError(f"{path} is none of: {', '.join(_READERS)} (the text formats also as .gz).")
    try:
        rows = _READERS[kind](path)
    except (ValueError, OSError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as {kind}: {error}.") from error
    if not rows:
        raise InputError(f"{path} has no rows.")
    return rows


def _text_of(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")


def _read_delimited(path: Path, delimiter: str) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(_text_of(path)), delimiter=delimiter))


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in _text_of(path).splitlines() if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("each line must be an object")
    return rows


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


_READERS: Mapping[str, Callable[[Path], list[dict[str, Any]]]] = {
    "csv": partial(_read_delimited, delimiter=","),
    "tsv": partial(_read_delimited, delimiter="\t"),
    "jsonl": _read_jsonl,
    "parquet": _read_parquet,
}


def guess_type(columns: Iterable[str]) -> LocalType:
    """The task type that a file with these columns is for.

    Raises:
        InputError: the columns fit no type.
    """
    names = set(columns)
    for needed, kind in _SIGNATURES:
        if needed <= names:
            return kind
    raise InputError(
        f"Columns {sorted(names)} fit no task type. "
        + "; ".join(f"{kind}: {', '.join(sorted(needed))}" for needed, kind in _SIGNATURES)
        + ". Say the type, and name the columns where they are called otherwise."
    )


_SIGNATURES: tuple[tuple[set[str], LocalType], ...] = (
    ({"machine_summaries", "human_summaries", "relevance"}, "Summarization"),
    ({"query", "positive", "negative"}, "Reranking"),
    ({"query", "candidate", "label"}, "Reranking"),
    ({"sentence1", "sentence2", "score"}, "STS"),
    ({"sentence1", "sentence2", "label"}, "PairClassification"),
    ({"text", "label"}, "Clustering"),
)


# --- local tasks -----------------------------------------------------------------------------------------------------


def local_task(spec: LocalTask) -> TaskSource:
    """A labelled file as a task, with the protocol of mteb's own tasks of that type.

    Rows that lack a text or a label are left out; ``TaskSource.left_out`` counts them.

    Raises:
        InputError: the file, its columns or its values do not fit the type.
    """
    rows = read_rows(spec.file)
    kind = spec.type or ("Classification" if spec.train else guess_type(rows[0]))
    if kind not in LOCAL_TYPES:
        raise InputError(f"There is no local task type {kind!r}; there are {', '.join(LOCAL_TYPES)}.")
    parts = {"test": _sampled(rows, spec)}
    if kind == "Classification":
        parts["train"] = _train_rows(spec)
    kept = {split: complete(part, _needed(kind, spec, part), spec.file) for split, part in parts.items()}
    splits = {split: _BUILDERS[kind](part, spec) for split, part in kept.items()}
    if kind in ("Clustering", "Classification"):
        splits = _numbered(splits, spec)
    name = spec.name or _default_name(spec, kind)
    left_out = sum(len(parts[split]) - len(kept[split]) for split in parts)
    make = partial(_make, name, kind, splits, spec)
    return TaskSource(name, kind, MAIN_SCORES[kind], make, local=True, left_out=left_out)


def _sampled(rows: list[dict[str, Any]], spec: LocalTask) -> list[dict[str, Any]]:
    if spec.sample is None:
        return rows
    if spec.sample < 2:
        raise InputError(f"A sample of {spec.sample} rows of {spec.file} is too small; take 2 or more.")
    query = spec.column("query")
    if query not in rows[0] or spec.column("positive") in rows[0]:
        return _draw(rows, spec.seed, spec.sample)
    chosen = set(_draw(list(dict.fromkeys(str(row.get(query)) for row in rows)), spec.seed, spec.sample))
    return [row for row in rows if str(row.get(query)) in chosen]


def _draw(items: list[Item], seed: int, count: int | None) -> list[Item]:
    if count is None or count >= len(items):
        return items
    return [items[i] for i in sorted(random.Random(seed).sample(range(len(items)), count))]


def _train_rows(spec: LocalTask) -> list[dict[str, Any]]:
    if spec.train is None:
        raise InputError(f"{spec.file} needs training rows to be a Classification task; give them as train=FILE.")
    return _draw(read_rows(spec.train), spec.seed, 4 * spec.sample if spec.sample else None)


def _needed(kind: LocalType, spec: LocalTask, rows: Sequence[Row]) -> list[str]:
    """The columns that a row must have."""
    if kind in ("Clustering", "Classification"):
        return [*spec.text, spec.column("label")]
    grouped = bool(rows) and spec.column("positive") in rows[0]
    roles = _ROLES["Grouped" if grouped and kind in ("Reranking", "Retrieval") else kind]
    return [spec.column(role) for role in roles]


_ROLES: Mapping[str, tuple[str, ...]] = {
    "STS": ("sentence1", "sentence2", "score"),
    "PairClassification": ("sentence1", "sentence2", "label"),
    "Reranking": ("query", "candidate", "label"),
    "Retrieval": ("query", "candidate", "label"),
    "Grouped": ("query", "positive", "negative"),
    "Summarization": ("text", "machine_summaries", "human_summaries", "relevance"),
}


def complete(rows: Sequence[Row], columns: Sequence[str], file: Path) -> list[Row]:
    """The rows whose columns all hold something.

    Raises:
        InputError: a column is in no row, or no row has all of them.
    """
    known = {column for row in rows for column in row}
    missing = [column for column in columns if column not in known]
    if missing:
        raise InputError(f"{file} has no column {', '.join(missing)}; it has {', '.join(sorted(map(str, known)))}.")
    kept = [row for row in rows if all(_holds_something(row.get(column)) for column in columns)]
    if not kept:
        raise InputError(f"No row of {file} has all of {', '.join(columns)}.")
    return kept


def _holds_something(value: Any) -> bool:
    return value is not None and (not isinstance(value, str) or bool(value.strip()))


def _documents(rows: Sequence[Row], spec: LocalTask) -> list[str]:
    return [" ".join(str(row[column]) for column in spec.text) for row in rows]


def _clustering(rows: Sequence[Row], spec: LocalTask) -> Table:
    return {"sentences": _documents(rows, spec), "labels": [str(row[spec.column("label")]) for row in rows]}


def _classification(rows: Sequence[Row], spec: LocalTask) -> Table:
    return {"text": _documents(rows, spec), "label": [str(row[spec.column("label")]) for row in rows]}


def _pairs(rows: Sequence[Row], spec: LocalTask) -> Table:
    return {side: [str(row[spec.column(side)]) for row in rows] for side in ("sentence1", "sentence2")}


def _sts(rows: Sequence[Row], spec: LocalTask) -> Table:
    scores = [_number(row[spec.column("score")], spec) for row in rows]
    if len(set(scores)) < 2:
        raise InputError(f"All scores of {spec.file} are the same: there is nothing to correlate with.")
    return {**_pairs(rows, spec), "score": scores}


def _pair_classification(rows: Sequence[Row], spec: LocalTask) -> Table:
    table = {**_pairs(rows, spec), "labels": [_binary(row[spec.column("label")], spec) for row in rows]}
    if len(set(table["labels"])) < 2:
        raise InputError(f"{spec.file} has pairs of one label only; a PairClassification task needs 0 and 1.")
    return table


def _number(value: Any, spec: LocalTask) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{spec.file} holds the score {value!r}, which is not a number.") from None


def _binary(value: Any, spec: LocalTask) -> int:
    if str(value).strip().lower() in ("1", "1.0", "true"):
        return 1
    if str(value).strip().lower() in ("0", "0.0", "false"):
        return 0
    raise InputError(f"{spec.file} holds the label {value!r}; binary labels are 0 and 1.")


def _queries(rows: Sequence[Row], spec: LocalTask) -> Table:
    """Queries with their relevant and other candidates; those without one of each cannot be ranked."""
    positive, negative = spec.column("positive"), spec.column("negative")
    found: dict[str, tuple[list[str], list[str]]] = {}
    for row in rows:
        query = found.setdefault(str(row[spec.column("query")]), ([], []))
        if positive in row and negative in row:
            query[0].extend(_texts(row[positive]))
            query[1].extend(_texts(row[negative]))
        else:
            query[1 - _binary(row[spec.column("label")], spec)].append(str(row[spec.column("candidate")]))
    usable = {query: both for query, both in found.items() if all(both)}
    if not usable:
        raise InputError(f"No query of {spec.file} has both a relevant candidate and another one.")
    return {
        "query": list(usable),
        "positive": [both[0] for both in usable.values()],
        "negative": [both[1] for both in usable.values()],
    }


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(text) for text in value]


def _summarization(rows: Sequence[Row], spec: LocalTask) -> Table:
    table = {role: [row[spec.column(role)] for row in rows] for role in _ROLES["Summarization"]}
    for machine, scores in zip(table["machine_summaries"], table["relevance"], strict=True):
        if not isinstance(machine, list) or not isinstance(scores, list) or len(machine) != len(scores):
            raise InputError(f"{spec.file} must list one relevance score for each machine summary.")
    return table


_BUILDERS: Mapping[LocalType, Callable[[Sequence[Row], LocalTask], Table]] = {
    "Clustering": _clustering,
    "STS": _sts,
    "PairClassification": _pair_classification,
    "Reranking": _queries,
    "Retrieval": _queries,
    "Classification": _classification,
    "Summarization": _summarization,
}


def _numbered(splits: dict[str, Table], spec: LocalTask) -> dict[str, Table]:
    """Labels as numbers from 0 on, the same in all splits: mteb takes a label of -1 for a missing one."""
    column = "label" if "label" in splits["test"] else "labels"
    names = sorted({label for table in splits.values() for label in table[column]})
    if len(names) < 2:
        raise InputError(f"{spec.file} has one label only ({names[0]}); there is nothing to tell apart.")
    number = {name: i for i, name in enumerate(names)}
    return {split: {**table, column: [number[x] for x in table[column]]} for split, table in splits.items()}


def _default_name(spec: LocalTask, kind: LocalType) -> str:
    stem = re.sub(r"\.(jsonl|csv|tsv|parquet)(\.gz)?$", "", spec.file.name)
    name = re.sub(r"\W+", "-", f"{spec.file.resolve().parent.name}-{stem}").strip("-")
    size = ("S2S" if len(spec.text) == 1 else "P2P") if kind == "Clustering" else ""
    return f"{name}-{kind}{size}"


def _make(name: str, kind: LocalType, splits: dict[str, Table], spec: LocalTask) -> Any:
    base = getattr(_mteb("abstasks"), _BASES[kind])
    metadata = _metadata(name, kind, _digest(splits, spec))

    def load_data(self: Any, num_proc: int | None = None, **kwargs: Any) -> None:
        self.dataset = _dataset(kind, splits)
        self.data_loaded = True

    attributes = {"metadata": metadata, "load_data": load_data, **_protocol(kind, splits, spec)}
    task = type(re.sub(r"\W", "", name) or "LocalTask", (base,), attributes)(seed=spec.seed)
    return add_cluster_scores(task) if kind == "Clustering" else task


_BASES: Mapping[LocalType, str] = {
    "Clustering": "AbsTaskClustering",
    "STS": "AbsTaskSTS",
    "PairClassification": "AbsTaskPairClassification",
    "Reranking": "AbsTaskRetrieval",
    "Retrieval": "AbsTaskRetrieval",
    "Classification": "AbsTaskClassification",
    "Summarization": "AbsTaskSummarization",
}


def _metadata(name: str, kind: LocalType, revision: str) -> Any:
    return _mteb().TaskMetadata(
        name=name,
        description=f"A local file as a {kind} task.",
        dataset={"path": f"local/{name}", "revision": revision},
        type=kind,
        category="t2c" if kind in ("Clustering", "Classification") else "t2t",
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=MAIN_SCORES[kind],
    )


def _digest(splits: dict[str, Table], spec: LocalTask) -> str:
    """Names the data and the protocol, so that a changed file does not find the result of the old one."""
    content = json.dumps([splits, spec.seed, spec.samples_per_label], ensure_ascii=False, default=str)
    return hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _protocol(kind: LocalType, splits: dict[str, Table], spec: LocalTask) -> dict[str, Any]:
    """Where mteb leaves a choice to the task: the whole file is embedded, and ten bootstrap samples are clustered."""
    if kind == "Clustering":
        size = min(LARGEST_SAMPLE, len(splits["test"]["labels"]))
        whole = {"max_fraction_of_documents_to_embed": None, "max_document_to_embed": None}
        return {**whole, "max_documents_per_cluster": size}
    if kind == "Classification":
        return {"samples_per_label": spec.samples_per_label}
    return {"min_score": 0, "max_score": 5} if kind in ("STS", "Summarization") else {}


def _dataset(kind: LocalType, splits: dict[str, Table]) -> Any:
    from datasets import Dataset, DatasetDict

    if kind in ("Reranking", "Retrieval"):
        candidates = _ranked if kind == "Reranking" else _searched
        queries, corpus, relevant, ranked = candidates(splits["test"])
        texts = {"queries": Dataset.from_list(queries), "corpus": Dataset.from_list(corpus)}
        return {"default": {"test": {**texts, "relevant_docs": relevant, "top_ranked": ranked}}}
    return DatasetDict({split: Dataset.from_dict(table) for split, table in splits.items()})


Candidates = tuple[list[dict[str, str]], list[dict[str, str]], dict[str, dict[str, int]], dict[str, list[str]] | None]


def _ranked(table: Table) -> Candidates:
    """Each query with its own candidates, in mteb's layout of a reranking task."""
    queries, corpus, relevant, ranked = [], [], {}, {}
    for i, query in enumerate(table["query"]):
        texts = [(text, 1) for text in table["positive"][i]] + [(text, 0) for text in table["negative"][i]]
        ids = [f"q{i}-d{j}" for j in range(len(texts))]
        queries.append({"id": f"q{i}", "text": query})
        corpus += [{"id": id_, "title": "", "text": text} for id_, (text, _) in zip(ids, texts, strict=True)]
        relevant[f"q{i}"] = {id_: label for id_, (_, label) in zip(ids, texts, strict=True)}
        ranked[f"q{i}"] = ids
    return queries, corpus, relevant, ranked


def _searched(table: Table) -> Candidates:
    """All candidates as one corpus in which each query searches; equal texts are one document."""
    lists = [*table["positive"], *table["negative"]]
    ids = {text: f"d{i}" for i, text in enumerate(dict.fromkeys(text for texts in lists for text in texts))}
    queries = [{"id": f"q{i}", "text": query} for i, query in enumerate(table["query"])]
    relevant = {f"q{i}": {ids[text]: 1 for text in texts} for i, texts in enumerate(table["positive"])}
    return queries, [{"id": id_, "title": "", "text": text} for text, id_ in ids.items()], relevant, None


# --- tasks of mteb ---------------------------------------------------------------------------------------------------


def hub_task(name: str) -> TaskSource:
    """A task of mteb's registry; its data comes from the hub, or from the hub's cache on this machine.

    Raises:
        InputError: mteb has no text task of that name.
    """
    registry = _registry()
    if name not in registry:
        close = difflib.get_close_matches(name, registry, n=3, cutoff=0.4)
        hint = f" Nearest: {', '.join(close)}." if close else ""
        raise InputError(f"mteb has no task {name!r}.{hint} A local file is given with local, not by name.")
    metadata = registry[name].metadata
    if set(metadata.modalities) != {"text"}:
        raise InputError(f"The task {name} is about {', '.join(metadata.modalities)}; only text can be scored.")
    return TaskSource(name, metadata.type, metadata.main_score, partial(_make_hub_task, name))


@cache
def _registry() -> Mapping[str, Any]:
    registry: Mapping[str, Any] = _mteb("get_tasks")._TASKS_REGISTRY
    return registry


def _make_hub_task(name: str) -> Any:
    with warnings.catch_warnings():
        # The paper's tasks are older versions on purpose.
        warnings.simplefilter("ignore")
        task = _mteb().get_task(name)
    return add_cluster_scores(task) if task.metadata.type == "Clustering" else task


def benchmark_tasks(name: str) -> list[TaskSource]:
    """The text tasks of one of mteb's benchmarks, for example ``MTEB(eng, v2)``.

    Raises:
        InputError: mteb has no benchmark of that name.
    """
    mteb = _mteb()
    try:
        tasks = mteb.get_benchmark(name).tasks
    except KeyError as error:
        raise InputError(f"mteb has no benchmark {name!r}; its list is in mteb.get_benchmarks().") from error
    names = [task.metadata.name for task in tasks if task.metadata.modalities == ["text"]]
    return [hub_task(task) for task in names]


def load(source: TaskSource) -> Any:
    """A fresh task with its data loaded.

    Raises:
        InputError: the data is neither on this machine nor to be had from the hub.
    """
    task = source.make()
    try:
        task.load_data()
    except (OSError, ValueError, RuntimeError) as error:
        path = task.metadata.dataset["path"]
        raise InputError(
            f"The data of the task {source.name} ({path}) is not on this machine and could not be fetched: "
            f"{type(error).__name__}: {_first_line(error)}. Run once with a network, copy the hub's cache (HF_HOME), "
            "leave the task out, or give a labelled file of your own as a local task."
        ) from error
    return task


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]


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
        return _mteb("models.model_meta").ModelMeta.create_empty(overwrites={"name": "moee-topics/recorder"})

    def encode(self, inputs: Iterable[Mapping[str, Any]], **kwargs: Any) -> NDArray[np.float32]:
        """Small vectors (N, dimensions) that depend on the texts."""
        texts = [text for batch in inputs for text in batch["text"]]
        self.texts.update(dict.fromkeys(texts))
        rows = [np.frombuffer(content_hash(text), dtype=np.uint16)[: self.dimensions] for text in texts]
        return (np.stack(rows) / 2**15 - 1).astype(np.float32)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of all pairs."""
        return _mteb("similarity_functions").cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of corresponding rows."""
        return _mteb("similarity_functions").pairwise_cos_sim(embeddings1, embeddings2)


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


# --- AMI and ARI -----------------------------------------------------------------------------------------------------


def add_cluster_scores(task: Any) -> Any:
    """Makes a clustering task report AMI and ARI beside V-measure, and returns it.

    mteb's newer tasks report V-measure and AMI, its older ones V-measure alone. The clusters are mteb's own.
    """
    older = hasattr(task, "_compute_metrics")
    return _score_sets(task) if older else _score_samples(task)


def _score_sets(task: Any) -> Any:
    """For mteb's older tasks, which cluster each set of documents once."""
    found: list[tuple[float, float]] = []
    compute, evaluate = task._compute_metrics, task._evaluate_subset

    def compute_metrics(labels: Any, assignment: Any, *args: Any, **kwargs: Any) -> Any:
        found.append(_ami_ari(labels, assignment))
        return compute(labels, assignment, *args, **kwargs)

    def evaluate_subset(*args: Any, **kwargs: Any) -> Any:
        found.clear()
        scores = evaluate(*args, **kwargs)
        return {**scores, **_means(found)}

    task._compute_metrics, task._evaluate_subset = compute_metrics, evaluate_subset
    return task


def _score_samples(task: Any) -> Any:
    """For mteb's newer tasks, which cluster bootstrap samples: the samples are drawn again to see their labels."""
    kept: list[Mapping[str, Any]] = []
    evaluate, save = task._evaluate_subset, task._save_task_predictions

    def save_predictions(predictions: Any, model: Any, prediction_folder: Path, **kwargs: Any) -> None:
        kept.append(predictions)
        if prediction_folder != _NOWHERE:
            save(predictions, model, prediction_folder, **kwargs)

    def evaluate_subset(model: Any, data_split: Any, *, prediction_folder: Path | None = None, **kwargs: Any) -> Any:
        kept.clear()
        state = task.rng_state.getstate()
        scores = evaluate(model, data_split, prediction_folder=prediction_folder or _NOWHERE, **kwargs)
        pairs = list(_replayed(task, data_split, state, kept[0]))
        _check_replay(pairs, scores)
        return {**scores, **_means([_ami_ari(labels, clusters) for labels, clusters in pairs])}

    task._save_task_predictions, task._evaluate_subset = save_predictions, evaluate_subset
    return task


_NOWHERE = Path("nowhere")


def _replayed(task: Any, data_split: Any, state: Any, assignments: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Labels and clusters of each bootstrap sample, drawn as mteb.abstasks.clustering draws them."""
    rng = random.Random()
    rng.setstate(state)
    labels = [label if isinstance(label, list) else [label] for label in data_split[task.label_column_name]]
    limit = task.max_document_to_embed
    if task.max_fraction_of_documents_to_embed is not None:
        limit = int(task.max_fraction_of_documents_to_embed * len(labels))
    if limit is not None:
        labels = [labels[i] for i in rng.sample(range(len(labels)), k=min(limit, len(labels)))]
    for level, samples in enumerate(assignments.values()):
        known = np.array([label[level] if len(label) > level else -1 for label in labels])
        known = known[np.array([label != -1 for label in known])]
        for clusters in samples:
            yield known[rng.choices(range(len(known)), k=task.max_documents_per_cluster)], clusters


def _check_replay(pairs: Sequence[tuple[Any, Any]], scores: Mapping[str, Any]) -> None:
    mine = np.mean([v_measure_score(labels, clusters) for labels, clusters in pairs])
    if abs(mine - scores["v_measure"]) > 1e-6:
        raise MoEETopicsError(
            "This version of mteb draws its clustering samples otherwise than 2.26, so ARI cannot be computed for its "
            "clusters. Install mteb>=2.26,<2.27."
        )


def _ami_ari(labels: Any, clusters: Any) -> tuple[float, float]:
    return float(adjusted_mutual_info_score(labels, clusters)), float(adjusted_rand_score(labels, clusters))


def _means(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    if not pairs:
        return {}
    ami, ari = np.mean(pairs, axis=0)
    return {"ami": float(ami), "ari": float(ari)}


def _mteb(module: str = "") -> Any:
    return import_extra(f"mteb.{module}" if module else "mteb", "mteb")
