"""Data sets of the Hugging Face hub, streamed through ``datasets`` (an optional package)."""

from __future__ import annotations

from collections.abc import Iterator

from moee_topics.corpus.columns import choose_columns
from moee_topics.corpus.document import Record
from moee_topics.corpus.readers import table_record
from moee_topics.corpus.settings import CorpusSettings
from moee_topics.errors import InputError, MissingExtraError
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
    columns = choose_columns(list(first), settings, f"hub:{name}")
    classes = getattr((getattr(data, "features", None) or {}).get(columns.label), "names", None)
    for number, row in enumerate(data):
        label = row.get(columns.label)
        if classes is not None and isinstance(label, int) and label >= 0:  # the hub's -1 is a row without a label
            row = {**row, columns.label: classes[label]}
        yield table_record(f"row {number}", row, columns)
