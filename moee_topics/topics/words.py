"""What a word is, in any script: runs of letters, marks and digits, cut by a tokenizer where there are no spaces."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import regex

from moee_topics.errors import import_extra
from moee_topics.topics.settings import Tokenizer

logger = logging.getLogger(__name__)

# scikit-learn's \b\w\w+\b with marks: Python's \w holds no vowel signs (category M), so it cuts Hindi, Tamil and Thai.
WORDS = regex.compile(r"[\p{L}\p{N}_][\p{L}\p{M}\p{N}_]+")
SPACELESS = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
LETTERS = regex.compile(r"\p{L}")
CHARACTERS_AT_ONCE = 10_000
CHARACTERS_LOOKED_AT = 500  # of a document: its script shows in its beginning

Cut = Callable[[str], list[str]]


def words_of(text: str, cut: Cut | None = None) -> list[str]:
    """The words of a text with two characters or more, in their order; ``cut`` parts those without spaces."""
    runs: list[str] = WORDS.findall(text)
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


def load_tokenizer(name: Tokenizer) -> Cut:
    """What cuts the words of a language without spaces.

    Raises:
        MissingExtraError: its package is not installed.
    """
    if name == "jieba":
        jieba = import_extra("jieba", "chinese")
        jieba.setLogLevel(logging.WARNING)  # it tells on stderr how long its dictionary took
        return lambda text: list(jieba.cut(text))
    if name == "sudachi":
        import_extra("sudachidict_core", "japanese")
        sudachi = import_extra("sudachipy", "japanese").Dictionary().tokenizer()
        return lambda text: [part.surface() for part in sudachi.tokenize(text)]
    tokenize = import_extra("pythainlp.tokenize", "thai").word_tokenize
    return lambda text: list(tokenize(text))


def warn_of_uncut_words(documents: Sequence[str]) -> None:
    """Names the tokenizers where most letters of a corpus are of scripts that put no space between words."""
    spaceless = letters = 0
    for document in documents:
        start = document[:CHARACTERS_LOOKED_AT]
        spaceless += len(SPACELESS.findall(start)) if not start.isascii() else 0
        letters += len(LETTERS.findall(start))
    if 2 * spaceless > letters:
        logger.warning(
            "Most documents are in a script without spaces, so whole clauses are taken for words. Set "
            "topics.tokenizer=jieba (Chinese), sudachi (Japanese) or pythainlp (Thai)."
        )
