"""How a topic is put into words: BERTopic's representation models, with two of its faults mended.

The only module of this package that subclasses BERTopic, and so the only one that imports it at the top; the others
import this one when a model is fitted.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from bertopic import representation as upstream
from bertopic.backend import BaseEmbedder
from bertopic.representation import KeyBERTInspired, MaximalMarginalRelevance
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer

from moee_topics.errors import InputError, MissingExtraError
from moee_topics.topics.settings import TopicSettings, check_arguments, check_choice, representations

Words = list[tuple[str, float]]
PADDING: tuple[str, float] = ("", 0.00001)

LLM_PROVIDERS: Mapping[str, tuple[str, str]] = {
    "litellm": ("LiteLLM", "litellm"),
    "openai": ("OpenAI", "openai"),
    "text_generation": ("TextGeneration", "transformers"),
}
"""BERTopic's class and the package it needs; a server on one's own machine is "openai" with its ``base_url``."""


class KeyBERT(KeyBERTInspired):  # type: ignore[misc]
    """KeyBERTInspired that compares a topic's words with that topic's own documents.

    Upstream (0.17.4, _keybert.py:113) looks the vectors of a topic's documents up by their running number instead of
    their row, so every topic but by chance is compared with the first documents of the corpus. Here they are embedded
    by their text, which costs nothing because the backend of a fit knows the vectors of its documents. Words come in a
    fixed order, and the empty word that pads short topics is no candidate.
    """

    def extract_topics(
        self,
        topic_model: Any,
        documents: pd.DataFrame,
        c_tf_idf: Any,
        topics: Mapping[int, Words],
        embeddings: Any = None,
    ) -> dict[int, Words]:
        """The words of every topic nearest to its representative documents; ``embeddings`` is not looked at."""
        words: Mapping[int, Words] = super().extract_topics(topic_model, documents, c_tf_idf, topics)
        return {topic: _padded(found, self.top_n_words) for topic, found in words.items()}

    def _extract_candidate_words(self, topic_model: Any, c_tf_idf: Any, topics: Any) -> dict[int, list[str]]:
        candidates = super()._extract_candidate_words(topic_model, c_tf_idf, topics)
        return {topic: [word for word in words if word] or [""] for topic, words in candidates.items()}


def _padded(words: Words, length: int) -> Words:
    return words + [PADDING] * (length - len(words))


class TopicVectorizer(CountVectorizer):  # type: ignore[misc]
    """CountVectorizer over the joined documents of each topic, with clear errors and a vocabulary that saves as JSON.

    BERTopic fits it on one text per topic, so ``min_df`` and ``max_df`` count topics, not documents.
    """

    def fit_transform(self, raw_documents: Sequence[str], y: Any = None) -> Any:
        """The word counts of every topic, (topics, words).

        Raises:
            InputError: no word is left.
        """
        try:
            counts = super().fit_transform(raw_documents, y)
        except ValueError as error:
            raise InputError(
                f"The vectorizer finds no words to describe {len(raw_documents)} topics: {error} It sees one text per "
                f"topic, so min_df={self.min_df!r} and max_df={self.max_df!r} count topics. Loosen them, or check "
                "stop_words and token_pattern."
            ) from error
        self.vocabulary_: dict[str, int] = {word: int(column) for word, column in self.vocabulary_.items()}
        return counts


class KnownDocuments(BaseEmbedder):  # type: ignore[misc]
    """A backend that knows the vectors of a corpus by their texts and asks another one for everything else."""

    def __init__(self, documents: Sequence[str], X: NDArray[np.floating], backend: Any | None) -> None:
        super().__init__()
        self._row = {text: row for row, text in enumerate(documents)}
        self._vectors = X
        self._backend = backend

    def embed(self, documents: Sequence[str], verbose: bool = False) -> NDArray[np.float32]:
        """(n, d) vectors of documents, names or words, in their order.

        Raises:
            InputError: an unknown text and no backend, or a backend of another width.
        """
        out = np.empty((len(documents), self._vectors.shape[1]), dtype=np.float32)
        unknown = [text for text in dict.fromkeys(documents) if text not in self._row]
        vectors = dict(zip(unknown, self._ask(unknown, verbose), strict=True))
        for at, text in enumerate(documents):
            out[at] = vectors[text] if text in vectors else self._vectors[self._row[text]]
        return out

    def _ask(self, texts: list[str], verbose: bool) -> NDArray[np.floating]:
        if not texts:
            return np.empty((0, self._vectors.shape[1]), dtype=np.float32)
        if self._backend is None:
            raise InputError("Words must be embedded and there is no backend. Pass backend=MoEEBackend(...).")
        vectors = np.asarray(self._backend.embed_documents(texts, verbose=verbose))
        if vectors.shape != (len(texts), self._vectors.shape[1]):
            raise InputError(
                f"The backend gives vectors of {vectors.shape[1:]} numbers where the documents have "
                f"{self._vectors.shape[1]}. Use the same model, method, alpha and standardizer for both."
            )
        return vectors


def build_representation(settings: TopicSettings) -> Any:
    """The representation models BERTopic takes: the first is the main one, the others are aspects beside it.

    An "llm" makes labels, never a topic's words, so it is an aspect even where it comes first.

    Raises:
        InputError: an argument upstream does not know.
        MissingExtraError: spaCy or the client of the language model is not installed.
    """
    pairs = representations(settings)
    models = {name: _BUILDERS[name](arguments, settings.seed) for name, arguments in pairs}
    first = pairs[0][0]
    if first == "llm":
        return models
    main = models.pop(first)
    aspects = {name: model if model is not None else [] for name, model in models.items()}
    if main is None and not aspects:
        return None
    return {**({"Main": main} if main is not None else {}), **aspects} if aspects else main


def _keybert(arguments: dict[str, Any], seed: int) -> Any:
    check_arguments(KeyBERTInspired, arguments)
    return KeyBERT(**{"random_state": seed, **arguments})


def _mmr(arguments: dict[str, Any], seed: int) -> Any:
    check_arguments(MaximalMarginalRelevance, arguments)
    return MaximalMarginalRelevance(**arguments)


def _ctfidf(arguments: dict[str, Any], seed: int) -> None:
    if arguments:
        raise InputError(f"The representation 'ctfidf' takes no arguments, got {sorted(arguments)}.")


def _pos(arguments: dict[str, Any], seed: int) -> Any:
    _require("spacy", "spacy")
    check_arguments(upstream.PartOfSpeech, arguments)
    try:
        return upstream.PartOfSpeech(**arguments)
    except OSError as error:
        name = arguments.get("model", "en_core_web_sm")
        raise InputError(
            f"spaCy has no model {name!r}. Get it with: python -m spacy download {name}, or name another with "
            "representation={'pos': {'model': ...}}."
        ) from error


def _llm(arguments: dict[str, Any], seed: int) -> Any:
    arguments = dict(arguments)
    provider = str(arguments.pop("provider", "litellm"))
    check_choice("provider of language models", provider, list(LLM_PROVIDERS))
    name, package = LLM_PROVIDERS[provider]
    _require(package, "llm")
    model = getattr(upstream, name)
    if provider == "openai":
        arguments = _with_openai_client(arguments)
    check_arguments(model, arguments, but=("kwargs",))
    return model(**arguments)


def _with_openai_client(arguments: dict[str, Any]) -> dict[str, Any]:
    """A client from ``base_url``, where it is not OpenAI's own, and the key in the environment: a recipe stays data."""
    openai = importlib.import_module("openai")
    base_url = arguments.pop("base_url", None)
    return {"client": openai.OpenAI(base_url=base_url), **arguments}


def _require(package: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(package, extra)


_BUILDERS: Mapping[str, Callable[[dict[str, Any], int], Any]] = {
    "keybert": _keybert,
    "mmr": _mmr,
    "pos": _pos,
    "ctfidf": _ctfidf,
    "llm": _llm,
}
