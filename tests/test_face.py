"""What ``moee_topics`` itself offers, and what it costs to ask."""

from __future__ import annotations

import subprocess
import sys

import pytest

import moee_topics

FACE = {
    "MoEEncoder", "MoEEBackend", "Embeddings", "EmbeddingStore", "Embedder", "Fusion", "Recipe", "Run", "RunFolder",
    "run", "load_recipe", "errors",
    "CorpusSettings", "Document", "open_corpus", "describe",
    "TopicModel", "OutlierReduction", "fit_topics", "plots", "clustering_agreement",
    "estimate", "plan", "predict", "update", "Decision", "decide", "export_report",
    "LocalTask", "local_task", "MTEBEncoder",
}  # fmt: skip


def fresh(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_all_is_the_truth() -> None:
    assert set(moee_topics.__all__) == FACE
    assert all(getattr(moee_topics, name) is not None for name in FACE)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Fussion"):
        moee_topics.Fussion  # noqa: B018


def test_importing_the_package_and_its_settings_loads_nothing_heavy() -> None:
    fresh(
        "import sys, moee_topics\n"
        "from moee_topics import CorpusSettings, Document, Fusion, Recipe, errors, load_recipe, open_corpus\n"
        "heavy = {'torch', 'numba', 'sklearn', 'bertopic', 'transformers', 'umap'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )


def test_numba_takes_no_more_threads_than_openmp_was_given() -> None:
    asked = "import os; os.environ.update(OMP_NUM_THREADS='1'); os.environ.pop('NUMBA_NUM_THREADS', None); "
    fresh(f"{asked}import moee_topics; import numba; assert numba.config.NUMBA_NUM_THREADS == 1")
    own = "import os; os.environ.update(OMP_NUM_THREADS='1', NUMBA_NUM_THREADS='2'); "
    fresh(f"{own}import moee_topics; assert os.environ['NUMBA_NUM_THREADS'] == '2'")


ORDERS = """
import inspect, sys
for before in ("", "import moee_topics.run.stages", "from moee_topics.run import predict"):
    # As in a new process, but for torch and others, which take ten seconds to import.
    for name in [name for name in sys.modules if name.split(".")[0] == "moee_topics"]:
        del sys.modules[name]
    exec(f"{before}\\nimport moee_topics\\nfrom moee_topics import run")
    assert callable(run) and callable(moee_topics.run), before
    assert "Takes a corpus all the way" in run.__doc__ and "recipe" in inspect.signature(run).parameters, before
    exec("import moee_topics.run as room")
    assert callable(room.predict) and room.run is not None, before
"""


def test_run_is_the_function_and_says_what_it_does_whatever_was_imported_before() -> None:
    fresh(ORDERS)
