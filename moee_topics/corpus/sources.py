"""From what a user names as the source of a corpus to the reader for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from moee_topics.corpus.corpus import Corpus
from moee_topics.corpus.docstrings import read_docstrings
from moee_topics.corpus.document import Record
from moee_topics.corpus.hub import read_hub
from moee_topics.corpus.newsgroups import read_20newsgroups
from moee_topics.corpus.packing import PACKINGS, kind_of
from moee_topics.corpus.readers import StandardInput, read_folder, read_lines, read_rows
from moee_topics.corpus.settings import CorpusSettings
from moee_topics.corpus.tables import TABLES, is_table
from moee_topics.errors import InputError

NAMED: dict[str, Callable[[CorpusSettings], Iterator[Record]]] = {
    "20newsgroups": read_20newsgroups,
    "docstrings": read_docstrings,
}
EXPECTED = (
    f"a name ({', '.join(NAMED)}, hub:NAME), a file ({', '.join([*TABLES, '.txt'])}, the text ones also with "
    f"{', '.join(PACKINGS)}), a folder of text files, or - for standard input"
)


def open_corpus(settings: CorpusSettings) -> Corpus:
    """Opens a corpus; nothing is read before it is iterated.

    Raises:
        InputError: there is no such source, or its kind is not known.
    """
    source = settings.source
    if source == "-":
        return Corpus("standard input", "standard input", partial(StandardInput().read, settings), settings)
    if source in NAMED:
        return Corpus(source, source, partial(NAMED[source], settings), settings)
    if source.startswith("hub:"):
        return Corpus(source, source, partial(read_hub, source.removeprefix("hub:"), settings), settings)
    path = Path(source).expanduser()
    if not path.exists():
        raise InputError(f"There is no corpus {source!r}. Expected {EXPECTED}.")
    read: Callable[[Path, CorpusSettings], Iterator[Record]]
    if path.is_dir():
        read = read_folder
    elif kind_of(path)[0] == ".txt":
        read = read_lines
    elif is_table(path):
        read = read_rows
    else:
        endings = "".join(path.suffixes) or "no ending"
        raise InputError(f"{path} is of no known kind of file ({endings}). Expected {EXPECTED}.")
    return Corpus(source, path.name, partial(read, path, settings), settings)
