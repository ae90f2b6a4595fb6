"""A finished run as something to read: one HTML file without a network, tables, figures, and runs side by side."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
