"""Fits a topic model: UMAP, HDBSCAN and c-TF-IDF through BERTopic, seeded from end to end."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moee_topics.errors import InputError, NoTopicsError
from moee_topics.topics.describe import describe, strengths
from moee_topics.topics.model import TopicModel
from moee_topics.topics.prediction import Prediction, centroids
from moee_topics.topics.result import OUTLIERS, TopicResult
from moee_topics.topics.settings import (
    HDBSCAN_DEFAULTS,
    OWNED_BY_FIT,
    UMAP_DEFAULTS,
    VECTORIZER_DEFAULTS,
    OutlierReduction,
    Representation,
    TopicSettings,
    check_arguments,
    stop_words,
)
from moee_topics.topics.toolbox import reduce_outliers

Array = NDArray[np.floating]

logger = logging.getLogger(__name__)

FEWEST_DOCUMENTS = 5
MANY_DOCUMENTS = 500
UMAP_APPROXIMATES_FROM = 4096
"""From so many documents on UMAP keeps its nearest neighbours, which the document map then uses again."""


def fit_topics(
    documents: Sequence[str],
    X: ArrayLike,
    *,
    ids: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    timestamps: Sequence[str] | None = None,
    backend: Any | None = None,
    seed: int = 42,
    umap: Mapping[str, Any] | None = None,
    hdbscan: Mapping[str, Any] | None = None,
    vectorizer: Mapping[str, Any] | None = None,
    ctfidf: Mapping[str, Any] | None = None,
    bertopic: Mapping[str, Any] | None = None,
    representation: Representation | Sequence[Representation] = "keybert",
    seed_topic_list: Sequence[Sequence[str]] | None = None,
    zeroshot_topic_list: Sequence[str] | None = None,
    zeroshot_min_similarity: float = 0.7,
    nr_topics: int | Literal["auto"] | None = None,
    outliers: OutlierReduction | None = None,
) -> TopicModel:
    """Finds the topics of documents whose vectors are known, by the published recipe unless told otherwise.

    UMAP (15 neighbours, 5 components, min_dist 0, cosine), HDBSCAN (at least 15 documents to a topic), c-TF-IDF and
    KeyBERTInspired. The same documents, vectors and seed give the same model.

    Args:
        documents: N texts.
        X: (N, d) vectors, as ``fusion.fuse`` gives them.
        ids: N names of the documents, their row numbers by default.
        labels: N known classes; they never influence the fit.
        timestamps: N ISO 8601 times, for topics over time.
        backend: embeds words and topic names into the same space as X (``MoEEBackend``). Needed for "keybert", "mmr",
            guided and zero-shot topics.
        seed: and all that follow: see :class:`TopicSettings`.

    Raises:
        InputError: vectors and documents do not fit together, an argument upstream does not know, too few documents,
            or no words.
        NoTopicsError: every document is an outlier.
        MissingExtraError: a representation needs a package that is not installed.
    """
    settings = TopicSettings(
        seed=seed,
        umap=umap or {},
        hdbscan=hdbscan or {},
        vectorizer=vectorizer or {},
        ctfidf=ctfidf or {},
        bertopic=bertopic or {},
        representation=representation,
        seed_topic_list=seed_topic_list,
        zeroshot_topic_list=zeroshot_topic_list,
        zeroshot_min_similarity=zeroshot_min_similarity,
        nr_topics=nr_topics,
        outliers=outliers,
    )
    return fit_with_settings(documents, X, settings, backend=backend, ids=ids, labels=labels, timestamps=timestamps)


def fit_with_settings(
    documents: Sequence[str],
    X: ArrayLike,
    settings: TopicSettings,
    *,
    backend: Any | None = None,
    ids: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    timestamps: Sequence[str] | None = None,
    positions: ArrayLike | None = None,
) -> TopicModel:
    """:func:`fit_topics` with its settings as one value.

    Args:
        documents: and X, backend, ids, labels, timestamps: see :func:`fit_topics`.
        settings: everything else of it.
        positions: (N, 2) the document map, where it is known or nobody looks at it; a second UMAP makes it otherwise.

    Raises:
        InputError: as :func:`fit_topics`.
        NoTopicsError: every document is an outlier.
    """
    texts = list(documents)
    vectors = _checked_vectors(texts, X)
    names = [str(row) for row in range(len(texts))] if ids is None else list(ids)
    places = None if positions is None else np.asarray(positions, dtype=np.float32)
    _check_columns(len(texts), {"ids": names, "labels": labels, "timestamps": timestamps, "positions": places})
    model = _fit_bertopic(texts, vectors, settings, backend)
    topics = np.asarray(model.topics_, dtype=np.int64)
    strength = strengths(model, topics)
    result = TopicResult(
        ids=names,
        texts=texts,
        topics=topics,
        probabilities=strength,
        positions=document_map(vectors, settings, model.umap_model) if places is None else places,
        topic_info=describe(model, texts, topics, strength),
        labels=None if labels is None else list(labels),
        timestamps=None if timestamps is None else list(timestamps),
    )
    topic_model = TopicModel(model, result, settings, Prediction.fit(vectors, topics, seed=settings.seed), vectors)
    if settings.outliers is not None:
        reduce_outliers(topic_model, **asdict(settings.outliers))
    return topic_model


def _checked_vectors(texts: Sequence[str], X: ArrayLike) -> Array:
    vectors = np.asarray(X)
    if vectors.ndim != 2 or len(vectors) != len(texts) or vectors.shape[1] == 0:
        raise InputError(f"One vector per document is needed: got {len(texts)} documents and X of {vectors.shape}.")
    if len(texts) < FEWEST_DOCUMENTS:
        raise InputError(f"A topic model needs at least {FEWEST_DOCUMENTS} documents, got {len(texts)}.")
    wrong = next((row for row, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        raise InputError(f"Documents are strings; document {wrong} is {type(texts[wrong]).__name__}.")
    vectors = vectors.astype(np.float32, copy=False)
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise InputError(f"{len(bad)} vectors hold NaN or infinity, the first that of document {bad[0]}.")
    return vectors


def _check_columns(documents: int, columns: Mapping[str, Sized | None]) -> None:
    for name, column in columns.items():
        if column is not None and len(column) != documents:
            raise InputError(f"{name} needs one entry per document: got {len(column)} for {documents} documents.")


def _fit_bertopic(texts: list[str], X: Array, settings: TopicSettings, backend: Any | None) -> Any:
    """A fitted BERTopic whose backend is the one given and whose topic vectors are the means of X."""
    from moee_topics.topics.representations import KnownDocuments

    _check_backend(settings, backend)
    model = build_bertopic(settings, texts)
    if settings.needs_words:
        model.embedding_model = KnownDocuments(texts, X, backend)
    guided = settings.seed_topic_list is not None  # guided fits write into the vectors they are given
    with _upstream_errors(settings):
        model.fit_transform(texts, X.copy() if guided else X)
    _restore_zeroshot_names(model, settings)
    model.embedding_model = backend
    topics = np.asarray(model.topics_)
    _check_topics(topics, model)
    _warn_of_a_giant(topics)
    model.topic_embeddings_ = centroids(X, topics)
    return model


def _restore_zeroshot_names(model: Any, settings: TopicSettings) -> None:
    """Where zero-shot topics take every document, upstream (0.17.4) forgets which topic has which name."""
    from bertopic.cluster import BaseCluster

    took_all = type(model.hdbscan_model) is BaseCluster and not model._topic_id_to_zeroshot_topic_idx
    if settings.zeroshot_topic_list and settings.nr_topics is None and took_all:
        mapping = model.topic_mapper_.get_mappings()
        model._topic_id_to_zeroshot_topic_idx = {int(new): int(old) for old, new in mapping.items()}


def _check_backend(settings: TopicSettings, backend: Any | None) -> None:
    if backend is None and settings.needs_words:
        raise InputError(
            f"representation={settings.representation!r}, guided and zero-shot topics embed words in the space of the "
            'documents: pass backend=MoEEBackend(...), or representation="ctfidf", which needs no model.'
        )


def build_bertopic(settings: TopicSettings, texts: Sequence[str]) -> Any:
    """An unfitted BERTopic with the parts that the settings ask for.

    Raises:
        InputError: a keyword argument that upstream does not know.
        MissingExtraError: a representation needs a package that is not installed.
    """
    from bertopic import BERTopic
    from bertopic.vectorizers import ClassTfidfTransformer
    from hdbscan import HDBSCAN
    from sklearn.feature_extraction.text import CountVectorizer

    from moee_topics.topics.representations import TopicVectorizer, build_representation

    check_arguments(BERTopic, settings.bertopic, but=OWNED_BY_FIT)
    check_arguments(HDBSCAN, settings.hdbscan)
    check_arguments(CountVectorizer, settings.vectorizer)
    check_arguments(ClassTfidfTransformer, settings.ctfidf)
    return BERTopic(
        **{"language": "multilingual", **settings.bertopic},
        umap_model=build_umap(settings, len(texts)),
        hdbscan_model=HDBSCAN(**{**HDBSCAN_DEFAULTS, **settings.hdbscan}),
        vectorizer_model=TopicVectorizer(**vectorizer_arguments(settings, texts)),
        ctfidf_model=ClassTfidfTransformer(**settings.ctfidf),
        representation_model=build_representation(settings),
        seed_topic_list=settings.seed_topic_list,
        zeroshot_topic_list=settings.zeroshot_topic_list,
        zeroshot_min_similarity=settings.zeroshot_min_similarity,
        nr_topics=settings.nr_topics,
    )


def vectorizer_arguments(settings: TopicSettings, texts: Sequence[str]) -> dict[str, Any]:
    """CountVectorizer's arguments, stop words looked up and lists of a recipe turned into tuples."""
    given = {**VECTORIZER_DEFAULTS, **settings.vectorizer}
    given["stop_words"] = stop_words(given, texts)
    if isinstance(given.get("ngram_range"), list):
        given["ngram_range"] = tuple(given["ngram_range"])
    return given


def build_umap(settings: TopicSettings, documents: int, **changed: Any) -> Any:
    """A seeded UMAP, with fewer neighbours and components where the corpus is too small for the settings."""
    from umap import UMAP

    check_arguments(UMAP, settings.umap)
    given = {**UMAP_DEFAULTS, "random_state": settings.seed, "n_jobs": 1, **settings.umap, **changed}
    given["n_neighbors"] = min(given["n_neighbors"], documents - 1)
    given["n_components"] = min(given["n_components"], max(2, documents - 2))
    if documents <= given["n_components"] + 2:
        given["init"] = "random"
    return UMAP(**given)


def document_map(X: Array, settings: TopicSettings, fitted: Any | None = None) -> NDArray[np.float32]:
    """(N, 2) positions of the documents on a map, by a seeded UMAP of its own with room between the points.

    Args:
        X: (N, d) vectors.
        settings: the neighbours, metric and seed come from these.
        fitted: a UMAP of the same vectors, whose nearest neighbours are used again where it kept them.
    """
    changed: dict[str, Any] = {"n_components": 2, "min_dist": 0.1}
    if fitted is not None and len(X) >= UMAP_APPROXIMATES_FROM and settings.seed_topic_list is None:
        changed["precomputed_knn"] = (fitted._knn_indices, fitted._knn_dists, fitted._knn_search_index)
    return np.asarray(build_umap(settings, len(X), **changed).fit_transform(X), dtype=np.float32)


@contextmanager
def _upstream_errors(settings: TopicSettings) -> Iterator[None]:
    """What UMAP, HDBSCAN and BERTopic refuse at fit time, as an error that shows what they were given."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ValueError as error:
        raise InputError(
            f"BERTopic could not fit: {error}. Given: umap={dict(settings.umap)}, hdbscan={dict(settings.hdbscan)}, "
            f"nr_topics={settings.nr_topics!r}, zeroshot_min_similarity={settings.zeroshot_min_similarity!r}."
        ) from error


def _warn_of_a_giant(topics: NDArray[np.int64]) -> None:
    """HDBSCAN's "eom" sometimes keeps one cluster of nearly everything; a user should not take that for a finding."""
    found, counts = np.unique(topics[topics != OUTLIERS], return_counts=True)
    share = counts.max() / len(topics)
    if len(topics) >= MANY_DOCUMENTS and share > 0.5:
        logger.warning(
            "topic %d holds %.0f %% of the documents; hdbscan={'cluster_selection_method': 'leaf'}, a smaller "
            "min_cluster_size or another seed splits it",
            found[counts.argmax()],
            100 * share,
        )


def _check_topics(topics: NDArray[np.int64], model: Any) -> None:
    if (topics != OUTLIERS).any():
        return
    size = getattr(model.hdbscan_model, "min_cluster_size", None)
    raise NoTopicsError(
        f"No topic was found: all {len(topics)} documents are outliers with min_cluster_size={size}. "
        f"Try hdbscan={{'min_cluster_size': {max(2, min(size or 10, len(topics)) // 3)}}}."
    )
