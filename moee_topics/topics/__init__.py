"""Topics from documents and their vectors, through BERTopic: fit, predict, save, and everything done with them after.

Importing this is cheap; BERTopic, UMAP and HDBSCAN are loaded by the first fit or load.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
