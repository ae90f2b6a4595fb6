"""What messages to a person have in common: cut values, counted nouns, the nearest of some names, others' errors."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any


def did_you_mean(key: str, keys: Collection[str]) -> str:
    """The end of a message: the nearest of some keys, in its own section first; empty if none is near."""
    section, dot, name = key.rpartition(".")
    siblings = {option.removeprefix(section + dot): option for option in keys if option.startswith(section + dot)}
    last = {option.rpartition(".")[2]: option for option in reversed(list(keys))}
    for word, options in ((name, siblings if dot else {}), (key, {option: option for option in keys}), (name, last)):
        if near := difflib.get_close_matches(word, options, n=1, cutoff=0.4 if options is siblings else 0.6):
            return f" Did you mean {options[near[0]]}?"
    return ""


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number with its noun: ``1 document``, ``2,000 documents``; a plural that does not end in s is given."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def shortened(value: Any) -> str:
    """A value as Python writes it, cut to what fits into a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def first_lines(error: BaseException, count: int = 1) -> str:
    """The first lines of an error, without a dot or colon at their end; its class where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:count]).rstrip(".:") or type(error).__name__
