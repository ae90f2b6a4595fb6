"""A finished run over HTTP: topics of new documents, the topics themselves, the report."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
