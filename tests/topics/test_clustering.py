from __future__ import annotations

from vector_clouds import cloud, with_copies

from moee_topics.topics import FitSettings
from moee_topics.topics.clustering import build_umap, document_map


def test_the_map_of_a_corpus_with_copies_uses_neighbours_only_where_the_fit_kept_them() -> None:
    """5,000 documents of which 120 differ: more than UMAP's 4,096 in all, fewer that differ."""
    X, settings = with_copies(cloud(), 4880), FitSettings(umap={"n_neighbors": 5, "n_epochs": 5})
    reducer = build_umap(settings, len(X))
    reducer.fit_transform(X)
    assert document_map(X, settings, reducer).shape == (5000, 2)
