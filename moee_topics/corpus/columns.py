"""The columns of a table that hold texts, ids, labels and times: named, or known by usual names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from moee_topics.corpus.settings import CorpusSettings
from moee_topics.errors import InputError

TEXT_NAMES = ("text", "document", "content", "body", "abstract", "sentence", "sentences", "post", "message", "review")
ID_NAMES = ("id", "doc_id", "document_id", "uid", "key")
LABEL_NAMES = ("label", "labels", "category", "class", "target")
TIMESTAMP_NAMES = ("timestamp", "datetime", "date", "time", "created_at", "published")


@dataclass(frozen=True)
class Columns:
    """The columns of a table that hold texts, ids, labels and times."""

    text: tuple[str, ...] = ()
    id: str | None = None
    label: str | None = None
    timestamp: str | None = None

    @property
    def all(self) -> list[str]:
        """Every column that is read, each once."""
        optional = [column for column in (self.id, self.label, self.timestamp) if column is not None]
        return list(dict.fromkeys([*self.text, *optional]))

    @property
    def complete(self) -> bool:
        """Whether no column can be added by names that come later."""
        return bool(self.text) and None not in (self.id, self.label, self.timestamp)


def choose_columns(names: Sequence[str], settings: CorpusSettings, source: str) -> Columns:
    """The columns the settings name, or those with a usual name.

    Raises:
        InputError: a named column is missing or stands twice, no column looks like the text, or none like the times
            whose form is given.
    """
    columns = grow_columns(Columns(), names, settings)
    asked = (settings.text,) if isinstance(settings.text, str) else settings.text or ()
    roles = [("text", name) for name in asked]
    roles += [(role, getattr(settings, role) or "none") for role in ("id", "label", "timestamp")]
    for role, name in roles:
        if name != "none" and name not in names:
            raise InputError(f"{source} has no column {name!r} (corpus.{role}). Its columns are: {listed(names)}.")
    if not columns.text:
        raise InputError(
            f"{source} has no column with a usual name for the text ({', '.join(TEXT_NAMES)}). "
            f"Its columns are: {listed(names)}. Name one with corpus.text=COLUMN."
        )
    if settings.time_format is not None and columns.timestamp is None:
        raise InputError(
            f"{source} has no column with a usual name for times ({', '.join(TIMESTAMP_NAMES)}), so that "
            f"corpus.time_format would do nothing. Its columns are: {listed(names)}. Name one with "
            "corpus.timestamp=COLUMN, or leave corpus.time_format out."
        )
    # A spreadsheet may have two; a reader by name would take the last one without a word.
    twice = [name for name in columns.all if list(names).count(name) > 1]
    if twice:
        raise InputError(f"{source} has more than one column {twice[0]!r}. Give each a name of its own.")
    return columns


def grow_columns(columns: Columns, names: Sequence[str], settings: CorpusSettings) -> Columns:
    """Columns with those added that no name had come for yet; a column once chosen stays.

    A line of JSON brings its own names, so that labels may begin after a million lines.
    """
    # Reversed: of names that differ in case or white space alone the first is to stay.
    first_of_usual = {str(name).lower().strip(): name for name in reversed(names)}

    def column(role: str, usual: Sequence[str]) -> str | None:
        asked = getattr(settings, role)
        if asked is not None:
            return asked if asked in names else None
        return next((first_of_usual[name] for name in usual if name in first_of_usual), None)

    text = columns.text
    if settings.text is not None:
        text = (settings.text,) if isinstance(settings.text, str) else settings.text
    elif not text:
        text = tuple(filter(None, [column("text", TEXT_NAMES)]))
    return Columns(
        text=text,
        id=columns.id or column("id", ID_NAMES),
        label=columns.label or column("label", LABEL_NAMES),
        timestamp=columns.timestamp or column("timestamp", TIMESTAMP_NAMES),
    )


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names for a message, of thousands the first few."""
    rest = f", … ({len(names) - most:,} more)" if len(names) > most else ""
    return ", ".join(str(name)[:80] for name in names[:most]) + rest
