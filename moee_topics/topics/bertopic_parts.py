"""What this package uses of BERTopic, which imports UMAP: in one place, so that it does so lean."""

from __future__ import annotations

from moee_topics.topics.lean_umap import lean_umap

with lean_umap():
    from bertopic import BERTopic as BERTopic
    from bertopic import representation as representation
    from bertopic.backend import BaseEmbedder as BaseEmbedder
    from bertopic.cluster import BaseCluster as BaseCluster
    from bertopic.dimensionality import BaseDimensionalityReduction as BaseDimensionalityReduction
    from bertopic.vectorizers import ClassTfidfTransformer as ClassTfidfTransformer
