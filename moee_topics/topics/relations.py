"""What follows from the topics of a fitted model: how they join, come up over time and in classes."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from moee_topics.corpus import has_label
from moee_topics.errors import InputError
from moee_topics.topics.model import TopicModel
from moee_topics.topics.result import OUTLIERS
from moee_topics.topics.settings import TopicSettings

HIERARCHY_COLUMNS = {
    "parent": "Parent_ID",
    "left": "Child_Left_ID",
    "right": "Child_Right_ID",
    "distance": "Distance",
    "name": "Parent_Name",
    "left_name": "Child_Left_Name",
    "right_name": "Child_Right_Name",
    "topics": "Topics",
}
WORDS_PER_GROUP = 5


def hierarchical_topics(topic_model: TopicModel) -> pd.DataFrame:
    """How topics join into larger ones, step by step (Ward's linkage of c-TF-IDF, as BERTopic does it).

    Returns:
        One row per merger, the last first: parent, left, right (ids; parents follow the topics), distance, name (of
        the parent), left_name, right_name, topics (list of ids). No rows for fewer than two topics.
    """
    if topic_model.result.topic_count < 2:
        return pd.DataFrame(columns=list(HIERARCHY_COLUMNS))
    ids = [topic for topic in np.unique(topic_model.result.topics).tolist() if topic != OUTLIERS]
    place = {OUTLIERS: OUTLIERS, **{topic: number for number, topic in enumerate(ids)}}
    # Upstream takes a row's place for its topic's id, and in an updated run ids have gaps.
    model = copy.copy(topic_model.model)
    model.topics_ = [place[topic] for topic in model.topics_]
    model.topic_representations_ = {place[topic]: words for topic, words in model.topic_representations_.items()}
    documents = model.vectorizer_model.documents(topic_model.result.texts)
    model.representation_model = None  # parents are named by c-TF-IDF alone: no model is asked for words
    with contextlib.redirect_stderr(io.StringIO()):  # upstream's progress bar has no switch
        upstream = model.hierarchical_topics(documents, distance_function=cosine_distances)
    frame = pd.DataFrame({name: list(upstream[column]) for name, column in HIERARCHY_COLUMNS.items()})
    for column in ("name", "left_name", "right_name"):
        frame[column] = [", ".join(word for word in name.split("_") if word) for name in frame[column]]
    result: pd.DataFrame = frame.astype({"parent": int, "left": int, "right": int, "distance": float})
    parents_from = ids[-1] + 1 - len(ids)
    for column in ("parent", "left", "right"):
        result[column] = [ids[node] if node < len(ids) else node + parents_from for node in result[column]]
    result["topics"] = [[ids[topic] for topic in topics] for topics in result["topics"]]
    return result


def cosine_distances(vectors: Any) -> NDArray[np.floating]:
    """(K, K) cosine distances of rows, none below 0."""
    from sklearn.metrics.pairwise import cosine_similarity

    # The cosine of two equal rows in float32 is 1 + 1e-7, and upstream refuses negative distances.
    distances: NDArray[np.floating] = np.maximum(1 - np.asarray(cosine_similarity(vectors)), 0)
    return distances


def topics_over_time(
    topic_model: TopicModel, timestamps: Sequence[Any] | None = None, *, bins: int = TopicSettings.time_bins
) -> pd.DataFrame:
    """How often topics come up and with which words, in equal stretches of time.

    Args:
        topic_model: a fitted model.
        timestamps: N times, ISO 8601 or datetimes; those of the corpus by default. Documents without one are left out.
        bins: how many stretches; fewer different times than that stay as they are.

    Returns:
        topic, timestamp (start of the stretch), frequency, words; by topic and time.

    Raises:
        InputError: there are no timestamps, or they cannot be read.
    """
    result = topic_model.result
    timestamps = result.timestamps if timestamps is None else timestamps
    if timestamps is None or len(timestamps) != len(result):
        raise InputError(f"topics_over_time needs a timestamp for each of the {len(result)} documents.")
    if bins < 1:
        raise InputError(f"bins is a whole number from 1, got {bins}.")
    try:
        # In UTC, since a corpus may have times with a zone beside times without.
        times = pd.to_datetime(pd.Series(list(timestamps)), utc=True, format="ISO8601").dt.tz_localize(None)
    except (ValueError, TypeError) as error:
        raise InputError(f"Timestamps must be ISO 8601, such as 1993-04-21 or 1993-04-21T10:30:00: {error}") from error
    if times.notna().sum() == 0:
        raise InputError("No document has a timestamp.")
    if times.nunique() > bins:
        first, step = times.min(), (times.max() - times.min()) / bins
        number = ((times - first) // step).clip(upper=bins - 1)  # the last moment belongs to the last stretch
        times = first + number * step
        if step >= pd.Timedelta(seconds=2):  # of shorter stretches two could begin in one second
            times = times.dt.round("s")
    frame = pd.DataFrame({"topic": result.topics, "timestamp": times})
    return _words_per_group(topic_model, frame, "timestamp")


def topics_per_class(topic_model: TopicModel, labels: Sequence[str] | None = None) -> pd.DataFrame:
    """How often topics come up and with which words, in every class of documents.

    Args:
        topic_model: a fitted model.
        labels: N known classes; those of the corpus by default. Documents without one are left out.

    Returns:
        topic, label, frequency, words; by topic and label.

    Raises:
        InputError: there are no labels, or not one per document.
    """
    result = topic_model.result
    labels = result.labels if labels is None else labels
    if labels is None or len(labels) != len(result):
        raise InputError(f"topics_per_class needs a label for each of the {len(result)} documents.")
    if not any(map(has_label, labels)):
        raise InputError("No document has a label.")
    classes = [str(label) if has_label(label) else None for label in labels]
    frame = pd.DataFrame({"topic": result.topics, "label": classes})
    return _words_per_group(topic_model, frame, "label")


def _words_per_group(topic_model: TopicModel, frame: pd.DataFrame, group: str) -> pd.DataFrame:
    """Counts and c-TF-IDF words of every (topic, group), the words half those of the topic and half of the group."""
    from sklearn.preprocessing import normalize

    model = topic_model.model
    frame["text"] = model.vectorizer_model.documents(topic_model.result.texts)
    groups = (
        frame.dropna(subset=group)
        .groupby(["topic", group], as_index=False, sort=True)
        .agg(words=("text", " ".join), frequency=("text", "size"))
    )
    # BERTopic's "global tuning". Its own topics_over_time normalizes the model's c-TF-IDF in place and takes arguments
    # that pandas 3 no longer has.
    of_group = model.ctfidf_model.transform(model.vectorizer_model.transform(model._preprocess_text(groups["words"])))
    at = np.searchsorted(np.unique(topic_model.result.topics), groups["topic"].to_numpy())
    mixed = (normalize(of_group, norm="l1") + normalize(model.c_tf_idf_, norm="l1")[at]).tocsr()
    names = model.vectorizer_model.get_feature_names_out()
    rows = [mixed[row] for row in range(len(groups))]
    best = [row.indices[np.argsort(-row.data, kind="stable")[:WORDS_PER_GROUP]] for row in rows]
    groups["words"] = [", ".join(names[columns]) for columns in best]
    return groups[["topic", group, "frequency", "words"]]
