"""Topic modelling on the hidden states and routing weights of mixture-of-experts language models.

What a user types is here; nothing is loaded before it is used.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import lazy_loader

__version__ = "0.2.0"

# Numba (0.68) tells the OpenMP that torch shares with it to use all cores, whatever OMP_NUM_THREADS says: after a fit,
# where other work runs beside, the encoder took twenty times as long for threads that wait for each other.
if "OMP_NUM_THREADS" in os.environ and "numba" not in sys.modules:  # which reads it once
    os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

_lazy, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    # The folder ``run`` can be called like its function and stays what Python binds to its name: see run/__init__.py.
    return importlib.import_module("moee_topics.run") if name == "run" else _lazy(name)
