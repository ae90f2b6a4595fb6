"""How a topic is put into words: BERTopic's representation models, with two of its faults mended.

Others import this module when a model is fitted, since it subclasses BERTopic's.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from moee_topics.errors import InputError, MissingExtraError
from moee_topics.topics.bertopic_parts import BaseEmbedder
from moee_topics.topics.bertopic_parts import representation as bertopic_representation
from moee_topics.topics.counted_texts import ROW
from moee_topics.topics.settings import LLM_PROVIDERS, FitSettings, representations

Words = list[tuple[str, float]]
DOCUMENTS_PER_TOPIC = 500
"""Among so many BERTopic looks for the representative documents of a topic."""
PADDING: tuple[str, float] = ("", 0.00001)

LLM_CLASSES: Mapping[str, tuple[str, str]] = {
    "litellm": ("LiteLLM", "litellm"),
    "openai": ("OpenAI", "openai"),
    "text_generation": ("TextGeneration", "transformers"),
}
"""BERTopic's class and the package it needs; a server on one's own machine is "openai" with its ``base_url``."""


class KeyBERT(bertopic_representation.KeyBERTInspired):  # type: ignore[misc]
    """KeyBERTInspired that compares a topic's words with that topic's own documents, in a fixed order of words."""

    def extract_topics(
        self,
        topic_model: Any,
        documents: pd.DataFrame,
        c_tf_idf: Any,
        topics: Mapping[int, Words],
        embeddings: Any = None,
    ) -> dict[int, Words]:
        """The words of every topic nearest to its representative documents; ``embeddings`` is not looked at."""
        # Upstream (0.17.4, _keybert.py:113) looks the vectors up by a document's running number instead of its row, so
        # every topic but by chance is compared with the first documents of the corpus. Without ``embeddings`` it embeds
        # the documents by their text, which costs nothing: the backend of a fit has the vectors of its documents.
        words: Mapping[int, Words] = super().extract_topics(topic_model, documents, c_tf_idf, topics)
        return {topic: pairs + [PADDING] * (self.top_n_words - len(pairs)) for topic, pairs in words.items()}

    def _extract_candidate_words(self, topic_model: Any, c_tf_idf: Any, topics: Any) -> dict[int, list[str]]:
        # The empty word that pads short topics is no candidate.
        candidates = super()._extract_candidate_words(topic_model, c_tf_idf, topics)
        return {topic: [word for word in words if word] or [""] for topic, words in candidates.items()}


class KnownDocuments(BaseEmbedder):  # type: ignore[misc]
    """A backend that has the vectors of a corpus by their texts and asks another one for everything else."""

    def __init__(self, documents: Sequence[str], X: NDArray[np.floating], backend: Any | None) -> None:
        super().__init__()
        self._row = {text: row for row, text in enumerate(documents)}
        self._vectors = X
        self._backend = backend

    def embed(self, documents: Sequence[str], verbose: bool = False) -> NDArray[np.float32]:
        """(n, d) vectors of documents, names or words, in their order.

        Raises:
            InputError: a new text and no backend, or a backend of another width.
        """
        width = self._vectors.shape[1]
        new = [text for text in dict.fromkeys(documents) if text not in self._row]
        vectors: dict[str, NDArray[np.floating]] = {}
        if new and self._backend is None:
            raise InputError("Words must be embedded and there is no backend. Pass backend=MoEEBackend(...).")
        if new and self._backend is not None:
            rows = np.asarray(self._backend.embed_documents(new, verbose=verbose))
            if rows.shape != (len(new), width):
                raise InputError(
                    f"The backend gives vectors of {rows.shape[1:]} numbers where the documents have {width}. "
                    "Use the same model, method, alpha and standardizer for both."
                )
            vectors = dict(zip(new, rows, strict=True))
        out = np.empty((len(documents), width), dtype=np.float32)
        for at, text in enumerate(documents):
            out[at] = vectors[text] if text in vectors else self._vectors[self._row[text]]
        return out


class WithTexts(bertopic_representation.BaseRepresentation):  # type: ignore[misc]
    """A representation that reads documents, where BERTopic has them by their rows: some of each topic, as texts."""

    def __init__(self, model: Any, texts: Sequence[str]) -> None:
        self.model, self.texts = model, texts

    def extract_topics(
        self, topic_model: Any, documents: pd.DataFrame, c_tf_idf: Any, topics: Mapping[int, Words]
    ) -> Mapping[int, Words]:
        """The words that the model finds for every topic."""
        some = documents.groupby("Topic").sample(n=DOCUMENTS_PER_TOPIC, replace=True, random_state=42)
        some = some[~some.index.duplicated()]
        texts = [self.texts[int(name.removeprefix(ROW))] for name in some["Document"]]
        words: Mapping[int, Words] = self.model.extract_topics(
            topic_model, some.assign(Document=texts), c_tf_idf, topics
        )
        return words


def build_representation(settings: FitSettings, texts: Sequence[str] | None = None) -> Any:
    """The representation models BERTopic takes: the first is the main one, the others are aspects beside it.

    An "llm" makes labels, never a topic's words, so it is an aspect even where it comes first.

    Args:
        settings: name them.
        texts: of the documents, where BERTopic is given their rows alone (:mod:`moee_topics.topics.counted_texts`).

    Raises:
        InputError: an argument upstream does not take, or a model that spaCy has not.
        MissingExtraError: spaCy or the client of the language model is not installed.
    """
    pairs = representations(settings)
    models: dict[str, Any] = {}
    for name, arguments in pairs:
        if "top_n_words" in settings.bertopic and name in ("keybert", "mmr", "pos"):
            # bertopic 0.17.4 cuts only what c-TF-IDF gives to its own top_n_words.
            arguments = {"top_n_words": settings.bertopic["top_n_words"], **arguments}
        if name == "keybert":
            models[name] = KeyBERT(**arguments)
        elif name == "mmr":
            models[name] = bertopic_representation.MaximalMarginalRelevance(**arguments)
        elif name == "pos":
            models[name] = with_texts(part_of_speech(arguments), texts)
        elif name == "llm":
            models[name] = with_texts(language_model(arguments), texts)
        else:
            models[name] = []  # BERTopic reads None as a fault in an aspect; no models are c-TF-IDF as it is
    first = pairs[0][0]
    main = models[first]
    if first == "llm":
        return models
    if len(models) == 1:
        return main or None
    aspects = {name: model for name, model in models.items() if name != first}
    return {**({"Main": main} if main else {}), **aspects}


def with_texts(model: Any, texts: Sequence[str] | None) -> Any:
    """A representation that reads documents, in front of whatever BERTopic has of them."""
    return model if texts is None else WithTexts(model, texts)


def part_of_speech(arguments: Mapping[str, Any]) -> Any:
    """BERTopic's representation by parts of speech.

    Raises:
        InputError: spaCy has no such model.
        MissingExtraError: spaCy is not installed.
    """
    if importlib.util.find_spec("spacy") is None:
        raise MissingExtraError("spacy", "spacy")
    try:
        return bertopic_representation.PartOfSpeech(**arguments)
    except OSError as error:
        name = arguments.get("model", "en_core_web_sm")
        raise InputError(
            f"spaCy has no model {name!r}. Get it with: python -m spacy download {name}, or name another with "
            "topics.representation={pos: {model: NAME}}."
        ) from error


def language_model(arguments: Mapping[str, Any]) -> Any:
    """BERTopic's representation that asks a language model.

    Raises:
        InputError: there is no key of the server.
        MissingExtraError: the client is not installed.
    """
    options = copy.deepcopy(dict(arguments))  # bertopic 0.17.4 writes into the generator_kwargs that it is given
    provider = options.pop("provider", LLM_PROVIDERS[0])
    name = llm_class(provider)
    if provider == "openai":
        # A recipe is data and cannot hold a client: it is made from the address, and the key in the environment.
        openai = importlib.import_module("openai")
        try:
            client = openai.OpenAI(base_url=options.pop("base_url", None))
        except openai.OpenAIError as error:
            raise InputError(f"{error} A server of one's own takes any key: OPENAI_API_KEY=none.") from error
        options = {"client": client, **options}
    return getattr(bertopic_representation, name)(**options)


def client_errors() -> tuple[type[Exception], ...]:
    """What a client of language models raises; none where no client is loaded. Errors of litellm are of this class."""
    openai = sys.modules.get("openai")
    return () if openai is None else (openai.OpenAIError,)


def llm_class(provider: str) -> str:
    """The name of BERTopic's class for a provider of language models.

    Raises:
        MissingExtraError: the package it needs is not installed.
    """
    name, package = LLM_CLASSES[provider]
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(package, "llm")
    return name
