"""Documents from anywhere, as an iterator: files, standard input, 20 Newsgroups, docstrings, hub data sets."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
