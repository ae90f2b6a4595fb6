"""The same embedding on many machines: shares of a corpus, and what they would take."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
