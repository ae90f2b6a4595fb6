"""What several rooms take for granted where nothing is said, so that it is said once."""

from __future__ import annotations

from pathlib import Path

SEED = 42
"""Of every draw: reduction, samples, k-means."""

SEEDS = 2**32
"""A seed is below it, as numpy asks."""

RUNS = Path("runs")
"""The folder of runs, each a folder in it, where nothing else is said."""

STORE_NAME = "store"
"""The folder of embeddings beside the runs, or beside the results of a scoring run, that share it."""

VIEWS_SAMPLE = 2000
"""Documents of a corpus whose views are compared."""

OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
"""What keeps the libraries of the hub on this machine; they read it once, when they are imported."""

OUTLIERS = -1
"""The topic id of documents that belong to no topic (HDBSCAN's noise)."""

FAR = 0.05
"""The share of the documents of a fit that are as far from all others as what is called far, or thin, of new ones."""

COLOURS = (
    *("#3b6fb0", "#e0702e", "#2e8b57", "#b03a6e", "#c7a31d"),
    *("#38a6c9", "#7a5bb0", "#9a6b3f", "#d98ba8", "#6b7f2a"),
)
"""Of topics, in the report, in what it exports and in figures of a notebook; the report's style has the same."""

GREY = "#c9c6bf"
"""Of outliers, and of what is shown for comparison."""
