"""Fits a topic model: UMAP, HDBSCAN and c-TF-IDF through BERTopic, seeded from end to end."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moee_topics.corpus import Document
from moee_topics.encode import plain_texts
from moee_topics.errors import InputError, ModelError, NoTopicsError
from moee_topics.topics.clusterers import build_clusterer, build_reducer, check_cluster_package
from moee_topics.topics.clustering import document_map
from moee_topics.topics.descriptions import describe, representative_texts, strengths
from moee_topics.topics.duplicate_rows import distinct_rows
from moee_topics.topics.mapped_documents import MappedColumn, MappedDocuments, texts_of
from moee_topics.topics.model import TopicModel
from moee_topics.topics.outlier_reduction import reduce_outliers
from moee_topics.topics.result import OUTLIERS, TopicResult, document_columns
from moee_topics.topics.sampled_clusters import SampledClusters
from moee_topics.topics.settings import (
    HDBSCAN_DEFAULTS,
    FitSettings,
    check_large,
    check_names,
    check_upstream,
    representations,
)
from moee_topics.topics.tokenizers import load_tokenizer
from moee_topics.topics.voters import Voters, centroids, check_finite

logger = logging.getLogger(__name__)

FEWEST_DOCUMENTS = 5
MANY_DOCUMENTS = 500


def fit_topics(
    documents: Sequence[str] | Sequence[Document],
    X: ArrayLike,
    settings: FitSettings | None = None,
    *,
    backend: Any | None = None,
    positions: ArrayLike | None = None,
    **options: Any,
) -> TopicModel:
    """Finds the topics of documents whose vectors are there, by the published recipe unless told otherwise.

    UMAP (15 neighbours, 5 components, min_dist 0, cosine), HDBSCAN (at least 15 documents to a topic), c-TF-IDF and
    KeyBERTInspired. The same documents, vectors and seed give the same model.

    Args:
        documents: N texts, or documents whose ids, labels and times the result keeps; they never influence the fit.
            :class:`MappedDocuments` stay where they are.
        X: (N, d) their vectors, as ``Fusion.transform`` gives them.
        settings: what decides the topics; the defaults if None.
        backend: embeds words and topic names into the same space as X (``MoEEBackend``). Needed for "keybert", "mmr",
            guided and zero-shot topics.
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
    texts, vectors = checked_documents(documents, X)
    places = None if positions is None else np.asarray(positions, dtype=np.float32)
    if places is not None and len(places) != len(texts):
        raise InputError(f"positions needs one entry per document: got {len(places)} for {len(texts)} documents.")
    check_large(settings, len(texts))
    model = fit_bertopic(texts, vectors, settings, backend)
    clusters = model.hdbscan_model
    sampled = clusters if isinstance(clusters, SampledClusters) else None
    topics = np.asarray(model.topics_, dtype=np.int64)
    strength = strengths(model, topics)
    if places is None:
        places = sampled.document_map(vectors) if sampled else document_map(vectors, settings, model.umap_model)
    result = TopicResult(
        texts=texts,
        topics=topics,
        probabilities=strength,
        positions=places,
        topic_info=describe(model, texts, topics, strength),
        assigned=sampled.assigned_ if sampled else None,
        **document_columns(documents, len(texts)),
    )
    if settings.large.holds(len(texts)):  # BERTopic knows documents by their rows alone
        model.representative_docs_ = representative_texts(result)
    topic_model = TopicModel(model, result, settings, Voters.fit(vectors, topics, seed=settings.seed), vectors)
    if settings.outliers is not None:
        reduce_outliers(topic_model, settings.outliers)
    return topic_model


def checked_documents(
    documents: Sequence[str] | Sequence[Document], X: ArrayLike
) -> tuple[Sequence[str], NDArray[np.float32]]:
    """The texts, and their vectors in float32.

    Raises:
        InputError: not one finite vector for each text, or too few that differ.
    """
    are_documents = isinstance(documents, list | tuple) and all(isinstance(one, Document) for one in documents)
    if are_documents or isinstance(documents, MappedDocuments):
        documents = texts_of(documents)  # type: ignore[arg-type]
    texts = documents if isinstance(documents, MappedColumn) else list(plain_texts(documents))
    vectors = np.asarray(X)
    if vectors.ndim != 2 or len(vectors) != len(texts) or vectors.shape[1] == 0:
        raise InputError(f"One vector per document is needed: got {len(texts)} documents and X of {vectors.shape}.")
    if len(texts) < FEWEST_DOCUMENTS:
        raise InputError(too_few_texts(texts))
    vectors = vectors.astype(np.float32, copy=False)  # as UMAP would; vectors of another type would be two copies
    check_finite(vectors)
    distinct = len(distinct_rows(vectors)[0])
    if distinct < FEWEST_DOCUMENTS:
        raise InputError(
            too_few_texts(texts)
            or f"{len(set(texts))} different documents have {distinct} different vectors. Where they begin alike and "
            "only their beginning was read, try a larger encoder.max_tokens, or encoder.long_documents=chunk"
        )
    return texts, vectors


def too_few_texts(texts: Sequence[str]) -> str:
    """Why there are too few different texts for a topic model; empty where there are enough."""
    if len(texts) < FEWEST_DOCUMENTS:
        return f"A topic model needs at least {FEWEST_DOCUMENTS} documents, got {len(texts)}."
    if (different := len(set(texts))) >= FEWEST_DOCUMENTS:
        return ""
    return (
        f"The {len(texts)} documents are copies of {different}: a topic model needs at least {FEWEST_DOCUMENTS} "
        "that differ. Was the right column taken as the text (corpus.text=COLUMN)?"
    )


def why_no_words(texts: Sequence[str], settings: FitSettings) -> str:
    """Why no word of the texts could describe a topic; empty where some can."""
    from moee_topics.topics.vectorizer import build_vectorizer

    try:
        build_vectorizer(settings, texts).fit_transform(texts)
    except InputError as error:
        return str(error)
    return ""


def fit_bertopic(texts: Sequence[str], X: NDArray[np.float32], settings: FitSettings, backend: Any | None) -> Any:
    """A fitted BERTopic with the backend of the caller, whose topic vectors are the means of X.

    Raises:
        InputError: words must be embedded and there is no backend, or upstream refuses the documents or the settings.
        NoTopicsError: every document is an outlier.
        ModelError: a language model that is to name the topics does not answer.
    """
    from moee_topics.topics.representations import KnownDocuments, client_errors

    if backend is None and settings.needs_words:
        raise InputError(
            f"representation={settings.representation!r}, guided and zero-shot topics embed words in the space of the "
            'documents: pass backend=MoEEBackend(...), or representation="ctfidf", which needs no model.'
        )
    model = build_bertopic(settings, texts)
    documents = model.vectorizer_model.documents(texts)
    if settings.needs_words:
        model.embedding_model = KnownDocuments(documents, X, backend)
    is_guided = settings.seed_topic_list is not None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of UMAP's threads and start, which are chosen here
            model.fit_transform(documents, X.copy() if is_guided else X)  # guided fits write into the vectors they get
    except client_errors() as error:
        raise ModelError(
            f"The language model did not answer: {error}. Run the same command again, or leave llm out of "
            "topics.representation."
        ) from error
    except ValueError as error:
        raise InputError(upstream_refusal(texts, len(distinct_rows(X)[0]), settings, error)) from error
    model.embedding_model = backend
    mend_bertopic(model, X, settings)
    return model


def upstream_refusal(texts: Sequence[str], distinct: int, settings: FitSettings, error: ValueError) -> str:
    """What is said where BERTopic or what it calls does not take the documents or the settings."""
    options = {"umap": settings.umap, "hdbscan": settings.hdbscan}
    overrides = [f"{section}.{key}={value}" for section, part in options.items() for key, value in part.items()]
    copies, advice = "", ""
    if distinct < len(texts):
        are = "are copies of" if distinct == len(set(texts)) else "have the vectors of"
        copies = f", which {are} {distinct} that differ"
    smallest = settings.hdbscan.get("min_cluster_size", HDBSCAN_DEFAULTS["min_cluster_size"])
    neighbours = settings.hdbscan.get("min_samples") or smallest
    # The commonest cause: HDBSCAN sees copies once, and looks for more neighbours than there are.
    if settings.cluster.method != "kmeans" and (copies or distinct <= neighbours):
        advice = f" Try hdbscan.min_cluster_size={max(2, distinct // 3)} hdbscan.min_samples=1. BERTopic says"
    return (
        f"BERTopic could not fit {len(texts)} documents{copies}{'.' if advice else ''}{advice}: {error}. It had "
        f"{' '.join(overrides) or 'the defaults'}, topics.nr_topics={settings.nr_topics}, "
        f"topics.zeroshot_min_similarity={settings.zeroshot_min_similarity}."
    )


def mend_bertopic(model: Any, X: NDArray[np.float32], settings: FitSettings) -> None:
    """Puts right in a fitted BERTopic (0.17.4) what it does not keep, or keeps of other vectors than X.

    Raises:
        NoTopicsError: every document is an outlier.
    """
    from moee_topics.topics.bertopic_parts import BaseCluster
    from moee_topics.topics.umap_hdbscan import DistinctHDBSCAN

    clusters = model.hdbscan_model
    if isinstance(clusters, DistinctHDBSCAN) and model.calculate_probabilities:
        # BERTopic asks HDBSCAN for the memberships of what it clustered: of the distinct documents alone.
        model.probabilities_ = model._map_probabilities(clusters.membership_vectors(), original_topics=True)
    # Where zero-shot topics take every document, upstream puts an empty clusterer there and forgets which topic has
    # which name.
    took_all = type(clusters) is BaseCluster and not model._topic_id_to_zeroshot_topic_idx
    if settings.zeroshot_topic_list and settings.nr_topics is None and took_all:
        mapping = model.topic_mapper_.get_mappings()
        model._topic_id_to_zeroshot_topic_idx = {int(new): int(old) for old, new in mapping.items()}
    topics = np.asarray(model.topics_)
    check_topics(topics, getattr(clusters, "min_cluster_size", None))
    vocabulary = model.vectorizer_model.vocabulary_
    unused = [word for word in settings.ctfidf.get("seed_words", ()) if word not in vocabulary]
    columns = np.asarray(model.c_tf_idf_.sum(axis=0)).ravel()
    unused += [word for word in settings.vectorizer.get("vocabulary", ()) if columns[vocabulary[word]] == 0]
    if unused:  # upstream compares letter by letter, after words were made small and cut
        logger.warning("of vectorizer.vocabulary and ctfidf.seed_words, these are words of no topic: %s", unused[:10])
    # BERTopic's own topic vectors are means of what UMAP saw, which guided fits have moved.
    model.topic_embeddings_ = centroids(X, topics)


def build_bertopic(settings: FitSettings, texts: Sequence[str]) -> Any:
    """An unfitted BERTopic with the parts that the settings ask for.

    Raises:
        InputError: a keyword argument that upstream does not take.
        MissingExtraError: a representation needs a package that is not installed.
    """
    from moee_topics.topics.bertopic_parts import BaseDimensionalityReduction, BERTopic
    from moee_topics.topics.representations import build_representation
    from moee_topics.topics.vectorizer import TopicTfidf, build_vectorizer

    is_large, is_sampled = settings.large.holds(len(texts)), settings.large.samples(len(texts))
    check_upstream(settings)  # for those who write Python; a recipe was checked when it was read
    model = BERTopic(
        # BERTopic's "english" deletes every letter outside a to z before it counts words.
        **{"language": "multilingual", **settings.bertopic},
        umap_model=BaseDimensionalityReduction() if is_sampled else build_reducer(settings, len(texts)),
        hdbscan_model=SampledClusters(settings) if is_sampled else build_clusterer(settings),
        vectorizer_model=build_vectorizer(settings, texts),
        ctfidf_model=TopicTfidf(**settings.ctfidf),
        representation_model=build_representation(settings, texts if is_large else None),
        seed_topic_list=settings.seed_topic_list,
        zeroshot_topic_list=settings.zeroshot_topic_list,
        zeroshot_min_similarity=settings.zeroshot_min_similarity,
        nr_topics=settings.nr_topics,
    )
    if is_large:
        model.vectorizer_model.read_rows(texts, model._preprocess_text)
    return model


def check_packages(settings: FitSettings) -> None:
    """Loads what a fit needs beside its documents and may not be there, so that it is missed before the encoding.

    Raises:
        InputError: a language, a model or a key that is not there.
        MissingExtraError: a tokenizer, spaCy or the client of a language model is not installed.
    """
    names = dict(representations(settings))
    check_cluster_package(settings.cluster.method)
    if settings.tokenizer is not None:
        load_tokenizer(settings.tokenizer)
    choice = settings.vectorizer.get("stop_words", settings.stop_words)
    if isinstance(choice, str) and choice not in ("auto", "english"):
        from moee_topics.topics.vectorizer import stop_words

        stop_words(choice, [])
    if "pos" in names or "llm" in names:
        from moee_topics.topics.representations import language_model, llm_class, part_of_speech

        if "pos" in names:
            part_of_speech(names["pos"])
        if names.get("llm", {}).get("provider") == "text_generation":
            llm_class("text_generation")  # and not its model, which would lie in memory beside the encoder
        elif "llm" in names:
            language_model(names["llm"])


def check_topics(topics: NDArray[np.int64], min_cluster_size: int | None) -> None:
    """Warns of one topic of nearly everything, which is rarely a finding.

    Raises:
        NoTopicsError: every document is an outlier.
    """
    numbers, counts = np.unique(topics[topics != OUTLIERS], return_counts=True)
    if not len(numbers):
        smaller = max(2, min(min_cluster_size or 10, len(topics)) // 3)
        cause = "no part of the corpus is denser than the rest"
        if min_cluster_size is not None and len(topics) < 2 * min_cluster_size:
            # Two at least, since HDBSCAN takes the whole corpus for no cluster.
            cause = f"there are too few of them for two topics of hdbscan.min_cluster_size={min_cluster_size}"
        raise NoTopicsError(
            f"No topic was found: all {len(topics)} documents are outliers, as {cause}. "
            f"Try hdbscan.min_cluster_size={smaller} hdbscan.min_samples=1."
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
