"""MoEE as an encoder of mteb: encoder and fusion behind mteb's encoder protocol, with a store in between.

Whatever mteb asks for is fused from stored embeddings, so a text is encoded once, however many tasks, methods and
alphas look at it. mteb checks its protocol by structure, so nothing here needs mteb until a similarity or the metadata
is asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from moee_topics.embeddings import Embeddings
from moee_topics.errors import InputError, import_extra
from moee_topics.fuse import Method, Standardizer, combine, fuse, per_batch_standardize, raw_blocks
from moee_topics.store import JSON, EmbeddingStore, content_hash, key_digest

FloatMatrix = NDArray[np.float32]
Standardize = Literal["none", "routing_weights", "both", "reference"]
STANDARDIZE: tuple[Standardize, ...] = ("none", "routing_weights", "both", "reference")
METHOD_NAMES: Mapping[str, Method] = {
    "hs": "hidden_states",
    "hidden_states": "hidden_states",
    "rw": "routing_weights",
    "routing_weights": "routing_weights",
    "concat": "concat",
    "sum": "weighted_sum",
    "weighted_sum": "weighted_sum",
}
"""The paper's names of the four vectors, and ours."""

PAPER_NAMES: Mapping[Method, str] = {
    "hidden_states": "HS",
    "routing_weights": "RW",
    "concat": "concat",
    "weighted_sum": "sum",
}
ROWS = 4096
SHARD = 1024


def find_method(name: str) -> Method:
    """The method of a name, the paper's (HS, RW, concat, sum) or ours, in any case.

    Raises:
        InputError: no such method.
    """
    method = METHOD_NAMES.get(name.strip().lower())
    if method is None:
        raise InputError(f"There is no method {name!r}; there are HS, RW, concat and sum.")
    return method


@dataclass(frozen=True)
class Variant:
    """One way to make a vector of stored embeddings.

    Attributes:
        method: which blocks, and how they are put together.
        alpha: weight of the routing weights in ``weighted_sum``; without meaning for the others.
        standardize: blocks that are brought to zero mean and unit variance with the statistics of a stated corpus,
            fitted once. ``reference`` is the published code's z-score of each batch with its own mean and deviation: a
            vector then depends on its neighbours. It is there to compare with published numbers and for nothing else.
    """

    method: Method
    alpha: float = 1.0
    standardize: Standardize = "none"

    def __post_init__(self) -> None:
        if self.method not in PAPER_NAMES or self.standardize not in STANDARDIZE:
            raise InputError(f"No such variant: method {self.method!r}, standardize {self.standardize!r}.")
        if not self.alpha >= 0:
            raise InputError(f"alpha weighs the routing weights and must be 0 or more, got {self.alpha}.")

    def plain(self) -> Variant:
        """The same vectors, said in one way: what has no effect on the method is set to its default."""
        alpha = self.alpha if self.method == "weighted_sum" else 1.0
        # The published code leaves hidden states as they are, and its sum adds the cosines of the blocks as they are.
        untouched = {"hidden_states": ("routing_weights", "reference"), "weighted_sum": ("reference",)}
        standardize = "none" if self.standardize in untouched.get(self.method, ()) else self.standardize
        if self.method == "routing_weights" and standardize == "both":
            standardize = "routing_weights"
        return replace(self, alpha=alpha, standardize=standardize)

    @property
    def label(self) -> str:
        """A short name for a table, for example ``sum 0.5`` or ``HS z``."""
        plain = self.plain()
        name = PAPER_NAMES[plain.method] + (f" {plain.alpha:g}" if plain.method == "weighted_sum" else "")
        marks = {"none": "", "both": " z", "reference": " batch-z", "routing_weights": " z(RW)"}
        alone = plain.method == "routing_weights" and plain.standardize == "routing_weights"
        return name + (" z" if alone else marks[plain.standardize])


class TextEncoder(Protocol):
    """What scoring needs of an encoder; ``MoEEncoder`` has it."""

    @property
    def spec(self) -> Any:
        """Describes the encoder; its ``key()`` is all that the vectors depend on."""
        ...

    def encode(self, texts: Sequence[str]) -> Embeddings:
        """The embeddings of texts, in their order."""
        ...


@dataclass
class Embedder:
    """Embeddings of texts, each encoded once and then read from the store.

    Attributes:
        load: makes the encoder; called when the first text is missing from the store, and once.
        key: what the vectors depend on; the key of the store.
        root: the folder of the stores, or None to encode every time.
        progress: is told how many of the missing texts are encoded, and how many there are.
        shard: texts that are encoded and written in one go: what an interruption can lose.
        encoded: texts that went to the encoder so far.
    """

    load: Callable[[], TextEncoder]
    key: Mapping[str, JSON]
    root: Path | None = None
    progress: Callable[[int, int], None] | None = None
    shard: int = SHARD
    encoded: int = 0
    _encoder: TextEncoder | None = field(default=None, repr=False)

    @classmethod
    def of(cls, encoder: TextEncoder, root: Path | None = None) -> Embedder:
        """An embedder of an encoder that is already loaded."""
        return cls(load=lambda: encoder, key=encoder.spec.key(), root=root)

    @property
    def encoder(self) -> TextEncoder:
        """The encoder, loaded now if it was not."""
        if self._encoder is None:
            self._encoder = self.load()
        return self._encoder

    def release(self) -> None:
        """Forgets the loaded encoder, so that its memory can go."""
        self._encoder = None

    def ensure(self, texts: Iterable[str]) -> int:
        """Encodes the texts that the store lacks, shard by shard, and returns how many there were."""
        if self.root is None:
            return 0
        unique = {content_hash(text): text for text in texts}
        if not self._missing(unique):
            return 0
        with EmbeddingStore.open(self.root, self.key, writable=True) as store:
            hashes = list(unique)
            missing = [hashes[i] for i in store.missing(hashes)]
            for start in range(0, len(missing), self.shard):
                part = missing[start : start + self.shard]
                store.write(self._encode([unique[h] for h in part]), [h.hex() for h in part], part)
                if self.progress:
                    self.progress(start + len(part), len(missing))
        return len(missing)

    def _missing(self, hashes: Iterable[bytes]) -> bool:
        """Whether something is not stored; looked up without the lock of a writer."""
        if self.root is None or not (self.root / key_digest(self.key)).is_dir():
            return True
        with EmbeddingStore.open(self.root, self.key) as store:
            return bool(store.missing(list(hashes)))

    def blocks(self, texts: Sequence[str], rows: int = ROWS) -> Iterator[Embeddings]:
        """The embeddings of texts in their order, at most ``rows`` at a time."""
        if self.root is None:
            for start in range(0, len(texts), rows):
                yield self._encode(texts[start : start + rows])
            return
        self.ensure(texts)
        with EmbeddingStore.open(self.root, self.key) as store:
            yield from store.read_blocks([content_hash(text) for text in texts], rows)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """The embeddings of texts in their order, all at once."""
        return Embeddings.concatenate(list(self.blocks(texts)))

    def _encode(self, texts: Sequence[str]) -> Embeddings:
        self.encoded += len(texts)
        return self.encoder.encode(list(texts))


def fused(blocks: Iterable[Embeddings], rows: int, variant: Variant, standardizer: Standardizer | None) -> FloatMatrix:
    """The vectors (rows, d) of a variant, filled in block by block."""
    out: FloatMatrix | None = None
    start = 0
    for block in blocks:
        part = fuse(block, variant.method, alpha=variant.alpha, standardizer=standardizer)
        out = np.empty((rows, part.shape[1]), dtype=np.float32) if out is None else out
        out[start : start + len(part)] = part
        start += len(part)
    if out is None:
        raise InputError("There is no text to embed.")
    return out


def reference_vectors(batch: Embeddings, variant: Variant, router: Literal["logits", "softmax"]) -> FloatMatrix:
    """The vectors of one batch as the code published with the paper makes them, (N, d).

    Routing weights, and the concatenation of both blocks, are standardized with the mean and the unbiased deviation of
    the batch itself; hidden states and the sum are not; what is not a number becomes zero. So a batch of one is the
    zero vector. ``router`` is what that code takes for routing weights: the softmax for DeepSeekMoE, raw logits for
    OLMoE and Qwen (tianyi-lab/MoE-Embedding at f80bebd, moee.py, lines 215-273).
    """
    scores = np.asarray(batch.router_logits if router == "logits" else batch.routing_weights, dtype=np.float32)
    taken = Embeddings(batch.hidden_states, batch.router_logits, scores)
    as_they_are = variant.method in ("hidden_states", "weighted_sum")
    blocks = raw_blocks(taken) if as_they_are else per_batch_standardize(taken, max(1, len(taken)))
    return combine(blocks, variant.method, alpha=variant.alpha)


class MTEBEncoder:
    """One variant of MoEE behind mteb's encoder protocol: ``mteb.evaluate(MTEBEncoder(...), tasks)``.

    A text's prompt is the encoder's, whatever the task: mteb's instructions are not used.

    Attributes:
        embedder: where embeddings come from.
        variant: how they become a vector.
        standardizer: its fitted statistics, where the variant standardizes with those of a corpus.
        statistics: names the corpus of these statistics (for ``reference`` the batches), in the folder of a result.
        mteb_model_meta: mteb's card of this variant; no two variants share one, so no two share a cached result.
    """

    def __init__(
        self,
        embedder: Embedder,
        variant: Variant,
        *,
        standardizer: Standardizer | None = None,
        statistics: str = "",
    ) -> None:
        self.embedder, self.variant, self.standardizer = embedder, variant.plain(), standardizer
        self.statistics = statistics
        if self.variant.standardize in ("routing_weights", "both") and standardizer is None:
            raise InputError(f"The variant {variant.label!r} needs a fitted standardizer.")
        if self.variant.standardize in ("none", "reference"):
            self.standardizer = None
        self._meta: Any = None

    @property
    def mteb_model_meta(self) -> Any:
        """The ``ModelMeta`` that mteb asks for, of this variant."""
        if self._meta is None:
            self._meta = model_meta(self.embedder.key, self.variant, self.statistics)
        return self._meta

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> FloatMatrix:
        """The vectors (N, d) of the texts of mteb's batches, in their order."""
        batches = [list(batch["text"]) for batch in inputs]
        if self.variant.standardize == "reference":
            return self._reference(batches)
        return self.vectors([text for batch in batches for text in batch])

    def vectors(self, texts: Sequence[str]) -> FloatMatrix:
        """The vectors (N, d) of texts."""
        return fused(self.embedder.blocks(texts), len(texts), self.variant, self.standardizer)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of all pairs, (N1, N2)."""
        return _similarities().cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of corresponding rows, (N,)."""
        return _similarities().pairwise_cos_sim(embeddings1, embeddings2)

    def _reference(self, batches: Sequence[list[str]]) -> FloatMatrix:
        self.embedder.ensure(text for batch in batches for text in batch)
        router = reference_router(str(self.embedder.key.get("model", "")))
        return np.concatenate([reference_vectors(self.embedder.embed(b), self.variant, router) for b in batches])


def reference_router(model: str) -> Literal["logits", "softmax"]:
    """What the published code takes for routing weights of a model: see :func:`reference_vectors`."""
    return "softmax" if "deepseek" in model.lower() else "logits"


def model_meta(key: Mapping[str, JSON], variant: Variant, statistics: str = "") -> Any:
    """Makes mteb's ``ModelMeta`` for a variant of the encoder with this key.

    Everything that the vector depends on is in the name, the revision or ``experiment_kwargs``, which mteb makes the
    folder of the results from.

    Raises:
        MissingExtraError: mteb is not installed.
    """
    mteb_meta = import_extra("mteb.models.model_meta", "mteb")
    return mteb_meta.ModelMeta.create_empty(
        overwrites={
            "name": _mteb_name(str(key["model"])),
            "revision": str(key.get("revision") or "none"),
            "loader": load_mteb_encoder,
            "languages": ["eng-Latn"],
            "max_tokens": key.get("max_tokens"),
            "framework": ["PyTorch", "Transformers"],
            "similarity_fn_name": mteb_meta.ScoringFunction.COSINE,
            "use_instructions": False,
            "reference": "https://arxiv.org/abs/2410.10814",
            "experiment_kwargs": _experiment(key, variant, statistics),
        }
    )


def _mteb_name(model: str) -> str:
    return model if model.count("/") == 1 else f"moee-topics/{model.replace('/', '-')}"


def _experiment(key: Mapping[str, JSON], variant: Variant, statistics: str) -> dict[str, str | float]:
    variant = variant.plain()
    digest = hashlib.blake2b(json.dumps(dict(key), sort_keys=True).encode(), digest_size=4).hexdigest()
    named: dict[str, str | float] = {"method": variant.method, "spec": digest}
    if variant.method == "weighted_sum":
        named["alpha"] = variant.alpha
    if variant.standardize != "none":
        named |= {"standardize": variant.standardize, "statistics": statistics or "unnamed"}
    return named


def load_mteb_encoder(
    model_name: str,
    revision: str | None = None,
    *,
    device: str | None = None,
    method: str = "sum",
    alpha: float = 1.0,
    root: Path | None = None,
    **options: Any,
) -> MTEBEncoder:
    """Loads a model and puts one of its variants behind mteb's protocol; ``options`` go to the encoder.

    Example: ``mteb.evaluate(load_mteb_encoder("allenai/OLMoE-1B-7B-0924", quantize="nf4"), mteb.get_tasks(["STS12"]))``
    """
    # Loading a model is the other half of the house: torch comes in only here.
    from moee_topics.encode import MoEEncoder

    encoder = MoEEncoder.from_pretrained(model_name, revision=revision, device=device, **options)
    return MTEBEncoder(Embedder.of(encoder, root), Variant(find_method(method), alpha))


def _similarities() -> Any:
    return import_extra("mteb.similarity_functions", "mteb")
