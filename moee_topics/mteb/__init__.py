"""Scoring: vectors on tasks, beside the paper's numbers, and hidden states beside routing weights."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
