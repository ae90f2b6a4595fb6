"""Documents from anywhere, as an iterator: files, standard input, 20 Newsgroups, docstrings, hub data sets."""

from __future__ import annotations

from moee_topics.corpus.document import Corpus, CorpusCounts, Document
from moee_topics.corpus.open import open_corpus
from moee_topics.corpus.settings import CorpusOptions
from moee_topics.corpus.survey import Survey, Surveyor, survey

__all__ = ["Corpus", "CorpusCounts", "CorpusOptions", "Document", "Survey", "Surveyor", "open_corpus", "survey"]
