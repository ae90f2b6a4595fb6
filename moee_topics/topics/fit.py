"""Fits a topic model: UMAP, HDBSCAN and c-TF-IDF through BERTopic, seeded from end to end."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moee_topics.errors import InputError, NoTopicsError
from moee_topics.topics.changes import reduce_outliers
from moee_topics.topics.clustering import build_hdbscan, build_umap, document_map
from moee_topics.topics.copies import distinct_rows
from moee_topics.topics.describe import describe, strengths
from moee_topics.topics.model import TopicModel
from moee_topics.topics.prediction import Prediction, centroids
from moee_topics.topics.result import OUTLIERS, TopicResult
from moee_topics.topics.settings import FitSettings, check_names, check_upstream

logger = logging.getLogger(__name__)

FEWEST_DOCUMENTS = 5
MANY_DOCUMENTS = 500


def fit_topics(
    documents: Sequence[str],
    X: ArrayLike,
    settings: FitSettings | None = None,
    *,
    backend: Any | None = None,
    ids: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    timestamps: Sequence[str] | None = None,
    positions: ArrayLike | None = None,
    **options: Any,
) -> TopicModel:
    """Finds the topics of documents whose vectors are there, by the published recipe unless told otherwise.

    UMAP (15 neighbours, 5 components, min_dist 0, cosine), HDBSCAN (at least 15 documents to a topic), c-TF-IDF and
    KeyBERTInspired. The same documents, vectors and seed give the same model.

    Args:
        documents: N texts.
        X: (N, d) their vectors, as ``Fusion.transform`` gives them.
        settings: what decides the topics; the defaults if None.
        backend: embeds words and topic names into the same space as X (``MoEEBackend``). Needed for "keybert", "mmr",
            guided and zero-shot topics.
        ids: N names of the documents, their row numbers by default.
        labels: N classes; they never influence the fit.
        timestamps: N ISO 8601 times, for topics over time.
        positions: (N, 2) the document map, where it is made already or nobody looks at it; a second UMAP makes it
            otherwise.
        options: fields of :class:`FitSettings` that replace those of the settings, such as ``representation="mmr"``.

    Raises:
        InputError: vectors and documents do not fit together, an argument upstream does not take, too few documents,
            or no words.
        NoTopicsError: every document is an outlier.
        MissingExtraError: a representation needs a package that is not installed.
    """
    check_names("fit_topics", options, [item.name for item in fields(FitSettings)])
    settings = replace(settings or FitSettings(), **options)
    texts, vectors = _checked(documents, X)
    names = [str(row) for row in range(len(texts))] if ids is None else list(ids)
    places = None if positions is None else np.asarray(positions, dtype=np.float32)
    columns = {"ids": names, "labels": labels, "timestamps": timestamps, "positions": places}
    for name, column in columns.items():
        if column is not None and len(column) != len(texts):
            raise InputError(f"{name} needs one entry per document: got {len(column)} for {len(texts)} documents.")
    model = _fitted_bertopic(texts, vectors, settings, backend)
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
        reduce_outliers(topic_model, settings.outliers)
    return topic_model


def _checked(documents: Sequence[str], X: ArrayLike) -> tuple[list[str], NDArray[np.float32]]:
    """The documents as a list and their vectors in float32, both looked over."""
    texts, vectors = list(documents), np.asarray(X)
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
    distinct = len(distinct_rows(vectors)[0])
    if distinct < FEWEST_DOCUMENTS:
        raise InputError(
            f"The {len(texts)} documents are copies of {distinct}: a topic model needs at least {FEWEST_DOCUMENTS} "
            "that differ. Was the right column taken as the text (corpus.text=COLUMN)?"
        )
    return texts, vectors


def _fitted_bertopic(texts: list[str], X: NDArray[np.float32], settings: FitSettings, backend: Any | None) -> Any:
    """A fitted BERTopic whose backend is the one of the caller and whose topic vectors are the means of X."""
    from bertopic.cluster import BaseCluster

    from moee_topics.topics.distinct import DistinctHDBSCAN
    from moee_topics.topics.representations import KnownDocuments

    if backend is None and settings.needs_words:
        raise InputError(
            f"representation={settings.representation!r}, guided and zero-shot topics embed words in the space of the "
            'documents: pass backend=MoEEBackend(...), or representation="ctfidf", which needs no model.'
        )
    model = build_bertopic(settings, texts)
    if settings.needs_words:
        model.embedding_model = KnownDocuments(texts, X, backend)
    guided = settings.seed_topic_list is not None  # guided fits write into the vectors they are given
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit_transform(texts, X.copy() if guided else X)
    except ValueError as error:
        raise InputError(
            f"BERTopic could not fit: {error}. Given: umap={dict(settings.umap)}, hdbscan={dict(settings.hdbscan)}, "
            f"nr_topics={settings.nr_topics!r}, zeroshot_min_similarity={settings.zeroshot_min_similarity!r}."
        ) from error
    if isinstance(model.hdbscan_model, DistinctHDBSCAN) and model.calculate_probabilities:
        # BERTopic asks HDBSCAN for the memberships of what it clustered: of the distinct documents alone.
        memberships = model.hdbscan_model.membership_vectors()
        model.probabilities_ = model._map_probabilities(memberships, original_topics=True)
    # Where zero-shot topics take every document, upstream (0.17.4) forgets which topic has which name.
    took_all = type(model.hdbscan_model) is BaseCluster and not model._topic_id_to_zeroshot_topic_idx
    if settings.zeroshot_topic_list and settings.nr_topics is None and took_all:
        mapping = model.topic_mapper_.get_mappings()
        model._topic_id_to_zeroshot_topic_idx = {int(new): int(old) for old, new in mapping.items()}
    model.embedding_model = backend
    topics = np.asarray(model.topics_)
    _check_topics(topics, getattr(model.hdbscan_model, "min_cluster_size", None))
    # BERTopic's own topic vectors are means of what UMAP saw, which guided fits have moved.
    model.topic_embeddings_ = centroids(X, topics)
    return model


def build_bertopic(settings: FitSettings, texts: Sequence[str]) -> Any:
    """An unfitted BERTopic with the parts that the settings ask for.

    Raises:
        InputError: a keyword argument that upstream does not take.
        MissingExtraError: a representation needs a package that is not installed.
    """
    from bertopic import BERTopic

    from moee_topics.topics.representations import build_representation
    from moee_topics.topics.vectorizer import TopicTfidf, build_vectorizer

    check_upstream(settings)
    return BERTopic(
        # BERTopic's "english" deletes every letter outside a to z before it counts words.
        **{"language": "multilingual", **settings.bertopic},
        umap_model=build_umap(settings, len(texts)),
        hdbscan_model=build_hdbscan(settings),
        vectorizer_model=build_vectorizer(settings, texts),
        ctfidf_model=TopicTfidf(**settings.ctfidf),
        representation_model=build_representation(settings, settings.seed),
        seed_topic_list=settings.seed_topic_list,
        zeroshot_topic_list=settings.zeroshot_topic_list,
        zeroshot_min_similarity=settings.zeroshot_min_similarity,
        nr_topics=settings.nr_topics,
    )


def _check_topics(topics: NDArray[np.int64], min_cluster_size: int | None) -> None:
    """Refuses a fit of outliers only, and warns of one topic of nearly everything, which is rarely a finding."""
    numbers, counts = np.unique(topics[topics != OUTLIERS], return_counts=True)
    if not len(numbers):
        smaller = max(2, min(min_cluster_size or 10, len(topics)) // 3)
        raise NoTopicsError(
            f"No topic was found: all {len(topics)} documents are outliers with min_cluster_size={min_cluster_size}. "
            f"Try hdbscan.min_cluster_size={smaller} (in Python hdbscan={{'min_cluster_size': {smaller}}})."
        )
    share = counts.max() / len(topics)
    # HDBSCAN's "eom" keeps such a cluster where the density falls off evenly around one centre.
    if len(topics) >= MANY_DOCUMENTS and share > 0.5:
        logger.warning(
            "topic %d holds %.0f %% of the documents; hdbscan.cluster_selection_method=leaf, a smaller "
            "hdbscan.min_cluster_size or another seed splits it",
            numbers[counts.argmax()],
            100 * share,
        )
