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
from moee_topics.corpus.settings import CorpusSettings
from moee_topics.errors import InputError

FileReader = Callable[[Path, CorpusSettings], Iterator[Record]]

NAMED: dict[str, Callable[[CorpusSettings], Iterator[Record]]] = {
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


def open_corpus(settings: CorpusSettings) -> Corpus:
    """Opens a corpus; nothing is read before it is iterated.

    Raises:
        InputError: there is no such source, or its kind is not known.
    """
    source = settings.source
    if source == "-":
        return Corpus("standard input", "standard input", partial(StandardInput().read, settings), settings.limit)
    if source in NAMED:
        return Corpus(source, source, partial(NAMED[source], settings), settings.limit)
    if source.startswith("hub:"):
        return Corpus(source, source, partial(read_hub, source.removeprefix("hub:"), settings), settings.limit)
    path = Path(source).expanduser()
    return Corpus(source, path.name, _path_reader(path, settings), settings.limit)


def _path_reader(path: Path, settings: CorpusSettings) -> Callable[[], Iterator[Record]]:
    if not path.exists():
        raise InputError(f"There is no corpus {str(path)!r}. Expected {EXPECTED}.")
    if path.is_dir():
        return partial(read_folder, path, settings)
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    suffix = suffixes[-1] if suffixes else ""
    zipped_parquet = suffix == ".parquet" and path.suffix.lower() == ".gz"
    if suffix not in BY_SUFFIX or zipped_parquet:
        raise InputError(
            f"{path} is of no known kind of file ({''.join(path.suffixes) or 'no ending'}). Expected {EXPECTED}."
        )
    return partial(BY_SUFFIX[suffix], path, settings)
