"""The task types a labelled file can be: the columns each needs, what mteb wants them to become, and its protocol."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from moee_topics.corpus import Row
from moee_topics.errors import InputError
from moee_topics.messages import shortened
from moee_topics.mteb.tasks.labelled_files import LocalTask, LocalType, is_missing, label_of, number_of, text_of

Columns = dict[str, list[Any]]
SUMMARIES = ("machine_summaries", "human_summaries")
LARGEST_SAMPLE = 16_384
"""Documents of one clustering: mteb's own limit for a bootstrap sample."""
GRADES = 10
"""The most relevant that a candidate can be: nDCG weighs grades, and a mark of 1,000 is no grade."""


@dataclass(frozen=True)
class TaskTable:
    """What the rows of a file are to mteb.

    Attributes:
        columns: under mteb's names.
        candidates_left_out: candidates of queries that are not scored: without a text, or of a query that cannot be
            ranked.
    """

    columns: Columns
    candidates_left_out: int = 0


@dataclass(frozen=True)
class Protocol:
    """How mteb evaluates a task type, and what it is made from.

    Attributes:
        base: the class of ``mteb.abstasks``.
        main_score: the score it is ranked by.
        roles: the columns that a row must have, beside the text of ``LocalTask.text`` where ``has_documents``.
        table: from whole rows to mteb's columns.
        has_documents: whether a row is one document, made of the columns in ``LocalTask.text``.
        layout: of a task of queries, from the columns to the parts of its data set; None where mteb takes the columns
            as they are.
        options: what mteb leaves to the task: class attributes, from the columns of the test rows.
    """

    base: str
    main_score: str
    roles: tuple[str, ...]
    table: Callable[[Sequence[Row], LocalTask], TaskTable]
    has_documents: bool = False
    layout: Callable[[Columns], dict[str, Any]] | None = None
    options: Callable[[Columns, LocalTask], Mapping[str, Any]] = lambda columns, task: {}

    @property
    def has_queries(self) -> bool:
        """Whether candidates are ranked by query; a row may then hold lists of them, under ``GROUPED_ROLES``."""
        return self.layout is not None


def place(row: Row, task: LocalTask) -> str:
    """Where a row stands, for messages."""
    return f"{task.file}, {row.place}"


def documents(rows: Sequence[Row], task: LocalTask, *, text: str, label: str) -> TaskTable:
    """Documents and their labels, under mteb's names for the two."""
    return TaskTable(
        {
            text: [" ".join(text_of(row.values[column], place(row, task)) for column in task.text) for row in rows],
            label: [label_of(row.values[task.column("label")], place(row, task)) for row in rows],
        }
    )


def clustering_options(columns: Columns, task: LocalTask) -> Mapping[str, Any]:
    """The whole file is embedded, and ten bootstrap samples are clustered."""
    size = min(LARGEST_SAMPLE, len(columns["labels"]))
    return {
        "max_fraction_of_documents_to_embed": None,
        "max_document_to_embed": None,
        "max_documents_per_cluster": size,
    }


def scored_pairs(rows: Sequence[Row], task: LocalTask) -> TaskTable:
    """Pairs with a score of their similarity.

    Raises:
        InputError: a score is not a finite number, or all are the same.
    """
    scores = []
    for row in rows:
        value = row.values[task.column("score")]
        # A score that is not finite would make the correlation of the whole file "not a number".
        if not math.isfinite(score := number_of(value)):
            raise InputError(f"{place(row, task)}: the score is {shortened(value)}, which is not a number.")
        scores.append(score)
    if len(set(scores)) < 2:
        raise InputError(f"All scores of {task.file} are the same: there is nothing to correlate with.")
    return TaskTable({**_pairs(rows, task), "score": scores})


def labelled_pairs(rows: Sequence[Row], task: LocalTask) -> TaskTable:
    """Pairs that are alike (1) or not (0).

    Raises:
        InputError: a label is another one, or all are the same.
    """
    labels = [_relevance(row, task, most=1) for row in rows]
    if len(set(labels)) < 2:
        raise InputError(f"{task.file} has pairs of one label only; a PairClassification task needs 0 and 1.")
    return TaskTable({**_pairs(rows, task), "labels": labels})


def _pairs(rows: Sequence[Row], task: LocalTask) -> Columns:
    sides = ("sentence1", "sentence2")
    return {side: [text_of(row.values[task.column(side)], place(row, task)) for row in rows] for side in sides}


def _relevance(row: Row, task: LocalTask, *, most: int) -> int:
    """A label as a whole number from 0 to ``most``; true and false are 1 and 0."""
    value = row.values[task.column("label")]
    text = str(value).strip().lower()
    text = {"true": "1", "false": "0"}.get(text, text.removesuffix(".0"))
    # Not isdigit(): it also holds for a superscript, of which int() makes no number.
    if text in map(str, range(most + 1)):
        return int(text)
    expected = "binary labels are 0 and 1" if most == 1 else f"relevance is a whole number from 0 to {most}"
    raise InputError(f"{place(row, task)}: the label is {shortened(value)}; {expected}.")


def queries(rows: Sequence[Row], task: LocalTask, *, most: int = 1) -> TaskTable:
    """Queries with their candidates and relevance; those without a relevant and another one cannot be ranked.

    Raises:
        InputError: a candidate is marked in two ways for one query, or no query can be ranked.
    """
    candidates: dict[str, dict[str, int]] = {}
    marks: dict[tuple[str, str], int] = {}
    spellings: dict[str, str] = {}
    left_out = 0
    for row in rows:
        asked = text_of(row.values[task.column("query")], place(row, task))
        # White space makes no other query or candidate of a text: counted twice, one of two marks would be wrong.
        asked = spellings.setdefault(" ".join(asked.split()), asked)
        query = candidates.setdefault(asked, {})
        for value, relevance in _candidates(row, task, most):
            if is_missing(value):
                left_out += 1
                continue
            text = text_of(value, place(row, task))
            pair = asked, " ".join(text.split())
            if pair not in marks:
                query[text] = marks[pair] = relevance
            elif marks[pair] != relevance:
                raise InputError(
                    f"{place(row, task)}: the candidate {text[:60]!r} is marked both {marks[pair]} and {relevance} for "
                    "one query."
                )
    usable = {query: texts for query, texts in candidates.items() if any(texts.values()) and not all(texts.values())}
    left_out += sum(len(texts) for query, texts in candidates.items() if query not in usable)
    if not usable:
        raise InputError(f"No query of {task.file} has both a relevant candidate and another one.")
    columns: Columns = {
        "query": list(usable),
        "candidates": [list(texts) for texts in usable.values()],
        "relevance": [list(texts.values()) for texts in usable.values()],
    }
    return TaskTable(columns, left_out)


def _candidates(row: Row, task: LocalTask, most: int) -> list[tuple[Any, int]]:
    """The candidates of a row and their relevance: one with its label, or lists of the relevant and of the others."""
    positive, negative = row.values.get(task.column("positive")), row.values.get(task.column("negative"))
    if positive is None and negative is None:
        return [(row.values[task.column("candidate")], _relevance(row, task, most=most))]
    relevant, others = (_texts(texts, place(row, task)) for texts in (positive, negative))
    return [(text, 1) for text in relevant] + [(text, 0) for text in others]


def _texts(value: Any, place: str) -> list[Any]:
    """The texts of a cell that holds one or a list of them, which a csv file writes as JSON."""
    if isinstance(value, str) and re.match(r"\s*\[\s*['\"]", value):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f'{place}: {shortened(value)} begins as a list and is not one. Write lists as JSON, ["one", "two"].'
            ) from error
    return [] if is_missing(value) else value if isinstance(value, list) else [text_of(value, place)]


def _scores(value: Any) -> list[Any]:
    """The numbers of a cell that holds one or a list of them, which a csv file writes as JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return []
    scores = value if isinstance(value, list) else [value]
    return [number_of(score) if isinstance(score, str) else score for score in scores]


def summaries(rows: Sequence[Row], task: LocalTask) -> TaskTable:
    """Machine summaries with the human ones of the same text, and what readers thought of them.

    Raises:
        InputError: a summary is blank, a row has not one relevance for each machine summary, or all of it are the same.
    """
    columns: Columns = {role: [] for role in PROTOCOLS["Summarization"].roles}
    for row in rows:
        machine, human = (_texts(row.values[task.column(role)], place(row, task)) for role in SUMMARIES)
        if any(map(is_missing, [*machine, *human])):
            raise InputError(f"{place(row, task)}: a summary is blank. Leave it out, and its relevance.")
        scores = _scores(row.values[task.column("relevance")])
        if len(scores) != len(machine) or not all(math.isfinite(number_of(score)) for score in scores):
            raise InputError(
                f"{place(row, task)}: there must be one relevance score for each machine summary, as a list such as "
                f"[5, 2.5]: got {shortened(row.values[task.column('relevance')])} for {len(machine)}."
            )
        columns["text"].append(text_of(row.values[task.column("text")], place(row, task)))
        for role, texts in zip(SUMMARIES, (machine, human), strict=True):
            columns[role].append([text_of(text, place(row, task)) for text in texts])
        columns["relevance"].append(scores)
    # mteb leaves out rows that are the same throughout, and takes the mean of the others.
    if all(len(set(scores)) == 1 for scores in columns["relevance"]):
        raise InputError(f"All relevance scores of each row of {task.file} are the same: nothing to correlate with.")
    return TaskTable(columns)


def reranking_layout(columns: Columns) -> dict[str, Any]:
    """Each query with its own candidates, in mteb's layout of a reranking task."""
    queries, corpus, relevant, ranked = [], [], {}, {}
    for i, (query, texts) in enumerate(zip(columns["query"], columns["candidates"], strict=True)):
        ids = [f"q{i}-d{j}" for j in range(len(texts))]
        queries.append({"id": f"q{i}", "text": query})
        corpus += [{"id": id_, "title": "", "text": text} for id_, text in zip(ids, texts, strict=True)]
        relevant[f"q{i}"] = dict(zip(ids, columns["relevance"][i], strict=True))
        ranked[f"q{i}"] = ids
    return {"queries": queries, "corpus": corpus, "relevant_docs": relevant, "top_ranked": ranked}


def retrieval_layout(columns: Columns) -> dict[str, Any]:
    """All candidates as one corpus in which each query searches; equal texts are one document."""
    ids = {
        text: f"d{i}" for i, text in enumerate(dict.fromkeys(text for texts in columns["candidates"] for text in texts))
    }
    relevant = {
        f"q{i}": {ids[text]: grade for text, grade in zip(texts, grades, strict=True) if grade}
        for i, (texts, grades) in enumerate(zip(columns["candidates"], columns["relevance"], strict=True))
    }
    return {
        "queries": [{"id": f"q{i}", "text": query} for i, query in enumerate(columns["query"])],
        "corpus": [{"id": id_, "title": "", "text": text} for text, id_ in ids.items()],
        "relevant_docs": relevant,
        "top_ranked": None,
    }


PROTOCOLS: Mapping[LocalType, Protocol] = {
    "Clustering": Protocol(
        "AbsTaskClustering",
        "v_measure",
        ("label",),
        partial(documents, text="sentences", label="labels"),
        has_documents=True,
        options=clustering_options,
    ),
    "Classification": Protocol(
        "AbsTaskClassification",
        "accuracy",
        ("label",),
        partial(documents, text="text", label="label"),
        has_documents=True,
        options=lambda columns, task: {"samples_per_label": task.samples_per_label},
    ),
    "STS": Protocol(
        "AbsTaskSTS",
        "cosine_spearman",
        ("sentence1", "sentence2", "score"),
        scored_pairs,
        options=lambda columns, task: {"min_score": 0, "max_score": 5},
    ),
    "PairClassification": Protocol(
        "AbsTaskPairClassification", "max_ap", ("sentence1", "sentence2", "label"), labelled_pairs
    ),
    "Reranking": Protocol(
        "AbsTaskRetrieval", "map_at_1000", ("query", "candidate", "label"), queries, layout=reranking_layout
    ),
    "Retrieval": Protocol(
        "AbsTaskRetrieval",
        "ndcg_at_10",
        ("query", "candidate", "label"),
        partial(queries, most=GRADES),
        layout=retrieval_layout,
    ),
    "Summarization": Protocol(
        "AbsTaskSummarization",
        "cosine_spearman",
        ("text", "machine_summaries", "human_summaries", "relevance"),
        summaries,
        options=lambda columns, task: {"min_score": 0, "max_score": 5},
    ),
}
"""A new task type is its entry here, and its name in ``LocalType``."""
GROUPED_ROLES = ("query", "positive", "negative")
"""The columns of a reranking or retrieval file whose rows hold lists of candidates."""


def needed_columns(kind: LocalType, task: LocalTask, columns: Sequence[str]) -> list[str]:
    """The columns that a row must have to be part of a task of this type; ``columns`` are those of the file."""
    protocol = PROTOCOLS[kind]
    is_grouped = protocol.has_queries and task.column("positive") in columns
    roles = GROUPED_ROLES if is_grouped else protocol.roles
    return [*(task.text if protocol.has_documents else ()), *(task.column(role) for role in roles)]
