"""The words of a large corpus: counted once, text by text, into a file. BERTopic has the texts by their rows alone.

BERTopic joins the texts of each topic into one, and does so again for its hierarchy and its representative documents:
all of a corpus in memory, several times. The rows of a large corpus go by names instead, such as ``moeerow17``, which
BERTopic joins likewise; the vectorizer knows them, and adds up the counts of the texts that they stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from moee_topics.store import Scratch

ROW = "moeerow"  # of letters alone: bertopic.language=english deletes all but letters and digits
TEXTS_AT_ONCE = 16_384
MOST_WORDS = 2_000_000  # different ones, that are held while they are counted

Count = Callable[[Sequence[str], bool], tuple[Mapping[str, int], csr_matrix]]


def row_names(rows: Iterable[int]) -> list[str]:
    """What BERTopic is given in the place of texts."""
    return [f"{ROW}{row}" for row in rows]


def names_rows(text: str) -> bool:
    """Whether a text is the name of a row, or several joined."""
    return text.startswith(ROW) and text[len(ROW) : len(ROW) + 1].isdigit()


class CountedTexts:
    """How often each text has each word.

    Attributes:
        texts: N of them.
        clean: what BERTopic does to texts before it counts their words.
        count: scikit-learn's ``_count_vocab``, of texts as they are.
    """

    def __init__(self, texts: Sequence[str], clean: Callable[[Sequence[str]], list[str]], count: Count) -> None:
        self.texts, self.clean, self.count = texts, clean, count
        self._chosen: tuple[Mapping[str, int] | None, dict[str, int], NDArray[np.int64]] | None = None

    @cached_property
    def words(self) -> dict[str, int]:
        """The column of every word in :attr:`counts`."""
        return self._counted[0]

    @property
    def counts(self) -> csr_matrix:
        """(N, words) in a file that is mapped."""
        return self._counted[1]

    @cached_property
    def _counted(self) -> tuple[dict[str, int], csr_matrix]:
        folder = getattr(self.texts, "folder", None)
        columns, numbers, ends = Scratch(folder), Scratch(folder), [np.zeros(1, dtype=np.int64)]
        tally = Tally()
        for texts in self._passing():
            try:
                part = tally.renamed(*self.count(texts, False))
            except ValueError:  # scikit-learn's, of texts without a word
                part = csr_matrix((len(texts), tally.width), dtype=np.int32)
            columns.write([part.indices.astype(np.int32).tobytes()])
            numbers.write([part.data.astype(np.int32).tobytes()])
            ends.append(part.indptr[1:].astype(np.int64) + ends[-1][-1])
        arrays = (np.frombuffer(file.mapped(), dtype=np.int32) for file in (numbers, columns))
        starts = np.concatenate(ends)
        if starts[-1] <= np.iinfo(np.int32).max:
            starts = starts.astype(np.int32)  # of two types scipy would copy the columns into the longer one
        return tally.words, csr_matrix((*arrays, starts), shape=(len(self.texts), tally.width), copy=False)

    def _passing(self) -> Iterator[list[str]]:
        for start in range(0, len(self.texts), TEXTS_AT_ONCE):
            cleaned = self.clean(self.texts[start : start + TEXTS_AT_ONCE])
            # BERTopic's word for a text of which nothing is left; joined with others it would have none.
            yield ["" if text == "emptydoc" else text for text in cleaned]

    def of_groups(self, names: Sequence[str], vocabulary: Mapping[str, int] | None) -> tuple[dict[str, int], Any]:
        """The counts of texts that are joined in groups, (G, V), and the column of each word.

        Args:
            names: the rows of each group, as BERTopic joined them.
            vocabulary: the words and their columns; all that were counted if None.
        """
        rows = [np.array(group.replace(ROW, "").split(), dtype=np.int64) for group in names]
        ends = np.cumsum([0, *map(len, rows)])
        ones = np.ones(ends[-1], dtype=np.int32)
        groups = csr_matrix((ones, np.concatenate(rows), ends), shape=(len(rows), len(self.texts)))
        places, columns = self._columns(vocabulary)
        counts = groups @ self.counts
        counts.resize(len(rows), counts.shape[1] + 1)  # the column of words that no text has
        counts = counts[:, columns]
        counts.sort_indices()
        return dict(places), counts

    def _columns(self, vocabulary: Mapping[str, int] | None) -> tuple[dict[str, int], NDArray[np.int64]]:
        """The words of a vocabulary in the order of its columns, and their columns in :attr:`counts`."""
        if self._chosen is None or vocabulary is None or self._chosen[0] is not vocabulary:
            words = list(self.words) if vocabulary is None else sorted(vocabulary, key=vocabulary.__getitem__)
            nowhere = self.counts.shape[1]  # of a word that vectorizer.vocabulary names
            places = dict(zip(words, range(len(words)), strict=True))
            # Kept: BERTopic asks for the documents of each topic by themselves, with the same 200,000 words.
            self._chosen = vocabulary, places, np.array([self.words.get(word, nowhere) for word in words], dtype=int)
        return self._chosen[1:]


class Tally:
    """The words that were met, as many as memory is to hold.

    Where there are more than :data:`MOST_WORDS`, those that were met least are forgotten, and begin anew if they are
    met again: words of a handful of texts, which describe no topic of a large corpus.
    """

    def __init__(self) -> None:
        self.words: dict[str, int] = {}
        self.width = 0
        self._totals = np.zeros(0, dtype=np.int64)

    def renamed(self, words: Mapping[str, int], counts: csr_matrix) -> csr_matrix:
        """The counts of some texts, by the columns of all words that were met so far."""
        places = np.empty(len(words), dtype=np.int64)
        for word, place in words.items():
            column = self.words.get(word)
            if column is None:
                column = self.words[word] = self.width
                self.width += 1
            places[place] = column
        self._totals = np.concatenate([self._totals, np.zeros(self.width - len(self._totals), dtype=np.int64)])
        self._totals[places] += np.asarray(counts.sum(axis=0)).ravel()
        part = csr_matrix((counts.data, places[counts.indices], counts.indptr), shape=(counts.shape[0], self.width))
        if len(self.words) > MOST_WORDS:
            self._forget()
        return part

    def _forget(self) -> None:
        """Keeps the half that was met most."""
        columns = np.fromiter(self.words.values(), dtype=np.int64, count=len(self.words))
        least = np.partition(self._totals[columns], len(columns) // 2)[len(columns) // 2]
        self.words = {word: column for word, column in self.words.items() if self._totals[column] > least}
