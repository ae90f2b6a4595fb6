"""What several rooms take for granted where nothing is said, so that it is said once."""

from __future__ import annotations

SEED = 42
"""Of every draw: reduction, samples, k-means."""

SEEDS = 2**32
"""A seed is below it, as numpy asks."""

STORE_NAME = "store"
"""The folder of embeddings beside the runs, or beside the results of a scoring run, that share it."""

OUTLIERS = -1
"""The topic id of documents that belong to no topic (HDBSCAN's noise)."""
