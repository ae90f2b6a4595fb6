"""Data sets of the Hugging Face hub, streamed through ``datasets`` (an optional package)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from moee_topics.corpus.document import Record
from moee_topics.corpus.files import table_record
from moee_topics.corpus.settings import CorpusSettings, choose_columns
from moee_topics.errors import InputError, MissingExtraError


def read_hub(name: str, settings: CorpusSettings) -> Iterator[Record]:
    """The rows of one split of a hub data set, downloaded while they are read."""
    data = _open(name, settings)
    first = next(iter(data), None)
    if first is None:
        raise InputError(f"The split {settings.split!r} of the hub data set {name!r} has no rows (corpus.split).")
    columns = choose_columns(list(first), settings, f"hub:{name}")
    names = _class_names(data, columns.label)
    for number, row in enumerate(data):
        yield table_record(f"row {number}", _named_label(row, columns.label, names), columns)


def _open(name: str, settings: CorpusSettings) -> Any:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise MissingExtraError("datasets", "hub") from error
    try:
        return load_dataset(name, settings.config, split=settings.split, streaming=True)
    except (OSError, ValueError) as error:  # datasets' own errors are subclasses of these
        raise InputError(
            f"The hub data set {name!r} (split {settings.split!r}) cannot be opened: {error}. "
            "Check its name, corpus.split and corpus.config, and that the hub can be reached."
        ) from error


def _class_names(data: Any, label: str | None) -> list[str] | None:
    features = getattr(data, "features", None) or {}
    return getattr(features.get(label), "names", None)


def _named_label(row: Mapping[str, Any], label: str | None, names: list[str] | None) -> Mapping[str, Any]:
    if label is None or names is None or not isinstance(row.get(label), int) or row[label] < 0:
        return row
    return {**row, label: names[row[label]]}
