"""Topic modelling on the hidden states and routing weights of mixture-of-experts language models.

What a user types is here; nothing is loaded before it is used.
"""

from __future__ import annotations

import importlib
from typing import Any

import lazy_loader

__version__ = "0.2.0"

_lazy, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    # The folder ``run`` can be called like its function and stays what Python binds to its name: see run/__init__.py.
    return importlib.import_module("moee_topics.run") if name == "run" else _lazy(name)
