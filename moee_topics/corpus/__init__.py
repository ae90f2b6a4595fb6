"""Documents from anywhere, as an iterator: files, standard input, 20 Newsgroups, docstrings, hub data sets.

The road from a source to a document::

    corpus.source ─ sources.py ─> a reader ─ Record ─> Corpus ─ Document ─> Survey
                                  readers.py            corpus.py            surveys.py
                                  hub, newsgroups, docstrings

A reader says what stands where; the corpus makes of it what the settings ask for, and refuses what is none, by its
place. Readers of files get rows from ``tables.py``, those lines from ``text_file.py``, and those bytes from
``packing.py``.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
