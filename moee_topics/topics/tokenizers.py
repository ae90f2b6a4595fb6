"""Tokenizers of languages without spaces, and the warning of a corpus that needs one."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import regex

from moee_topics.corpus import SPACELESS, Cut
from moee_topics.errors import import_extra
from moee_topics.topics.settings import Tokenizer

logger = logging.getLogger(__name__)

LETTERS = regex.compile(r"\p{L}")
CHARACTERS_LOOKED_AT = 500  # of a document: its script shows in its beginning


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
            "topics.tokenizer=jieba (Chinese), sudachi (Japanese) or pythainlp (Thai); for Lao, Khmer and Burmese, "
            "give texts that are cut already, with spaces or U+200B between words."
        )
