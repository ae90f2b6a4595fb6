"""The words of a document as one more block: TF-IDF, then a truncated singular value decomposition.

scikit-learn is imported where it is used: every recipe names a fusion, and reading one should take no second.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moee_topics.corpus import SPACELESS, content_hash, words_of
from moee_topics.defaults import SEED
from moee_topics.errors import InputError
from moee_topics.fuse.blocks import Matrix, unit_rows

DIMENSIONS = 100
MOST_WORDS = 20_000  # 100 float32 numbers for each are 8 MB in a run folder; rarer words hardly move a direction
MOST_DOCUMENTS = 100_000  # learnt from; more of them change directions little and cost memory
DOCUMENTS_AT_ONCE = 4096
DOCUMENTS_LOOKED_AT = 1000


@dataclass(frozen=True)
class Lexical:
    """Documents by their words, as latent semantic analysis has them (Deerwester et al., 1990).

    Fitted once on a corpus; afterwards the vector of a document depends on that document alone.

    Attributes:
        vocabulary: V words.
        idf: (V,) in float32, how rare each is: the inverse document frequency, squared.
        components: (d, V) in float32, the directions in which the corpus varies most.
    """

    vocabulary: tuple[str, ...]
    idf: NDArray[np.float32]
    components: NDArray[np.float32]

    @classmethod
    def fit(cls, texts: Sequence[str]) -> Lexical:
        """Learns words, weights and directions; of a large corpus, from texts evenly spaced over it.

        Raises:
            InputError: no word is in two documents or more.
        """
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

        texts = _spread(texts)
        vectorizer = CountVectorizer(analyzer=_terms, min_df=2, max_df=0.5, max_features=MOST_WORDS, dtype=np.float32)
        try:
            counts = vectorizer.fit_transform(texts)
        except ValueError as error:  # scikit-learn's for every way to have no words
            raise _without_words(len(texts)) from error
        # Squared, and without the one that scikit-learn adds: common words count so little that no list of stop words
        # is needed. AMI of words alone, squared / plain / plain with English stop words: 20 Newsgroups 46 / 39 / 38,
        # arXiv abstracts 43 / 41 / 39, computer science titles 13 / 9 / 11 (2,500 texts, 3 seeds).
        weights = TfidfTransformer(sublinear_tf=True).fit(counts)
        weights.idf_ = (weights.idf_ - 1) ** 2
        most = min(DIMENSIONS, *counts.shape)
        svd = TruncatedSVD(most, random_state=SEED)
        # Of a single word, which it refuses, that word is the direction.
        components = svd.fit(weights.transform(counts)).components_ if most > 1 else np.ones((1, 1))
        return cls(
            tuple(vectorizer.get_feature_names_out().tolist()),
            weights.idf_.astype(np.float32),
            components.astype(np.float32, order="C"),  # safetensors 0.8 writes the bytes of another order as they lie
        )

    def transform(self, texts: Sequence[str]) -> Matrix:
        """(n, d) rows of length one; a text without any word of the corpus is a row of zeros."""
        rows = np.zeros((len(texts), len(self.components)), dtype=np.float32)
        for start in range(0, len(texts), DOCUMENTS_AT_ONCE):
            counts = self._vectorizer.transform(texts[start : start + DOCUMENTS_AT_ONCE])
            # A sparse row times a matrix is summed word by word, so no row depends on those beside it.
            rows[start : start + DOCUMENTS_AT_ONCE] = counts @ self.components.T
        return unit_rows(rows)

    @cached_property
    def _vectorizer(self) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(
            analyzer=_terms, vocabulary=list(self.vocabulary), sublinear_tf=True, dtype=np.float32
        )
        vectorizer.idf_ = self.idf
        return vectorizer

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """What was learnt as named arrays, for a safetensors file."""
        words = np.frombuffer(json.dumps(self.vocabulary, ensure_ascii=False).encode(), dtype=np.uint8)
        return {"lexical.idf": self.idf, "lexical.components": self.components, "lexical.vocabulary": words}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Lexical | None:
        """What :meth:`tensors` gave, None where there is nothing of it.

        Raises:
            KeyError: a part is missing.
            ValueError: the parts do not belong together.
        """
        if "lexical.idf" not in tensors:
            return None
        words = json.loads(tensors["lexical.vocabulary"].tobytes())
        idf, components = tensors["lexical.idf"], tensors["lexical.components"]
        is_text = isinstance(words, list) and all(isinstance(word, str) for word in words)
        if not is_text or idf.shape != (len(words),) or components.ndim != 2 or components.shape[1] != len(words):
            raise ValueError("the words, their weights and their directions are not of one number")
        return cls(tuple(words), idf, components)


def check_words(texts: Iterable[str]) -> None:
    """Looks before hours of encoding whether there are words to weigh; a thousand usual texts tell, and end the look.

    Raises:
        InputError: no word is in two documents or more, and in no more than half of them.
    """
    documents_with: Counter[str] = Counter()
    seen: set[str] = set()

    def found() -> bool:
        return any(2 <= documents <= len(seen) / 2 for documents in documents_with.values())

    for text in texts:
        if text not in seen:
            seen.add(text)
            documents_with.update(set(_terms(text)))
            if len(seen) % DOCUMENTS_LOOKED_AT == 0 and found():
                return
    if not found():
        raise _without_words(len(seen))


def _without_words(documents: int) -> InputError:
    return InputError(
        f"fusion.lexical weighs words, and no word stands in two or more but at most half of the {documents:,} "
        "different documents. Leave words out with fusion.lexical=0"
    )


def _spread(texts: Sequence[str]) -> list[str]:
    """The different ones of texts, at most ``MOST_DOCUMENTS`` of them and evenly spaced."""
    # Copies would make their words common and their directions strong. They are told by their hashes, because the texts
    # of a large corpus lie in a file and have no room together.
    firsts: dict[bytes, int] = {}
    for row, text in enumerate(texts):
        firsts.setdefault(content_hash(text), row)
    rows = list(firsts.values())
    return [texts[row] for row in rows[:: -(-len(rows) // MOST_DOCUMENTS) or 1]]


def _terms(text: str) -> list[str]:
    """The words of a text in lower case; of scripts without spaces every pair of neighbouring characters."""
    terms = []
    for run in words_of(text.lower()):
        # No tokenizer is needed for what only has to be counted: search engines index Chinese in the same way.
        terms += [run[i : i + 2] for i in range(len(run) - 1)] if SPACELESS.search(run) else [run]
    return terms
