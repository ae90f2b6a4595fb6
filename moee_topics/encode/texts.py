"""What callers pass as documents, made plain strings, or refused with its place and type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from moee_topics.errors import InputError


def plain_texts(texts: Iterable[Any]) -> Iterator[str]:
    """Documents as plain strings of valid Unicode: of a list, an array, or a column of pandas, polars or Arrow.

    Raises:
        InputError: it is not a column of strings; the message has position and type of the first other thing.
    """
    # Iterated, these would give characters, small numbers or the names of columns, which encode without a word.
    # A set has another order in every process, so that nobody would know whose vector is whose.
    if isinstance(texts, (str, bytes, bytearray, Mapping, set, frozenset)) or hasattr(texts, "columns"):
        raise InputError(
            f"Documents must be a list or a column of strings, got {_shown(texts)}. "
            "Put a single string into a list; of a table, pass the column that holds the texts."
        )
    if not isinstance(texts, Iterable) or getattr(texts, "shape", None) == ():  # numpy's array of one thing is iterable
        raise InputError(f"Documents must be a list or a column of strings, got {_shown(texts)}.")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            plain = text.as_py() if hasattr(text, "as_py") else text  # a scalar of Arrow
            if not isinstance(plain, str):
                raise InputError(
                    f"Document {position} is {_shown(plain)}, not a string. Leave it out, or put a string in its place."
                )
            text = plain
        # Half a surrogate pair, as broken JSON has it, is no text for a tokenizer; str() also ends numpy's own strings.
        yield str(text) if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _shown(thing: object) -> str:
    value = f" ({thing!r})" if thing is None or isinstance(thing, (int, float, bytes)) else ""
    return f"of type {type(thing).__module__}.{type(thing).__name__}{value[:40]}".replace("builtins.", "")
