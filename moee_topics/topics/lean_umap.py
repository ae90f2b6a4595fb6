"""UMAP as a small corpus needs it: without its search for approximate neighbours, and compiled once.

Importing pynndescent, which does that search, compiles a hundred functions where numba has none of them on disk: 30 of
the 34 processor seconds that ``import umap`` takes in the first process after an installation (benchmarks/LOG.md). Of
fewer than 4,096 documents UMAP computes all distances, and calls none of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from inspect import signature
from threading import Lock
from types import ModuleType
from typing import Any

import numba
from numba.core.dispatcher import Dispatcher


class Late:
    """A class or a dictionary of pynndescent, which is imported when it is first used."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    @property
    def _real(self) -> Any:
        real = getattr(import_module(self._module), self._name)
        keep_compiled(self._module.partition(".")[0])
        return real

    def __call__(self, *args: Any, **options: Any) -> Any:
        """An object of the class."""
        return self._real(*args, **options)

    def __instancecheck__(self, value: object) -> bool:
        """Whether it is one of the class."""
        return isinstance(value, self._real)

    def __contains__(self, key: object) -> bool:
        """Whether the dictionary has a key."""
        return key in self._real

    def __getitem__(self, key: str) -> Any:
        """What it has under a key."""
        return self._real[key]


IMPORTED = {
    "pynndescent": "NNDescent",
    "pynndescent.distances": "named_distances",
    "pynndescent.sparse": "sparse_named_distances",
}
"""What umap-learn 0.5.12 imports of pynndescent, by module."""


LOCK = Lock()
"""Held while UMAP is imported: two modules here import it, maybe in two threads."""


@contextmanager
def lean_umap() -> Iterator[None]:
    """Imports UMAP without pynndescent, before what is imported inside; what is there already stays as it is.

    A thread of somebody else's that first imports pynndescent, or compiles with ``numba.njit``, in these seconds gets
    what stands in for it. Python's import lock does not help: a module in ``sys.modules`` is found without it, and
    holding it deadlocks with a thread that is in the middle of a module which UMAP needs. Such a program imports
    moee_topics.topics first.
    """
    with LOCK:
        if "umap" not in sys.modules and "pynndescent" not in sys.modules:
            _import_umap()
    yield


def _import_umap() -> None:
    for module, name in IMPORTED.items():
        sys.modules[module] = ModuleType(module)
        setattr(sys.modules[module], name, Late(module, name))
    # Two functions of UMAP are compiled when they are defined, and not kept: most of a second in every process.
    njit, numba.njit = numba.njit, partial(numba.njit, cache=True)
    try:
        import_module("umap")
    finally:
        numba.njit = njit
        for module in IMPORTED:
            del sys.modules[module]


@cache
def keep_compiled(package: str) -> None:
    """Lets numba keep on disk what it compiles of a package, where that was imported by somebody else.

    umap-learn 0.5.12 compiles its own functions in every process: 14 s before a fit of 80 documents that takes 0.05.
    They go where those go that pynndescent asks to be kept: beside its files, or to the user's cache.
    """
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == package:
            for value in vars(module).values():
                # A distance as an argument has another type in every process, so no other would find what is kept.
                if isinstance(value, Dispatcher) and "dist" not in signature(value.py_func).parameters:
                    value.enable_caching()
