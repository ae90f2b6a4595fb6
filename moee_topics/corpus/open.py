"""From what a user names as the source of a corpus to the reader for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from moee_topics.corpus.docstrings import read_docstrings
from moee_topics.corpus.document import Corpus, Record
from moee_topics.corpus.files import (
    StandardInput,
    read_delimited,
    read_folder,
    read_json_lines,
    read_lines,
    read_parquet,
)
from moee_topics.corpus.hub import read_hub
from moee_topics.corpus.newsgroups import read_20newsgroups
from moee_topics.corpus.settings import CorpusOptions
from moee_topics.errors import InputError

FileReader = Callable[[Path, CorpusOptions], Iterator[Record]]

NAMED: dict[str, Callable[[CorpusOptions], Iterator[Record]]] = {
    "20newsgroups": read_20newsgroups,
    "docstrings": read_docstrings,
}
BY_SUFFIX: dict[str, FileReader] = {
    ".csv": partial(read_delimited, delimiter=","),
    ".tsv": partial(read_delimited, delimiter="\t"),
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".parquet": read_parquet,
    ".txt": read_lines,
}
EXPECTED = (
    f"a name ({', '.join(NAMED)}, hub:NAME), a file ({', '.join(BY_SUFFIX)}, the text ones also with .gz), "
    "a folder of text files, or - for standard input"
)


def open_corpus(source: str | Path, options: CorpusOptions | None = None) -> Corpus:
    """Opens a corpus; nothing is read before it is iterated.

    Args:
        source: ``20newsgroups``, ``docstrings``, ``hub:NAME``, ``-`` for standard input (one document per line), a
            csv, tsv, jsonl, parquet or txt file (one document per line), or a folder of text files.
        options: the columns to take and the options of this kind of source.

    Raises:
        InputError: there is no such source, or its kind is not known.
    """
    options = options or CorpusOptions()
    name = str(source)
    read = _named_reader(name, options) or _path_reader(Path(source).expanduser(), options)
    return Corpus(source="standard input" if name == "-" else name, name=_short(name), read=read, limit=options.limit)


def _named_reader(name: str, options: CorpusOptions) -> Callable[[], Iterator[Record]] | None:
    if name in NAMED:
        return partial(NAMED[name], options)
    if name == "-":
        return partial(StandardInput().read, options)
    if name.startswith("hub:"):
        return partial(read_hub, name.removeprefix("hub:"), options)
    return None


def _path_reader(path: Path, options: CorpusOptions) -> Callable[[], Iterator[Record]]:
    if not path.exists():
        raise InputError(f"There is no corpus {str(path)!r}. Expected {EXPECTED}.")
    if path.is_dir():
        return partial(read_folder, path, options)
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    suffix = suffixes[-1] if suffixes else ""
    zipped_parquet = suffix == ".parquet" and path.suffix.lower() == ".gz"
    if suffix not in BY_SUFFIX or zipped_parquet:
        raise InputError(
            f"{path} is of no known kind of file ({''.join(path.suffixes) or 'no ending'}). Expected {EXPECTED}."
        )
    return partial(BY_SUFFIX[suffix], path, options)


def _short(name: str) -> str:
    if name == "-":
        return "standard input"
    return name if name in NAMED or name.startswith("hub:") else Path(name).name
