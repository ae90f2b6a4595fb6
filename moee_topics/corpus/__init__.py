"""Documents from anywhere, as an iterator: files, standard input, 20 Newsgroups, docstrings, hub data sets.

The road from a source to a document::

    corpus.source ─ sources.py ─> a reader ─ Record ─> Corpus ─ Document ─> Survey
                                  readers.py            corpus.py            surveys.py
                                  hub, newsgroups, docstrings

A reader yields records with their place in the source; the corpus turns them into documents as the settings ask, and
names the place of a record that cannot be one. Readers of files take rows from ``tables.py``, which takes lines from
``text_file.py``, which takes bytes from ``packing.py``.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
