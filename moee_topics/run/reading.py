"""How a run read its corpus, and new documents read the same way: from files, or handed over as objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moee_topics.corpus import COLUMN_KEYS, Corpus, CorpusSettings, has_columns, open_corpus
from moee_topics.errors import InputError
from moee_topics.run.manifest import read_manifest, recipe_section
from moee_topics.run_folder import RunFolder
from moee_topics.schema import Section, build

UNREAD = {"label": "none", "timestamp": "none", "time_format": None, "limit": None}
"""What a prediction has no use for."""


class Reading(Section):
    """How new documents are read."""

    corpus: CorpusSettings


def corpus_like(folder: Path, source: str, overrides: Sequence[str] = ()) -> Corpus:
    """Opens new documents the way the run read its own: columns, joining, delimiter, encoding and cleaning.

    Labels and times are not read, and all documents are, whatever the run's limit was.

    Args:
        folder: of a finished run.
        source: of the new documents.
        overrides: ``corpus.KEY=VALUE`` where they are to be read otherwise.

    Raises:
        InputError: the folder holds no finished run, or there is no such source.
        RecipeError: an override is not valid.
    """
    own = own_reading(RunFolder(folder))
    return open_like({**own, **UNREAD}, source, overrides, name="predict")


def own_reading(run: RunFolder) -> dict[str, Any]:
    """How a run read its corpus: what its recipe says, and the column of the text that it found by a usual name.

    Found again in other files, that may be another column: one called "text" goes before the "body" of the run.

    Raises:
        InputError: the folder holds no finished run, or its manifest is damaged.
    """
    own, facts = dict(recipe_section(run.current, "corpus")), read_manifest(run).get("corpus")
    columns = facts.get("text_columns") if isinstance(facts, Mapping) else None  # 0.1.0 did not note it
    if own.get("text") is None and isinstance(columns, list) and has_columns(str(own.get("source"))):
        own["text"] = columns[0] if len(columns) == 1 else columns
    return own


def own_settings(run: RunFolder) -> CorpusSettings:
    """How a run read the texts of its corpus, for single texts: what it cleaned, and nothing of files and columns.

    Raises:
        InputError: the folder holds no finished run, or its manifest is damaged.
    """
    own = own_reading(run)
    kept = {key: own[key] for key in ("clean", "missing") if key in own}
    return build(Reading, {"corpus": {**kept, "source": "-"}}, name="serve").corpus


def open_like(own: Mapping[str, Any], source: str, overrides: Sequence[str], *, name: str) -> Corpus:
    """Opens a source the way another one was read; without columns, its texts stand for those of the one column.

    Raises:
        InputError: there is no such source, or it has no columns and several were joined.
        RecipeError: an override is not valid; ``name`` begins the message.
    """
    section = {**own, "source": source}
    if not has_columns(source):
        joined = own.get("text")
        is_told = any(override.replace(" ", "").startswith("corpus.text=") for override in overrides)
        if isinstance(joined, list | tuple) and len(joined) > 1 and not is_told:
            raise InputError(
                f"A document of this run is {' and '.join(joined)}, and {source} has no columns. Give a table that has "
                "them, or say that each of its texts is a whole document with: corpus.text=null"
            )
        section |= {key: None for key in COLUMN_KEYS if section.get(key) != "none"}
    return open_corpus(build(Reading, {"corpus": section}, overrides, name=name).corpus)
