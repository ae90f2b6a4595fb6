"""Mixture-of-experts language models: loading, attention over packs, experts, quantization, and what is supported."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
