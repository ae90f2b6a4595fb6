"""The embedding model of any BERTopic: a mixture-of-experts encoder and a fusion behind BERTopic's own interface.

::

    from bertopic import BERTopic
    from moee_topics.topics.backend import MoEEBackend

    BERTopic(embedding_model=MoEEBackend("pocket")).fit_transform(documents)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeGuard

import numpy as np
from bertopic.backend import BaseEmbedder
from numpy.typing import NDArray

from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError, ModelError
from moee_topics.fuse import Method, Standardizer, fuse
from moee_topics.store import EmbeddingStore, content_hash

Matrix = NDArray[np.float32]

WORD_CHARACTERS = 64
"""Texts up to this length count as words or phrases and are kept in memory once they are embedded."""
MOST_WORDS = 200_000
DOCUMENTS_PER_SHARD = 2048


class Encoder(Protocol):
    """What a backend needs of an encoder; ``MoEEncoder`` is one."""

    def encode(self, texts: Iterable[str]) -> Embeddings:
        """Embeddings of the texts in their order."""


class MoEEBackend(BaseEmbedder):  # type: ignore[misc]
    """Embeds documents, words and single strings for BERTopic, all with the same prompt.

    The vector of a text depends on that text alone, so documents that come later, and words, lie in the space of the
    documents of the fit. Nothing is learned from what is embedded: a standardizer is fitted beforehand, by
    :meth:`fit_standardizer` or by whoever passes one, and must be passed again where a saved model is loaded.

    Args:
        encoder: a ``MoEEncoder``, the name or path of a model ("pocket" is the one this package carries), or a function
            without arguments that loads an encoder. A name or function loads only when a text must be encoded.
        method: see :func:`moee_topics.fuse.fusion.fuse`.
        alpha: weight of the routing weights in "weighted_sum".
        standardizer: applied to the blocks first.
        store: embeddings of this encoder on disk. Texts in it are not encoded again, and if it is open for writing,
            new texts, words included, are added to it.
        encoder_options: keyword arguments of ``MoEEncoder.from_pretrained``, for a name or path.
    """

    def __init__(
        self,
        encoder: Encoder | str | Callable[[], Encoder] = "pocket",
        method: Method = "weighted_sum",
        alpha: float = 0.5,
        standardizer: Standardizer | None = None,
        store: EmbeddingStore | None = None,
        **encoder_options: Any,
    ) -> None:
        super().__init__()
        self.method: Method = method
        self.alpha = alpha
        self.standardizer = standardizer
        self.store = store
        self._source: Any = encoder
        self._options = encoder_options
        self._encoder: Encoder | None = encoder if _is_encoder(encoder) else None
        self._words: dict[str, Matrix] = {}
        if encoder_options and not isinstance(encoder, str):
            raise InputError(
                f"{sorted(encoder_options)} are options of loading a model by name; pass its name instead."
            )

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded if it is not in memory.

        Raises:
            ModelError: it was released and cannot be made again, because an encoder itself was passed.
        """
        if self._encoder is None:
            self._encoder = self._load()
        return self._encoder

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._encoder is not None

    def release(self) -> None:
        """Lets the model's memory go; the next text that must be encoded loads it again."""
        self._source, self._options = _reloadable(self._source, self._options, here=True)
        self._encoder = None

    def embed(self, documents: Sequence[str] | str, verbose: bool = False) -> Matrix:
        """(n, d) vectors of texts, documents or words alike, in their order.

        Args:
            documents: n texts; a single string is one.
            verbose: part of BERTopic's interface; the encoder shows no progress of its own.

        Raises:
            InputError: there are no texts, or one is not a string.
        """
        texts = [documents] if isinstance(documents, str) else list(documents)
        if not texts:
            raise InputError("There is nothing to embed: got an empty list of texts.")
        unique = list(dict.fromkeys(texts))
        self._remember([text for text in unique if _is_word(text) and text not in self._words])
        long = [text for text in unique if text not in self._words]
        known = dict(zip(long, self._fused(long), strict=True)) if long else {}
        return np.stack([known[text] if text in known else self._words[text] for text in texts])

    def fit_standardizer(self, documents: Iterable[str]) -> MoEEBackend:
        """Learns the statistics of a corpus and standardizes both blocks from now on; returns the backend itself.

        Without a store the documents are encoded here and once more when they are embedded.
        """
        self.standardizer = Standardizer.fit(self._blocks(documents))
        self._words.clear()
        return self

    def _blocks(self, documents: Iterable[str]) -> Iterator[Embeddings]:
        texts = list(documents)
        for at in range(0, len(texts), DOCUMENTS_PER_SHARD):
            yield self._raw(texts[at : at + DOCUMENTS_PER_SHARD])

    def _remember(self, words: list[str]) -> None:
        """Keeps the vectors of words, which BERTopic asks for again with every change of a topic."""
        if not words:
            return
        if len(self._words) + len(words) > MOST_WORDS:
            self._words.clear()
        words = sorted(words)
        self._words.update(zip(words, self._fused(words), strict=True))

    def _fused(self, texts: list[str]) -> Matrix:
        return np.concatenate([self._fuse(block) for block in self._blocks(texts)])

    def _fuse(self, embeddings: Embeddings) -> Matrix:
        return fuse(embeddings, self.method, alpha=self.alpha, standardizer=self.standardizer)

    def _raw(self, texts: list[str]) -> Embeddings:
        """Embeddings of texts from the store where it has them, through the encoder where not."""
        if self.store is None:
            return self.encoder.encode(texts)
        hashes = [content_hash(text) for text in texts]
        missing = list({hashes[row]: row for row in self.store.missing(hashes)}.values())
        if not missing:
            return self.store.read(hashes)
        new_texts, new = [texts[row] for row in missing], [hashes[row] for row in missing]
        fresh = self.encoder.encode(new_texts)
        if self.store.writable:
            self.store.write(fresh, new_texts, new)
            return self.store.read(hashes)
        return _join(self.store, hashes, new, fresh)

    def _load(self) -> Encoder:
        if isinstance(self._source, str):
            from moee_topics.encode import MoEEncoder

            return MoEEncoder.from_pretrained(self._source, **self._options)
        if callable(self._source):
            encoder: Encoder = self._source()
            return encoder
        raise ModelError(
            "The encoder is gone: it was released or not saved with the backend. Make the backend from a model's name "
            "or from a function, which can load it again."
        )

    def __getstate__(self) -> dict[str, Any]:
        """Without weights, open store and memory of words; a copy loads its encoder again where it knows how."""
        source, options = _reloadable(self._source, self._options)
        lost: dict[str, Any] = {"_encoder": None, "store": None, "_words": {}}
        return {**self.__dict__, **lost, "_source": source, "_options": options}

    def __deepcopy__(self, memo: dict[int, Any]) -> MoEEBackend:
        """The backend itself: copies of a topic model share one model in memory."""
        return self


def _is_encoder(source: object) -> TypeGuard[Encoder]:
    return hasattr(source, "encode") and not isinstance(source, str)


def _reloadable(source: Any, options: dict[str, Any], *, here: bool = False) -> tuple[Any, dict[str, Any]]:
    """The name or function that makes an encoder again, ``here`` or in another process; None where there is none."""
    spec = getattr(source, "spec", None)
    if spec is not None and spec.model != "folder":
        names = ("revision", "quantize", "dtype", "prompt", "pooling", "max_tokens", "long_documents")
        return spec.model, {name: getattr(spec, name) for name in names}
    local = not here and "<" in getattr(source, "__qualname__", "")
    return (None if local or _is_encoder(source) else source), options


def _is_word(text: str) -> bool:
    return len(text) <= WORD_CHARACTERS


def _join(store: EmbeddingStore, hashes: Sequence[bytes], new: Sequence[bytes], fresh: Embeddings) -> Embeddings:
    """Stored and fresh embeddings in the order of the hashes, the fresh ones rounded as the store would."""
    known = [content for content in dict.fromkeys(hashes) if content not in set(new)]
    halves = _halved(fresh)
    rows = {content: row for row, content in enumerate([*new, *known])}
    both = Embeddings.concatenate([halves, store.read(known)]) if known else halves
    return both[[rows[content] for content in hashes]]


def _halved(embeddings: Embeddings) -> Embeddings:
    weights = embeddings.mean_routing_weights
    return Embeddings(
        embeddings.hidden_states.astype(np.float16),
        embeddings.router_logits.astype(np.float16),
        None if weights is None else weights.astype(np.float16),
    )
