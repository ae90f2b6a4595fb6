"""From what a user names as the source of a corpus to the reader for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from moee_topics.corpus.corpus import Corpus
from moee_topics.corpus.databases import DATABASES, database_kind, database_path, read_database
from moee_topics.corpus.docstrings import read_docstrings
from moee_topics.corpus.document import Record
from moee_topics.corpus.hub import is_dataset, read_dataset, read_hub
from moee_topics.corpus.newsgroups import read_20newsgroups
from moee_topics.corpus.packing import PACKINGS, kind_of
from moee_topics.corpus.readers import StandardInput, read_folder, read_lines, read_rows
from moee_topics.corpus.settings import CorpusSettings
from moee_topics.corpus.tables import TABLES, array_hint, is_table
from moee_topics.errors import InputError
from moee_topics.messages import shortened
from moee_topics.remote import is_remote, local_copy, without_query

NAMED: dict[str, Callable[[CorpusSettings], Iterator[Record]]] = {
    "20newsgroups": read_20newsgroups,
    "docstrings": read_docstrings,
}
EXPECTED = (
    f"a name ({', '.join(NAMED)}, hub:NAME), a file ({', '.join([*TABLES, '.txt'])}, the text ones also with "
    f"{', '.join(PACKINGS)}), a database ({', '.join(f'{kind}:///FILE' for kind in DATABASES)}), a folder of text "
    "files or of a saved data set, the address of one (s3://, gs://, az://, https://), or - for standard input"
)

COLUMN_KEYS = ("text", "id", "label", "timestamp", "time_format")


def source_kind(source: str) -> str:
    """What a source is: a name such as "docstrings", "sqlite" or "folder", or a file's ending (".txt" for lines).

    Empty where it is not there, or its kind is not known.
    """
    if source in NAMED:
        return source
    if source == "-":
        return ".txt"
    if source.startswith("hub:"):
        return "hub"
    if kind := database_kind(source):
        return kind
    path = _path(source)
    if os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises on too long a name)
        return "dataset" if is_dataset(path) else "folder"
    return kind_of(path)[0] if os.path.isfile(path) else ""  # noqa: PTH113 (the same)


def has_columns(source: str) -> bool:
    """Whether a source is a table whose columns can be named; one that is not there or not known may be."""
    return source_kind(source) not in (*NAMED, ".txt", "folder")


def open_corpus(settings: CorpusSettings) -> Corpus:
    """Opens a corpus; nothing is read before it is iterated.

    Raises:
        InputError: there is no such source, its kind is not known, or columns are named and it has none.
    """
    source = settings.source
    idle = [key for key in COLUMN_KEYS if getattr(settings, key) not in (None, "none")]
    if idle and not has_columns(source):
        raise InputError(
            f"{shortened(source)} has no columns, so that corpus.{', corpus.'.join(idle)} would do nothing. Give a "
            f"table, or take each text as it is with: {' '.join(f'corpus.{key}=null' for key in idle)}"
        )
    if source == "-":
        return Corpus("standard input", "standard input", partial(StandardInput().read, settings), settings)
    if source in NAMED:
        return Corpus(source, source, partial(NAMED[source], settings), settings)
    if source.startswith("hub:"):
        return Corpus(source, source, partial(read_hub, source.removeprefix("hub:"), settings), settings)
    if database_kind(source):
        return Corpus(source, database_path(source).name, partial(read_database, source, settings), settings)
    path = _path(source)
    # An empty name, as an unset variable of a shell gives it, would be the working folder.
    if not source.strip() or not os.path.exists(path):  # noqa: PTH110 (Path.exists raises where a name is too long)
        raise InputError(f"There is no corpus {shortened(source)}. Expected {EXPECTED}.")
    if not path.is_file() and not path.is_dir():  # it is read more than once
        raise InputError(f"{path} is a pipe or a device, which can be read once. Give a file, or - and pipe it in.")
    read: Callable[[Path, CorpusSettings], Iterator[Record]]  # has_columns() tells the tables among them
    if path.is_dir():
        read = read_dataset if is_dataset(path) else read_folder
    elif kind_of(path)[0] == ".txt":
        read = read_lines
    elif is_table(path):
        read = read_rows
    else:
        endings = "".join(path.suffixes) or "no ending"
        raise InputError(f"{path} is of no known kind of file ({endings}). Expected {EXPECTED}.{array_hint(path)}")
    return Corpus(without_query(source), path.name, partial(read, path, settings), settings)


def _path(source: str) -> Path:
    if is_remote(source):
        return local_copy(source)
    try:
        return Path(source).expanduser()
    except RuntimeError:  # the home of nobody
        return Path(source)
