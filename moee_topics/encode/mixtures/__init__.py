"""Mixtures of experts that are made here: carved out of a dense decoder, and taught by it what they lost."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
