"""Data sets of the Hugging Face hub and those saved to disk, through ``datasets`` (an optional package)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from moee_topics.corpus.columns import choose_columns
from moee_topics.corpus.document import Record
from moee_topics.corpus.readers import table_record
from moee_topics.corpus.settings import CorpusSettings
from moee_topics.errors import InputError, MissingExtraError, import_extra
from moee_topics.progress import full_disk


def read_hub(name: str, settings: CorpusSettings) -> Iterator[Record]:
    """The rows of one split of a hub data set, downloaded while they are read."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise MissingExtraError("datasets", "hub") from error
    try:
        data = load_dataset(name, settings.config, split=settings.split, streaming=True)
    except (OSError, ValueError) as error:  # datasets' own errors are subclasses of these
        if full := full_disk(error, "Then run the same command again."):
            raise full from error
        raise InputError(
            f"The hub data set {name!r} (split {settings.split!r}) cannot be opened: {error}. "
            "Check its name, corpus.split and corpus.config, and that the hub can be reached."
        ) from error
    first = next(iter(data), None)
    if first is None:
        raise InputError(f"The split {settings.split!r} of the hub data set {name!r} has no rows (corpus.split).")
    yield from dataset_records(data, list(first), settings, f"hub:{name}")


def is_dataset(folder: Path) -> bool:
    """Whether a folder is what ``save_to_disk`` of the package ``datasets`` wrote."""
    return (folder / "dataset_dict.json").is_file() or all(
        (folder / name).is_file() for name in ("dataset_info.json", "state.json")
    )


def read_dataset(folder: Path, settings: CorpusSettings) -> Iterator[Record]:
    """The rows of a data set that was saved to disk, or of one split of several.

    Raises:
        InputError: it is damaged, or has no such split.
    """
    datasets = import_extra("datasets", "hub")
    try:
        data = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, TypeError, KeyError) as error:  # of damaged JSON and Arrow, as datasets lets them out
        raise InputError(f"{folder} cannot be read as a saved data set: {error}. Save it again.") from error
    if isinstance(data, Mapping):
        if settings.split not in data:
            raise InputError(
                f"{folder} has no split {settings.split!r}, but {', '.join(data)}. Name one with corpus.split."
            )
        data = data[settings.split]
    yield from dataset_records(data, data.column_names, settings, str(folder))


def dataset_records(data: Any, names: Sequence[str], settings: CorpusSettings, source: str) -> Iterator[Record]:
    """The rows of an opened data set, with the names of its classes for their numbers."""
    columns = choose_columns(names, settings, source)
    classes = getattr((getattr(data, "features", None) or {}).get(columns.label), "names", None)
    for number, row in enumerate(data):
        label = row.get(columns.label)
        if classes is not None and isinstance(label, int) and label >= 0:  # the hub's -1 is a row without a label
            row = {**row, columns.label: classes[label]}
        yield table_record(f"row {number}", row, columns)
