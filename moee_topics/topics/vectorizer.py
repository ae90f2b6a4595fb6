"""Which words of the documents can describe a topic: stop words, and the counting of words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, cast

from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer

from moee_topics.corpus import Cut, words_of
from moee_topics.errors import InputError, MissingExtraError
from moee_topics.topics.bertopic_parts import ClassTfidfTransformer
from moee_topics.topics.counted_texts import CountedTexts, names_rows, row_names
from moee_topics.topics.settings import FitSettings
from moee_topics.topics.tokenizers import load_tokenizer, warn_of_uncut_words

DEFAULT_PATTERN = CountVectorizer().token_pattern
MOST_WORDS_OF_LARGE = 200_000
CHARACTERS_AT_ONCE = 1_000_000  # of the joined documents of a topic, whose words take ten times their letters


class TopicVectorizer(CountVectorizer):  # type: ignore[misc]
    """CountVectorizer over the joined documents of each topic, with clear errors and a vocabulary that saves as JSON.

    BERTopic fits it on one text per topic, so ``min_df`` and ``max_df`` count topics, not documents. Words are those of
    :func:`moee_topics.corpus.words_of` where no ``token_pattern`` is set.

    Attributes:
        cut: parts words of languages without spaces; not saved with the vectorizer.
        counted: the texts of a large corpus, which are called by their rows then; not saved either.
    """

    cut: Cut | None = None
    counted: CountedTexts | None = None

    def read_rows(self, texts: Sequence[str], clean: Callable[[Sequence[str]], list[str]]) -> None:
        """From now on a text can be the name of a row of some texts, or several joined."""
        self.counted = CountedTexts(texts, clean, super()._count_vocab)

    def documents(self, texts: Sequence[str]) -> list[str]:
        """All texts of the corpus, or the names of their rows: what BERTopic joins and gives to this vectorizer."""
        return list(texts) if self.counted is None else row_names(range(len(texts)))

    def transform_rows(self, texts: Sequence[str], rows: Sequence[int]) -> Any:
        """The word counts of some texts of the corpus, (rows, words)."""
        return self.transform([texts[row] for row in rows] if self.counted is None else row_names(rows))

    def _count_vocab(self, raw_documents: Iterable[str], fixed_vocab: bool) -> tuple[dict[str, int], Any]:
        """What scikit-learn counts by, with the rows of a large corpus among what it can count."""
        documents = list(raw_documents)
        if self.counted is None or not documents or not all(map(names_rows, documents)):
            vocabulary, counts = super()._count_vocab(documents, fixed_vocab)
            return vocabulary, counts
        vocabulary, counts = self.counted.of_groups(documents, self.vocabulary_ if fixed_vocab else None)
        if not vocabulary:
            raise ValueError("empty vocabulary")  # as scikit-learn would
        return vocabulary, counts

    def build_tokenizer(self) -> Callable[[str], list[str]]:
        """What finds the words of a text."""
        if self.tokenizer is None and self.token_pattern == DEFAULT_PATTERN:
            return partial(words_of, cut=self.cut)
        tokenizer: Callable[[str], list[str]] = super().build_tokenizer()
        return tokenizer

    def build_analyzer(self) -> Callable[[str], Iterable[str]]:
        """What gives the terms of a text; those of a very long one piece by piece, so that they are never all there."""
        analyze: Callable[[str], list[str]] = super().build_analyzer()
        if self.analyzer != "word" or self.ngram_range != (1, 1) or self.token_pattern != DEFAULT_PATTERN:
            return analyze  # such terms may reach over a space

        def terms(text: str) -> Iterable[str]:
            if len(text) <= CHARACTERS_AT_ONCE:
                return analyze(text)
            return chain.from_iterable(map(analyze, pieces(text, CHARACTERS_AT_ONCE)))

        return terms

    def fit_transform(self, raw_documents: Sequence[str], y: Any = None) -> Any:
        """The word counts of every topic, (topics, words).

        Raises:
            InputError: no word is left.
        """
        try:
            counts = super().fit_transform(raw_documents, y)
        except ValueError as error:
            raise InputError(self._why_no_words(raw_documents)) from error
        # scikit-learn counts columns with numpy's int64, which BERTopic's save cannot write as JSON.
        self.vocabulary_: dict[str, int] = {word: int(column) for word, column in self.vocabulary_.items()}
        return counts

    def _why_no_words(self, texts: Sequence[str]) -> str:
        tokenize, preprocess = self.build_tokenizer(), self.build_preprocessor()
        topics, texts = len(texts), texts if self.counted is None else self.counted.texts
        words = {word for text in texts for word in tokenize(preprocess(text))}
        stops = set(self.get_stop_words() or ())
        if not words and self.token_pattern == DEFAULT_PATTERN:
            example = " ".join(" ".join(texts).split()[:3])[:40]
            return (
                f"No document holds a word of two letters or digits or more, only such as {example!r}, so nothing can "
                r"describe a topic. Was the right column taken as the text (corpus.text=COLUMN)? If such texts are "
                r"meant, count every sign between spaces: 'vectorizer.token_pattern=\S+'"
            )
        if not words:
            return (
                f"vectorizer.token_pattern={self.token_pattern} finds no words in any document. Leave it out, or set "
                r"'vectorizer.token_pattern=\S+', which finds all there is between spaces."
            )
        if words <= stops:
            return (
                f"All words of the documents are stop words ({', '.join(sorted(words)[:5])} …), so nothing can "
                "describe a topic. Keep them with topics.stop_words=null"
            )
        return (
            f"The vectorizer finds no words: it sees one text per topic, {topics} of them, so that "
            f"vectorizer.min_df={self.min_df} and vectorizer.max_df={self.max_df} count topics. Loosen them: "
            "vectorizer.min_df=1 vectorizer.max_df=1.0"
        )


def pieces(text: str, characters: int) -> Iterator[str]:
    """A text in parts of about so many characters, cut at spaces."""
    start = 0
    while start < len(text):
        space = text.find(" ", start + characters)
        end = len(text) if space < 0 else space
        yield text[start:end]
        start = end


class TopicTfidf(ClassTfidfTransformer):  # type: ignore[misc]
    """BERTopic's c-TF-IDF, also of a vocabulary of one word."""

    def fit(self, X: Any, multiplier: Any = None) -> TopicTfidf:
        """Learns how much each word weighs; ``X`` (topics, words) counts them."""
        if X.shape[1] > 1:
            super().fit(X, multiplier)
        else:
            # bertopic 0.17.4 squeezes the frequency of one word to a number, of which scipy makes no diagonal matrix.
            # A word without others to be compared with weighs the same everywhere.
            self._idf_diag = csr_matrix([[1.0]])
        return self


def build_vectorizer(settings: FitSettings, documents: Sequence[str]) -> TopicVectorizer:
    """The vectorizer of a fit, with stop words looked up and a recipe's lists turned into what scikit-learn takes."""
    arguments = {"stop_words": settings.stop_words, **settings.vectorizer}
    arguments["stop_words"] = stop_words(arguments["stop_words"], documents)
    if settings.large.holds(len(documents)):
        # Of a million documents most words are misspelt or names, and each has a column in the words of every topic.
        arguments = {"max_features": MOST_WORDS_OF_LARGE, **arguments}
    if isinstance(arguments.get("ngram_range"), list):  # scikit-learn takes no list, JSON has no tuple
        arguments["ngram_range"] = tuple(arguments["ngram_range"])
    vectorizer = TopicVectorizer(**arguments)
    if settings.tokenizer is not None:
        vectorizer.cut = load_tokenizer(settings.tokenizer)
    elif vectorizer.analyzer == "word" and vectorizer.token_pattern == DEFAULT_PATTERN:
        warn_of_uncut_words(documents)
    return vectorizer


def stop_words(choice: Any, documents: Sequence[str]) -> Any:
    """What CountVectorizer takes: "english", None and lists as they are, "auto" and a language as sorted lists.

    Raises:
        InputError: a language that spaCy does not know.
        MissingExtraError: a language, and spaCy is not installed.
    """
    if choice == "auto":
        return frequent_words(documents)
    if not isinstance(choice, str) or choice == "english":
        # Sorted, as a set has another order in every process, and settings are saved as they are.
        return sorted(choice) if isinstance(choice, set | frozenset | tuple) else choice
    try:
        from spacy.util import get_lang_class
    except ImportError as error:
        raise MissingExtraError("spacy", "spacy") from error
    try:
        return sorted(cast("set[str]", get_lang_class(choice).Defaults.stop_words))
    except ImportError as error:
        raise InputError(
            f'stop_words={choice!r} is neither "english", "auto" nor a language code of spaCy such as "de". '
            "A list of words works too."
        ) from error


def frequent_words(documents: Sequence[str], share: float = 0.25) -> list[str]:
    """The words that more than a share of the documents use, in any language that is written with spaces."""
    counter = TopicVectorizer()
    analyze = counter.build_analyzer()
    documents_with = Counter(word for text in documents for word in set(analyze(text)))
    if not documents_with:
        counter.fit(documents)  # says why there are none
    return sorted(word for word, count in documents_with.items() if count > share * len(documents))
