"""What a run keeps: ``run.scores`` is what a file holds, ``RunFolder.scores`` the file: read, write, check, remove."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
