"""BERTopic, as this package imports it."""

from __future__ import annotations

import subprocess
import sys

IMPORT = """
import sys
import moee_topics.topics.bertopic_parts
import numba, umap
print("pynndescent" in sys.modules, isinstance(numba.njit, type(numba.jit)))
"""


def test_it_brings_umap_without_the_search_that_small_corpora_do_not_need() -> None:
    said = subprocess.run([sys.executable, "-c", IMPORT], check=True, capture_output=True, text=True).stdout
    assert said.split() == ["False", "True"]
