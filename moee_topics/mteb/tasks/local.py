"""Labelled local files as tasks, with mteb's own protocols."""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import Field

from moee_topics.corpus import CorpusSettings, Quoting, Row
from moee_topics.defaults import SEED
from moee_topics.errors import InputError
from moee_topics.mteb.tasks.cluster_scores import add_cluster_scores
from moee_topics.mteb.tasks.labelled_files import (
    LocalType,
    columns_of,
    guess_type,
    is_blank,
    is_missing,
    is_missing_label,
    read_rows,
)
from moee_topics.mteb.tasks.source import TaskSource, mteb

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
Table = dict[str, list[Any]]
LARGEST_SAMPLE = 16_384
GRADES = 10
"""The most relevant that a candidate can be: nDCG weighs grades, and a mark of 1,000 is no grade."""
Item = TypeVar("Item")
_ROLES: Mapping[str, tuple[str, ...]] = {
    "STS": ("sentence1", "sentence2", "score"),
    "PairClassification": ("sentence1", "sentence2", "label"),
    "Reranking": ("query", "candidate", "label"),
    "Retrieval": ("query", "candidate", "label"),
    "Grouped": ("query", "positive", "negative"),
    "Summarization": ("text", "machine_summaries", "human_summaries", "relevance"),
}
COLUMN_ROLES = {"label", *(role for roles in _ROLES.values() for role in roles)}


@dataclass(frozen=True)
class LocalTask:
    """A labelled file that is to be a task; the entries of ``score.local`` in a recipe are this class.

    Attributes:
        type: the task type, or None to tell it from the columns.
        file: csv, tsv, jsonl, parquet or xlsx; the text formats also packed.
        name: its name in results; made from the file's name if empty.
        train: the file with the training rows of a classification task.
        text: the columns whose texts, joined by a space, are the document of a clustering or classification task. One
            title column makes a sentence-to-sentence task, title and abstract a paragraph-to-paragraph one.
        columns: names of other columns where they differ from the usual ones: label, sentence1, sentence2, score,
            query, positive, negative, candidate, machine_summaries, human_summaries, relevance.
        sample: rows to keep, drawn with the seed (queries, where rows are grouped by query), and of training rows four
            times as many; None keeps all.
        samples_per_label: rows per label that a classifier is trained on, ten times over; 8 is mteb's default.
        seed: of the sample and of the task; in a recipe that of the recipe unless it is said here.
        encoding, delimiter, quoting: of the file and of the training rows, as a corpus has them.

    Raises:
        InputError: ``columns`` names a role that no task type has.
    """

    type: LocalType | None
    file: Path
    name: str = ""
    train: Path | None = None
    text: tuple[str, ...] = ("text",)
    columns: Mapping[str, str] = field(default_factory=dict)
    sample: Annotated[int, Field(ge=2)] | None = None
    samples_per_label: Annotated[int, Field(ge=1)] = 8
    seed: int | None = None
    encoding: str = CorpusSettings.encoding
    delimiter: str | None = CorpusSettings.delimiter
    quoting: Quoting = CorpusSettings.quoting

    def __post_init__(self) -> None:
        """Refuses a column that nothing would read: most often a misspelt key."""
        if unknown := sorted(set(self.columns) - COLUMN_ROLES):
            raise InputError(
                f"{self.file}: {', '.join(unknown)} is no key of a labelled file and no column of a task; the columns "
                f"are {', '.join(sorted(COLUMN_ROLES))}."
            )

    def rows(self, path: Path) -> list[Row]:
        """The rows of the file or of the training file."""
        try:
            return read_rows(path, encoding=self.encoding, delimiter=self.delimiter, quoting=self.quoting)
        except InputError as error:
            if "corpus." not in str(error):
                raise  # else the reader names keys of a corpus, which a scoring recipe does not have
            raise InputError(f"{error} A labelled file has these keys without corpus: FILE,encoding=cp1252.") from error

    def column(self, role: str) -> str:
        """The name of the column that has a role."""
        return self.columns.get(role, role)


def local_task(spec: LocalTask) -> TaskSource:
    """A labelled file as a task, with the protocol of mteb's own tasks of that type.

    Rows and candidates that lack a text or a label are left out; ``TaskSource.left_out`` counts them.

    Raises:
        InputError: the file, its columns or its values do not fit the type.
    """
    spec = replace(spec, seed=SEED if spec.seed is None else spec.seed)
    rows = spec.rows(spec.file)
    kind = spec.type or ("Classification" if spec.train else guess_type(columns_of(rows)))
    if kind not in LOCAL_TYPES:
        raise InputError(f"There is no local task type {kind!r}; there are {', '.join(LOCAL_TYPES)}.")
    parts = {"test": _sampled(rows, spec)}
    if kind == "Classification":
        if spec.train is None:
            raise InputError(f"{spec.file} needs training rows to be a Classification task; give them as train=FILE.")
        parts["train"] = _draw(spec.rows(spec.train), spec.seed, 4 * spec.sample if spec.sample else None)
    kept = {split: complete(part, _needed(kind, spec, part), spec) for split, part in parts.items()}
    left_out = sum(len(parts[split]) - len(kept[split]) for split in parts)
    if kind == "Classification":
        left_out += _leave_out_unknown(kept, spec)
    tables = {split: _BUILDERS[kind](part, spec) for split, part in kept.items()}
    left_out += sum(table.pop("left_out", [0])[0] for table in tables.values())
    if kind in ("Clustering", "Classification"):
        tables = _numbered(tables, spec)
    name = spec.name or _default_name(spec, kind)
    make = partial(_make, name, kind, tables, spec)
    return TaskSource(name, kind, MAIN_SCORES[kind], make, local=True, left_out=left_out)


def _sampled(rows: list[Row], spec: LocalTask) -> list[Row]:
    """The rows to keep; where rows are grouped by query, all of the queries to keep."""
    if spec.sample is None:
        return rows
    if spec.sample < 2:
        raise InputError(f"A sample of {spec.sample} rows of {spec.file} is too small; take 2 or more.")
    query, columns = spec.column("query"), columns_of(rows)
    if query not in columns or spec.column("positive") in columns:
        return _draw(rows, spec.seed, spec.sample)
    queries = list(dict.fromkeys(str(row.values.get(query)) for row in rows))
    chosen = set(_draw(queries, spec.seed, spec.sample))
    return [row for row in rows if str(row.values.get(query)) in chosen]


def _draw(items: list[Item], seed: int | None, count: int | None) -> list[Item]:
    if count is None or count >= len(items):
        return items
    return [items[i] for i in sorted(random.Random(seed).sample(range(len(items)), count))]


def _needed(kind: LocalType, spec: LocalTask, rows: Sequence[Row]) -> list[str]:
    """The columns that a row must have."""
    if kind in ("Clustering", "Classification"):
        return [*spec.text, spec.column("label")]
    grouped = spec.column("positive") in columns_of(rows) and kind in ("Reranking", "Retrieval")
    return [spec.column(role) for role in _ROLES["Grouped" if grouped else kind]]


def complete(rows: Sequence[Row], columns: Sequence[str], spec: LocalTask) -> list[Row]:
    """The rows whose columns all hold something.

    Raises:
        InputError: a column is in no row, or no row has all of them.
    """
    present = columns_of(rows)
    if absent := [column for column in columns if column not in present]:
        raise InputError(f"{spec.file} has no column {', '.join(absent)}; it has {', '.join(sorted(present))}.")
    # A score that is not a number is no gap but a fault, which is refused later, by line.
    of_role = {spec.column("label"): is_missing_label, spec.column("score"): is_blank}
    tests = {column: of_role.get(column, is_missing) for column in columns}
    kept = [row for row in rows if not any(test(row.values.get(column)) for column, test in tests.items())]
    if not kept:
        raise InputError(f"No row of {spec.file} has all of {', '.join(columns)}.")
    return kept


def _leave_out_unknown(parts: dict[str, list[Row]], spec: LocalTask) -> int:
    """Takes test rows away whose label no training row has, which no classifier could tell; counts them."""
    label = spec.column("label")
    trained = {_name(row.values[label]) for row in parts["train"]}
    tested = [row for row in parts["test"] if _name(row.values[label]) in trained]
    if not tested:
        raise InputError(f"No label of {spec.file} is among those of {spec.train}: {', '.join(sorted(trained)[:5])}, …")
    left_out = len(parts["test"]) - len(tested)
    parts["test"] = tested
    return left_out


def _name(label: Any) -> str:
    """A label as text; 1.0, as a column of numbers with gaps gives it, is 1."""
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def _documents(rows: Sequence[Row], spec: LocalTask) -> list[str]:
    return [" ".join(str(row.values[column]) for column in spec.text) for row in rows]


def _clustering(rows: Sequence[Row], spec: LocalTask) -> Table:
    return {"sentences": _documents(rows, spec), "labels": [_name(row.values[spec.column("label")]) for row in rows]}


def _classification(rows: Sequence[Row], spec: LocalTask) -> Table:
    return {"text": _documents(rows, spec), "label": [_name(row.values[spec.column("label")]) for row in rows]}


def _pairs(rows: Sequence[Row], spec: LocalTask) -> Table:
    return {side: [str(row.values[spec.column(side)]) for row in rows] for side in ("sentence1", "sentence2")}


def _sts(rows: Sequence[Row], spec: LocalTask) -> Table:
    scores = []
    for row in rows:
        value = row.values[spec.column("score")]
        try:
            score = float(value)
        except (TypeError, ValueError):
            score = math.nan
        # A score that is not finite would make the correlation of the whole file "not a number".
        if not math.isfinite(score):
            raise InputError(f"{spec.file}, {row.place}: the score is {value!r}, which is not a number.")
        scores.append(score)
    if len(set(scores)) < 2:
        raise InputError(f"All scores of {spec.file} are the same: there is nothing to correlate with.")
    return {**_pairs(rows, spec), "score": scores}


def _pair_classification(rows: Sequence[Row], spec: LocalTask) -> Table:
    labels = [_relevance(row, spec, most=1) for row in rows]
    if len(set(labels)) < 2:
        raise InputError(f"{spec.file} has pairs of one label only; a PairClassification task needs 0 and 1.")
    return {**_pairs(rows, spec), "labels": labels}


def _relevance(row: Row, spec: LocalTask, *, most: int) -> int:
    """A label as a whole number from 0 to ``most``; true and false are 1 and 0."""
    value = row.values[spec.column("label")]
    text = str(value).strip().lower()
    text = {"true": "1", "false": "0"}.get(text, text.removesuffix(".0"))
    if text.isdigit() and int(text) <= most:
        return int(text)
    expected = "binary labels are 0 and 1" if most == 1 else f"relevance is a whole number from 0 to {most}"
    raise InputError(f"{spec.file}, {row.place}: the label is {value!r}; {expected}.")


def _queries(rows: Sequence[Row], spec: LocalTask, most: int = 1) -> Table:
    """Queries with their candidates and relevance; those without a relevant and another one cannot be ranked."""
    candidates: dict[str, dict[str, int]] = {}
    left_out = 0
    for row in rows:
        query = candidates.setdefault(str(row.values[spec.column("query")]), {})
        for text, relevance in _candidates(row, spec, most):
            if is_missing(text):
                left_out += 1
            elif query.setdefault(str(text), relevance) != relevance:
                raise InputError(
                    f"{spec.file}, {row.place}: the candidate {str(text)[:60]!r} is marked both {query[str(text)]} and "
                    f"{relevance} for one query."
                )
    usable = {query: texts for query, texts in candidates.items() if any(texts.values()) and not all(texts.values())}
    if not usable:
        raise InputError(f"No query of {spec.file} has both a relevant candidate and another one.")
    return {
        "query": list(usable),
        "candidates": [list(texts) for texts in usable.values()],
        "relevance": [list(texts.values()) for texts in usable.values()],
        "left_out": [left_out],
    }


def _candidates(row: Row, spec: LocalTask, most: int) -> list[tuple[Any, int]]:
    positive, negative = row.values.get(spec.column("positive")), row.values.get(spec.column("negative"))
    if positive is None and negative is None:
        return [(row.values[spec.column("candidate")], _relevance(row, spec, most=most))]
    listed = [[texts] if isinstance(texts, str) else texts or [] for texts in (positive, negative)]
    return [(text, 1 - column) for column, texts in enumerate(listed) for text in texts]


def _summarization(rows: Sequence[Row], spec: LocalTask) -> Table:
    table = {role: [row.values[spec.column(role)] for row in rows] for role in _ROLES["Summarization"]}
    for row, machine, scores in zip(rows, table["machine_summaries"], table["relevance"], strict=True):
        if not isinstance(machine, list) or not isinstance(scores, list) or len(machine) != len(scores):
            raise InputError(f"{spec.file}, {row.place}: there must be one relevance score for each machine summary.")
    return table


_BUILDERS: Mapping[LocalType, Callable[[Sequence[Row], LocalTask], Table]] = {
    "Clustering": _clustering,
    "STS": _sts,
    "PairClassification": _pair_classification,
    "Reranking": _queries,
    "Retrieval": partial(_queries, most=GRADES),
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
    base = getattr(mteb("abstasks"), _BASES[kind])
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
    return mteb().TaskMetadata(
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
    for i, (query, texts) in enumerate(zip(table["query"], table["candidates"], strict=True)):
        ids = [f"q{i}-d{j}" for j in range(len(texts))]
        queries.append({"id": f"q{i}", "text": query})
        corpus += [{"id": id_, "title": "", "text": text} for id_, text in zip(ids, texts, strict=True)]
        relevant[f"q{i}"] = dict(zip(ids, table["relevance"][i], strict=True))
        ranked[f"q{i}"] = ids
    return queries, corpus, relevant, ranked


def _searched(table: Table) -> Candidates:
    """All candidates as one corpus in which each query searches; equal texts are one document."""
    ids = {
        text: f"d{i}" for i, text in enumerate(dict.fromkeys(text for texts in table["candidates"] for text in texts))
    }
    queries = [{"id": f"q{i}", "text": query} for i, query in enumerate(table["query"])]
    relevant = {
        f"q{i}": {ids[text]: grade for text, grade in zip(texts, grades, strict=True) if grade}
        for i, (texts, grades) in enumerate(zip(table["candidates"], table["relevance"], strict=True))
    }
    return queries, [{"id": id_, "title": "", "text": text} for text, id_ in ids.items()], relevant, None
