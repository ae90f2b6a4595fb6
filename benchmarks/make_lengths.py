"""Writes lengths_20newsgroups.json: how long the 18,846 posts are, so that the benchmark needs no data.

Run where scikit-learn has 20 Newsgroups (SCIKIT_LEARN_DATA): python benchmarks/make_lengths.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import fetch_20newsgroups

from moee_topics.store import write_json

LENGTHS = Path(__file__).with_name("lengths_20newsgroups.json")
BYTES_PER_TOKEN = 4  # of English text under a vocabulary of 50,000, such as OLMoE's


def main() -> None:
    posts = fetch_20newsgroups(subset="all", remove=("headers", "footers", "quotes"), download_if_missing=False).data
    tokens = np.array([len(post.strip().encode()) / BYTES_PER_TOKEN for post in posts])
    quantiles = np.quantile(tokens, np.linspace(0, 1, 201)).round().astype(int)
    about = "tokens of a post without headers, footers and quotes, as UTF-8 bytes / 4; 201 quantiles from 0 to 1"
    content = {"about": about, "posts": len(posts), "quantiles": quantiles.tolist()}
    write_json(LENGTHS, content, indent=None)


if __name__ == "__main__":
    main()
