"""Topics from documents and their vectors, through BERTopic: fit, predict, save, and everything done with them after.

Importing this is cheap; BERTopic, UMAP and HDBSCAN are loaded by the first fit or load.
"""

from moee_topics.topics.fit import fit_topics, fit_with_settings
from moee_topics.topics.model import TopicModel
from moee_topics.topics.prediction import Prediction
from moee_topics.topics.settings import OutlierReduction, TopicSettings
from moee_topics.topics.toolbox import (
    OutlierChange,
    hierarchical_topics,
    merge_topics,
    reduce_outliers,
    reduce_topics,
    topics_over_time,
    topics_per_class,
)

__all__ = [
    "OutlierChange",
    "OutlierReduction",
    "Prediction",
    "TopicModel",
    "TopicSettings",
    "fit_topics",
    "fit_with_settings",
    "hierarchical_topics",
    "merge_topics",
    "reduce_outliers",
    "reduce_topics",
    "topics_over_time",
    "topics_per_class",
]
