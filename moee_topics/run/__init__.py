"""The order of things: embed, fit, report, run and predict; the only place that knows it."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
