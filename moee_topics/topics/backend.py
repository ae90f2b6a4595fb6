"""The embedding model of any BERTopic: a mixture-of-experts encoder and a fusion behind BERTopic's own interface.

::

    from bertopic import BERTopic
    from moee_topics import MoEEBackend

    BERTopic(embedding_model=MoEEBackend("pocket")).fit_transform(documents)
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from moee_topics.embed import Embedder, TextEncoder
from moee_topics.embeddings import Embeddings
from moee_topics.encode import EncoderOptions, EncoderSettings, EncoderSource, options_of, plain_texts
from moee_topics.errors import InputError, ModelError
from moee_topics.fuse import RAW, Fusion, checked_fusion, fuse_all
from moee_topics.topics.bertopic_parts import BaseEmbedder

Matrix = NDArray[np.floating]

SHORT = 64
"""Texts of up to so many characters are words or phrases, whose vectors are kept in memory."""
MOST_SHORT_TEXTS = 200_000
LEAST_DOCUMENTS = 50
"""Different documents that a backend learns its statistics from at least, where no fusion is given."""
ISOTROPIC = Fusion(filters=("align_words",))
"""What ``MoEEBackend`` does where nothing is said: cosines of unlike documents, and of unlike words, are around 0, so
that BERTopic's thresholds mean what they mean for the models of sentence-transformers."""


class MoEEBackend(BaseEmbedder):  # type: ignore[misc]
    """Embeds documents, words and single strings for BERTopic, all with the same prompt.

    The vector of a text depends on that text alone, so documents that come later, and words, lie in the space of the
    documents of the fit. It may be used from several threads.

    Where no fusion is given, the first call of ``embed_documents`` with 50 different documents or more, such as
    BERTopic's own at a fit, learns the statistics of :data:`ISOTROPIC`; vectors from before are raw. They stay,
    whatever comes later, and are in :attr:`fusion`, in a pickle, and in what :class:`TopicModel` saves. BERTopic saves
    no backend: keep them with ``backend.fusion.save(path)`` and give ``Fusion.load(path)`` to the next one. Topic
    models that are to be merged must share one fusion, or their vectors are not of one space. BERTopic asks for the
    vectors of a fit and of a loaded model in the same way, so that learning is always told in a warning.

    Args:
        encoder: the name or path of a model ("pocket" is the one this package carries), a ``MoEEncoder``, a function
            without arguments that loads one, or an :class:`Embedder`. A name or function loads when a text must be
            encoded, not before.
        fusion: how hidden states and routing weights become one vector. One that learns from a corpus must be
            fitted, before by its own ``fit`` or here by :meth:`fit_fusion`, and must be passed again where a saved
            model is loaded. None is :data:`ISOTROPIC`, which learns by itself.
        store: folder of embeddings on disk. Texts in it are not encoded again; new ones, words included, are added.
        double_precision: gives vectors in float64. ``BERTopic.partial_fit`` needs them where an ``IncrementalPCA``
            stands before the clusters: it turns later batches of float32 into float64 (scikit-learn 1.9), which
            ``MiniBatchKMeans`` then refuses.
        encoder_options: the options of ``EncoderSettings`` but the model, for a name or path.
    """

    def __init__(
        self,
        encoder: str | TextEncoder | Callable[[], TextEncoder] | Embedder = "pocket",
        fusion: Fusion | None = None,
        *,
        store: Path | None = None,
        double_precision: bool = False,
        **encoder_options: Unpack[EncoderOptions],
    ) -> None:
        super().__init__()
        if encoder_options and not isinstance(encoder, str):
            raise InputError(
                f"{sorted(encoder_options)} are options of loading a model by name; pass its name instead."
            )
        self.fusion = ISOTROPIC if fusion is None else checked_fusion(fusion)
        self._fusion_by_default = fusion is None
        self.store = store
        self.double_precision = double_precision
        self._encoder: Any = encoder
        self._options: EncoderOptions = encoder_options
        self._short_texts: dict[str, Matrix] = {}
        self._lock = threading.RLock()
        self.embedder = encoder if isinstance(encoder, Embedder) else self._make_embedder()

    @property
    def learns(self) -> bool:
        """Whether the next documents teach it the statistics of its fusion."""
        return self._fusion_by_default and self.fusion.needs_fit

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""
        return self.embedder.is_loaded

    def release(self) -> None:
        """Lets the model's memory go; the next text that must be encoded loads it again."""
        if not isinstance(self._encoder, Embedder):
            self._encoder, self._options = _reloadable(self._encoder, self._options, here=True)
            self.embedder = self._make_embedder()
        self.embedder.release()

    def embed(self, documents: Sequence[str] | str, verbose: bool = False) -> Matrix:
        """(n, d) vectors of texts, documents or words alike, in their order.

        Args:
            documents: n texts; a single string is one.
            verbose: part of BERTopic's interface; the encoder shows no progress of its own.

        Raises:
            InputError: there are no texts, or one is not a string.
        """
        texts = list(plain_texts([documents] if isinstance(documents, str) else documents))
        if not texts:
            raise InputError("There is nothing to embed: got an empty list of texts.")
        distinct = list(dict.fromkeys(texts))
        short = [text for text in distinct if len(text) <= SHORT]
        long = [text for text in distinct if len(text) > SHORT]
        with self._lock:
            # BERTopic asks for the same words with every change of a topic: they are kept, and documents are not.
            new = [text for text in short if text not in self._short_texts]
            if len(self._short_texts) + len(new) > MOST_SHORT_TEXTS:
                self._short_texts.clear()
                new = short
            if new:
                new = sorted(new)  # so that the shards of a store do not depend on the order in which BERTopic asks
                self._short_texts.update(zip(new, self._fused(new), strict=True))
            vectors = {text: self._short_texts[text] for text in short}
            if long:
                vectors.update(zip(long, self._fused(long), strict=True))
        return self._of_precision(np.stack([vectors[text] for text in texts]))

    def embed_documents(self, document: Sequence[str] | str, verbose: bool = False) -> Matrix:
        """(n, d) vectors of documents; where no fusion was given, the first 50 or more teach it its statistics."""
        texts = list(plain_texts([document] if isinstance(document, str) else document))
        with self._lock:
            if not self.learns or len(set(texts)) < LEAST_DOCUMENTS:
                return self.embed(texts, verbose)
            distinct = list(dict.fromkeys(texts))
            self.fusion.check_texts(distinct)
            # A store is read twice; without one, what was encoded stays in memory for that.
            blocks = self.embedder.blocks(distinct, ids=distinct)
            kept = list(blocks) if self.store is None else blocks
            self._fit(kept, distinct)
            warnings.warn(
                f"This backend has learnt its statistics from {len(distinct):,} different documents (backend.fusion), "
                "which is right for a fit. A topic model that was loaded or merged needs those of its own fit, or it "
                "finds wrong topics: keep them with backend.fusion.save(path), and give "
                "MoEEBackend(..., Fusion.load(path)) to it.",
                stacklevel=2,
            )
            if self.store is not None:
                return self.embed(texts, verbose)
            vectors = fuse_all(kept, self.fusion, len(distinct), distinct)
        row_of = {text: row for row, text in enumerate(distinct)}
        return self._of_precision(vectors[[row_of[text] for text in texts]])

    def fit_fusion(self, documents: Iterable[str]) -> MoEEBackend:
        """Learns the statistics of the fusion from a corpus; returns the backend itself.

        Without a store the documents are encoded here and once more when they are embedded.

        Raises:
            InputError: the documents are a single string, or one of them is not a string.
        """
        with self._lock:
            texts = list(plain_texts(documents))
            self.fusion.check_texts(texts)
            self._fit(self.embedder.blocks(texts), texts)
        return self

    def _fit(self, blocks: Iterable[Embeddings], texts: Sequence[str]) -> None:
        self.fusion = self.fusion.fit(blocks, texts, self.embedder)
        self._short_texts.clear()  # their vectors are of the fusion as it was

    def _of_precision(self, vectors: Matrix) -> Matrix:
        return vectors.astype(np.float64) if self.double_precision else vectors

    def _fused(self, texts: Sequence[str]) -> Matrix:
        # What a store calls a word is the word itself, so that `store ls` and a curious reader see which are there.
        fusion = self.fusion
        if self.learns:
            warnings.warn(
                f"This backend has learnt nothing of a corpus yet, and gives raw vectors of {len(texts)} texts. Let it "
                f"embed {LEAST_DOCUMENTS} different documents first (a fit of BERTopic does), call fit_fusion with "
                "the documents, or give it a fusion.",
                stacklevel=4,
            )
            fusion = RAW
        return fuse_all(self.embedder.blocks(texts, ids=texts), fusion, len(texts), texts)

    def _make_embedder(self) -> Embedder:
        encoder = self._encoder
        if isinstance(encoder, str):
            loader = EncoderSource(EncoderSettings.checked(encoder, **self._options))
            key = loader.stored_key(self.store) if self.store is not None else None
            return Embedder(loader, self.store, key=key)
        if hasattr(encoder, "encode"):
            return Embedder.of(encoder, self.store)
        return Embedder(encoder if callable(encoder) else _gone, self.store)

    def __getstate__(self) -> dict[str, Any]:
        """Without weights, lock and memory of words; a copy loads its encoder again where it knows how."""
        encoder, options = _reloadable(self._encoder, self._options)
        state = {name: value for name, value in self.__dict__.items() if name not in ("_lock", "embedder")}
        return {**state, "_short_texts": {}, "_encoder": encoder, "_options": options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.RLock())
        self.embedder = self._make_embedder()

    def __deepcopy__(self, memo: dict[int, Any]) -> MoEEBackend:
        """The backend itself: copies of a topic model share one model in memory."""
        return self


def _gone() -> TextEncoder:
    raise ModelError(
        "The encoder is gone: it was released or not saved with the backend. Make the backend from a model's name "
        "or from a function, which can load it again."
    )


def _reloadable(encoder: Any, options: EncoderOptions, *, here: bool = False) -> tuple[Any, EncoderOptions]:
    """The name or function that makes an encoder again, ``here`` or in another process; None where there is none."""
    spec = getattr(encoder, "spec", None)
    if spec is not None and spec.model != "folder":
        return spec.model, options_of(spec.key())
    # A function defined inside another one cannot be pickled by name.
    nameless = not here and "<" in getattr(encoder, "__qualname__", "")
    in_memory = isinstance(encoder, Embedder) or (hasattr(encoder, "encode") and not isinstance(encoder, str))
    return (None if nameless or in_memory else encoder), options
