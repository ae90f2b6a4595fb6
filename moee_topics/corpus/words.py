"""What a word is, in any script: runs of letters, marks and digits."""

from __future__ import annotations

from collections.abc import Callable

import regex

# scikit-learn's \b\w\w+\b with marks: Python's \w holds no vowel signs (category M), so it cuts Hindi, Tamil and Thai.
# The two joiners (U+200C, U+200D) shape letters inside words of Persian, Sinhala, Marathi and Malayalam.
WORDS = regex.compile(r"[\p{L}\p{N}_](?:[\p{L}\p{M}\p{N}_]|[\u200c\u200d](?=[\p{L}\p{M}\p{N}_]))+")
SOFT_HYPHEN = "\xad"  # says where a word may be broken at the end of a line, and is no part of it
SPACELESS = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
CHARACTERS_AT_ONCE = 10_000

Cut = Callable[[str], list[str]]


def words_of(text: str, cut: Cut | None = None) -> list[str]:
    """The words of a text with two characters or more, in their order; ``cut`` parts those without spaces."""
    runs: list[str] = WORDS.findall(text.replace(SOFT_HYPHEN, ""))
    if cut is None:
        return runs
    words = []
    for run in runs:
        if not SPACELESS.search(run):
            words.append(run)
            continue
        # Sudachi refuses more than 49,149 bytes at once; between two such pieces one word may be cut.
        for start in range(0, len(run), CHARACTERS_AT_ONCE):
            words += [part for part in cut(run[start : start + CHARACTERS_AT_ONCE]) if WORDS.fullmatch(part)]
    return words
