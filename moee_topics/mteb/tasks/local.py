"""Labelled local files as tasks, with mteb's own protocols."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from moee_topics.corpus import Row, bare_name
from moee_topics.defaults import SEED
from moee_topics.errors import InputError
from moee_topics.messages import shortened
from moee_topics.mteb.tasks.cluster_scores import add_cluster_scores
from moee_topics.mteb.tasks.labelled_files import (
    LocalTask,
    LocalType,
    columns_of,
    draw,
    guess_type,
    label_of,
    sample_rows,
    whole_rows,
)
from moee_topics.mteb.tasks.task_source import TaskSource, mteb
from moee_topics.mteb.tasks.task_types import (
    GROUPED_ROLES,
    PROTOCOLS,
    Columns,
    needed_columns,
)
from moee_topics.run_folder import is_plain_name

Splits = Mapping[str, Columns]
"""The columns of the test rows and, of a classification task, of the training rows."""


def local_task(spec: LocalTask) -> TaskSource:
    """A labelled file as a task, with the protocol of mteb's own tasks of that type.

    Rows and candidates that lack a text or a label, or cannot be ranked, are left out; ``TaskSource.left_out`` counts
    them.

    Raises:
        InputError: the file, its columns or its values do not fit the type.
    """
    spec = replace(spec, seed=SEED if spec.seed is None else spec.seed)
    rows = spec.rows(spec.file)
    kind = spec.type or ("Classification" if spec.train else guess_type(columns_of(rows)))
    if kind not in PROTOCOLS:
        raise InputError(f"There is no local task type {kind!r}; there are {', '.join(PROTOCOLS)}.")
    _refuse_what_does_nothing(spec, kind)
    protocol, parts = PROTOCOLS[kind], {"test": sample_rows(rows, spec)}
    if kind == "Classification":
        parts["train"] = _training_rows(spec)
    files = {"test": spec, "train": replace(spec, file=spec.train or spec.file)}  # a message names the row's own file
    whole = {
        split: whole_rows(part, needed_columns(kind, spec, columns_of(part)), files[split])
        for split, part in parts.items()
    }
    if kind == "Classification":
        whole["test"] = _rows_of_known_labels(whole["test"], whole["train"], spec)
    tables = {split: protocol.table(part, files[split]) for split, part in whole.items()}
    splits = {split: table.columns for split, table in tables.items()}
    if protocol.has_documents:
        splits = _with_numbered_labels(splits, spec)
    left_out = sum(len(parts[split]) - len(whole[split]) + tables[split].candidates_left_out for split in parts)
    name = task_name(spec, kind)
    make = partial(_make, name, kind, splits, spec)
    return TaskSource(name, kind, protocol.main_score, make, local=True, left_out=left_out)


def task_name(spec: LocalTask, kind: LocalType) -> str:
    """The name that a task was given, or one of its folder, file and type, as mteb's own are called.

    Raises:
        InputError: it can be no name of a file, which the result of the task is.
    """
    folder_and_file = re.sub(r"\W+", "-", f"{spec.file.resolve().parent.name}-{bare_name(spec.file)}").strip("-")
    size = ("S2S" if len(spec.text) == 1 else "P2P") if kind == "Clustering" else ""  # as mteb calls titles and texts
    name = spec.name or f"{folder_and_file}-{kind}{size}"
    if not is_plain_name(name):
        raise InputError(
            f"A task cannot have the name {shortened(name)}, since its result is a file of that name. Give "
            f"{spec.file.name} another, of at most 200 bytes without slashes and without dots at its ends."
        )
    return name


def _training_rows(spec: LocalTask) -> list[Row]:
    """The rows that a classifier is trained on; of a sample four times as many as there are test rows."""
    if spec.train is None:
        raise InputError(f"{spec.file} needs training rows to be a Classification task; give them as train=FILE.")
    return draw(spec.rows(spec.train), spec.seed, 4 * spec.sample if spec.sample else None)


def _refuse_what_does_nothing(spec: LocalTask, kind: LocalType) -> None:
    """Keys of a labelled file that a task of this type does not read."""
    protocol = PROTOCOLS[kind]
    roles = {*protocol.roles, *(GROUPED_ROLES if protocol.has_queries else ())}
    idle = [f"columns.{role}" for role in spec.columns if role not in roles]
    reads = {"train": kind == "Classification", "samples_per_label": kind == "Classification"}
    reads["text"] = protocol.has_documents
    idle += [key for key, is_read in reads.items() if not is_read and getattr(spec, key) != getattr(LocalTask, key)]
    if idle:
        instead = " The column of its documents is text: [COLUMN]." if "columns.text" in idle else ""
        raise InputError(
            f"{spec.file}: {', '.join(idle)} would do nothing, since a {kind} task reads "
            f"{', '.join(sorted(roles))}{' and text' if protocol.has_documents else ''}.{instead} Leave it out, or say "
            "another type."
        )


def _rows_of_known_labels(test: Sequence[Row], train: Sequence[Row], spec: LocalTask) -> list[Row]:
    """The test rows whose label some training row has; no classifier could tell the others."""
    label = spec.column("label")
    trained = {label_of(row.values[label], f"{spec.train}, {row.place}") for row in train}
    tested = [row for row in test if label_of(row.values[label], f"{spec.file}, {row.place}") in trained]
    if not tested:
        raise InputError(f"No label of {spec.file} is among those of {spec.train}: {', '.join(sorted(trained)[:5])}, …")
    return tested


def _with_numbered_labels(splits: Splits, spec: LocalTask) -> dict[str, Columns]:
    """Labels as numbers from 0 on, the same in all splits: mteb takes a label of -1 for a missing one."""
    column = "label" if "label" in splits["test"] else "labels"
    names = sorted({label for columns in splits.values() for label in columns[column]})
    if len(names) < 2:
        raise InputError(f"{spec.file} has one label only ({names[0]}); there is nothing to tell apart.")
    number = {name: i for i, name in enumerate(names)}
    return {split: {**columns, column: [number[name] for name in columns[column]]} for split, columns in splits.items()}


def _make(name: str, kind: LocalType, splits: Splits, spec: LocalTask) -> Any:
    """A fresh task: a subclass of mteb's class of the type, as mteb writes its own, whose data is here already."""
    protocol = PROTOCOLS[kind]
    # Names the data and the protocol, so that a changed file does not find the result of the old one.
    content = json.dumps([splits, spec.seed, spec.samples_per_label], ensure_ascii=False, default=str)
    revision = hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    metadata = mteb().TaskMetadata(
        name=name,
        description=f"A local file as a {kind} task.",
        dataset={"path": f"local/{name}", "revision": revision},
        type=kind,
        category="t2c" if protocol.has_documents else "t2t",
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=protocol.main_score,
    )

    def load_data(self: Any, num_proc: int | None = None, **kwargs: Any) -> None:
        self.dataset = _dataset(kind, splits)
        self.data_loaded = True

    attributes = {"metadata": metadata, "load_data": load_data, **protocol.options(splits["test"], spec)}
    class_name = re.sub(r"\W", "", name) or "LocalTask"
    task = type(class_name, (getattr(mteb("abstasks"), protocol.base),), attributes)(seed=spec.seed)
    return add_cluster_scores(task) if kind == "Clustering" else task


def _dataset(kind: LocalType, splits: Splits) -> Any:
    """The columns in the layout that mteb's class of the type expects."""
    from datasets import Dataset, DatasetDict

    if layout := PROTOCOLS[kind].layout:
        parts = layout(splits["test"])
        texts = {name: Dataset.from_list(parts[name]) for name in ("queries", "corpus")}
        return {"default": {"test": {**parts, **texts}}}
    return DatasetDict({split: Dataset.from_dict(columns) for split, columns in splits.items()})
