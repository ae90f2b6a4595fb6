"""UMAP's search for neighbours: not imported before it is used, and then the real one."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import umap
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher

from moee_topics.topics.lean_umap import IMPORTED, Late, keep_compiled, lean_umap


def test_a_late_class_makes_objects_of_the_real_one_and_knows_them() -> None:
    late = Late("collections", "Counter")
    assert late("aab") == Counter(a=2, b=1)
    assert isinstance(Counter(), late) and not isinstance([], late)


def test_a_late_dictionary_has_the_entries_of_the_real_one() -> None:
    late = Late("os", "environ")
    assert "PATH" in late and late["PATH"] and "no such name" not in late


def test_upstream_imports_what_is_put_off_and_no_more() -> None:
    names = {"NNDescent", "pynn_named_distances", "pynn_sparse_named_distances"}
    assert names <= set(vars(umap.umap_))
    assert {name.removeprefix("pynn_") for name in names} == set(IMPORTED.values())


def test_what_is_imported_already_stays_as_it_is() -> None:
    before = sys.modules["umap"]
    with lean_umap():
        assert sys.modules["umap"] is before
        assert not isinstance(getattr(sys.modules.get("pynndescent"), "NNDescent", None), Late)


def test_what_no_other_process_would_find_is_not_kept_on_disk() -> None:
    from pynndescent import pynndescent_

    keep_compiled("pynndescent")
    compiled = {name: value for name, value in vars(pynndescent_).items() if isinstance(value, Dispatcher)}
    kept = {name for name, value in compiled.items() if isinstance(value._cache, FunctionCache)}
    of_one_process = {"init_rp_tree", "init_random", "process_candidates", "generate_graph_update_array"}
    assert of_one_process <= set(compiled) - kept and "build_candidates_owner" in kept


FIT = """
import sys
import numpy as np
from {module} import {name}

rows = np.random.default_rng(0).random((4200, 5), dtype=np.float32)
np.save(sys.argv[1], {name}(n_epochs=10, random_state=0).fit_transform(rows))
"""


@pytest.mark.slow
def test_above_4096_rows_the_search_put_off_gives_the_places_of_plain_umap(tmp_path: Path) -> None:
    for module, name in (("moee_topics.topics.umap_hdbscan", "DistinctUMAP"), ("umap", "UMAP")):
        script = FIT.format(module=module, name=name)
        subprocess.run([sys.executable, "-c", script, str(tmp_path / name)], check=True)
    found = np.load(tmp_path / "DistinctUMAP.npy")
    assert found.shape == (4200, 2)
    np.testing.assert_array_equal(found, np.load(tmp_path / "UMAP.npy"))
