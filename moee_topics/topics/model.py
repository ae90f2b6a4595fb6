"""A fitted topic model: BERTopic, its result as plain data, prediction, and saving without pickle."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moee_topics.encode import plain_texts
from moee_topics.errors import InputError
from moee_topics.fuse import Fusion
from moee_topics.messages import counted
from moee_topics.store import atomic_folder, content_hash, read_json, write_text
from moee_topics.topics.result import TOPICS_FILE, TopicResult
from moee_topics.topics.settings import FitSettings
from moee_topics.topics.voters import FILE as VOTERS_FILE
from moee_topics.topics.voters import NEW, Voters

SETTINGS_FILE = "topic_settings.json"
FUSION_FILE = "fusion.safetensors"
BERTOPIC_FILES = ("config.json", "topics.json", "topic_embeddings.safetensors", "ctfidf.safetensors")
MEND = "Fit and save it again."


class TopicModel:
    """A fitted topic model.

    Attributes:
        model: the fitted BERTopic; all of its own methods work. After :meth:`load` its UMAP and HDBSCAN are gone, as
            with every BERTopic that was saved without pickle.
        result: topics, words and positions as plain data, rows in document order, outliers -1.
        settings: what it was fitted with.
        voters: the documents of the fit that vote on new ones.
        X: (N, d) the vectors of the fit; None after :meth:`load`.
    """

    def __init__(
        self,
        model: Any,
        result: TopicResult,
        settings: FitSettings,
        voters: Voters,
        X: NDArray[np.floating] | None = None,
    ) -> None:
        self.model = model
        self.result = result
        self.settings = settings
        self.voters = voters
        self.X = X

    def predict(
        self, documents: Sequence[str] | str | None = None, X: ArrayLike | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The topic of each new document, -1 where it is amid outliers, and how sure that is from 0 to 1.

        A document whose text was in the fit gets its fitted topic (see :meth:`fitted_topics`), any other the one that
        its nearest documents of the fit vote for (see :class:`Voters`). Both are surer the more of these neighbours
        have the topic, and the same before saving and after loading.

        Args:
            documents: n texts as a list, an array or a column, embedded by the model's backend where no vectors are
                given.
            X: (n, d) their vectors.

        Returns:
            (n,) topics and (n,) probabilities.

        Raises:
            InputError: neither vectors nor a backend; vectors of another width, or with NaN; or a text is not a string.
        """
        given = [documents] if isinstance(documents, str) else [] if documents is None else documents
        texts = list(plain_texts(given))
        if X is None:
            X = self.embed(texts)
        elif documents is not None and len(np.asarray(X)) != len(texts):
            vectors = counted(len(np.asarray(X)), "vector")
            raise InputError(f"Got {counted(len(texts), 'document')} and {vectors}; one of each is needed.")
        return self.voters.predict(X, self.fitted_topics(texts) if texts else None)

    def fitted_topics(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """(n,) the topic that each text has in the fit, NEW (-2) where it was not in it."""
        rows = [self.first_rows.get(content_hash(text)) for text in texts]
        return np.array([NEW if row is None else self.result.topics[row] for row in rows], dtype=np.int64)

    @cached_property
    def first_rows(self) -> dict[bytes, int]:
        """The first row of every text of the fit, by its content hash."""  # kept: texts never change, topics may
        rows: dict[bytes, int] = {}
        for row, text in enumerate(self.result.texts):
            rows.setdefault(content_hash(text), row)
        return rows

    def embed(self, texts: Sequence[str]) -> NDArray[np.floating]:
        """(n, d) vectors of texts by the model's backend.

        Raises:
            InputError: the model has no backend.
        """
        backend = self.model.embedding_model
        if not hasattr(backend, "embed_documents") or type(backend).__name__ == "BaseEmbedder":
            raise InputError("predict needs the vectors X of the documents, or a model with a backend that makes them.")
        if not texts:
            return np.empty((0, self.voters.vectors.shape[1]), dtype=np.float32)
        return np.asarray(backend.embed_documents(list(texts)))

    def save(self, folder: Path | str, *, with_result: bool = True) -> None:
        """Writes the model into a folder, as safetensors and JSON only, and the fusion of a ``MoEEBackend`` with it.

        Args:
            folder: made where it is missing.
            with_result: also writes :attr:`result`; False where it is saved beside the folder, as in a run folder.
        """
        with atomic_folder(Path(folder), keep=True) as new, quiet_bertopic():
            # Without the embedding model: BERTopic would write its name, and load that from the hub by itself.
            self.model.save(str(new), serialization="safetensors", save_ctfidf=True, save_embedding_model=False)
            write_text(new / SETTINGS_FILE, json.dumps(self.settings.to_json(), indent=1))
            self.voters.save(new)
            fusion = getattr(self.model.embedding_model, "fusion", None)
            if isinstance(fusion, Fusion) and fusion.learns and not fusion.needs_fit:
                fusion.save(new / FUSION_FILE)
            if with_result:
                self.result.save(new)

    @staticmethod
    def save_labels(folder: Path, labels: Sequence[str] | None) -> None:
        """Writes BERTopic's custom labels, or none, into a saved model, in the order of the ids."""
        content = read_json(folder / "topics.json", kind=dict[str, Any], mend=MEND)
        write_text(folder / "topics.json", json.dumps({**content, "custom_labels": labels}, indent=2))

    @classmethod
    def load(cls, folder: Path | str, backend: Any | None = None) -> TopicModel:
        """Reads what :meth:`save` wrote; the result is taken from the folder or, in a run folder, from beside it.

        Args:
            folder: a saved model.
            backend: embeds new documents and words, such as the ``MoEEBackend`` of the fit; one without a fusion of its
                own is given the saved one.

        Raises:
            InputError: the folder holds no model, or one that would load another model from the hub.
        """
        from moee_topics.topics.bertopic_parts import BERTopic
        from moee_topics.topics.tokenizers import load_tokenizer
        from moee_topics.topics.vectorizer import TopicVectorizer

        folder = Path(folder)
        _check_folder(folder)
        settings = FitSettings.from_json(read_json(folder / SETTINGS_FILE, kind=dict[str, Any], mend=MEND))
        with quiet_bertopic():
            model = BERTopic.load(str(folder), embedding_model=backend)
        if getattr(backend, "learns", False) and (folder / FUSION_FILE).is_file():
            backend.fusion = Fusion.load(folder / FUSION_FILE)  # type: ignore[union-attr]
        if backend is None:
            model.embedding_model = None  # BERTopic puts an empty one there, which fails late
        try:
            # scipy trusts the columns of a sparse matrix: one flipped bit in the file and toarray() ends the process.
            model.c_tf_idf_.check_format(full_check=True)
        except ValueError as error:
            raise InputError(f"{folder / 'ctfidf.safetensors'} is damaged ({error}).") from error
        # BERTopic keeps the vocabulary and the weights of c-TF-IDF, not our vectorizer nor the options of c-TF-IDF.
        vectorizer = TopicVectorizer(**model.vectorizer_model.get_params())
        vectorizer.vocabulary_ = model.vectorizer_model.vocabulary_
        if settings.tokenizer is not None:
            vectorizer.cut = load_tokenizer(settings.tokenizer)
        model.vectorizer_model = vectorizer
        model.ctfidf_model.set_params(**settings.ctfidf)
        inside = (folder / TOPICS_FILE).is_file()
        result = TopicResult.load(folder if inside else folder.parent)
        if settings.large.holds(len(result)):
            vectorizer.read_rows(result.texts, model._preprocess_text)
        return cls(model, result, settings, Voters.load(folder))

    def __repr__(self) -> str:
        return f"TopicModel({self.result!r})"

    def _repr_html_(self) -> str:
        return self.result._repr_html_()

    def with_topics(self, result: TopicResult) -> None:
        """Takes over changed topics, in the result and for new documents."""
        self.result = result
        self.voters = self.voters.with_topics(result.topics)


def _check_folder(folder: Path) -> None:
    """BERTopic would read pickled weights where the safetensors are missing, and load what a config names."""
    for name in (*BERTOPIC_FILES, SETTINGS_FILE, VOTERS_FILE):
        if not (folder / name).is_file():
            raise InputError(f"{folder} holds no saved topic model: {name} is missing. {MEND}")
    config = read_json(folder / "config.json", kind=dict[str, Any], mend=MEND)
    if config.get("embedding_model") is not None:
        raise InputError(
            f"{folder / 'config.json'} names an embedding model ({config['embedding_model']!r}) that BERTopic would "
            "load by itself. Remove that line and pass backend=."
        )


@contextmanager
def quiet_bertopic() -> Iterator[None]:
    """Without BERTopic's warnings about what this package does on purpose."""
    logger = logging.getLogger("BERTopic")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
