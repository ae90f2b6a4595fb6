"""MoEE as an encoder of mteb: encoder and fusion behind mteb's encoder protocol, with a store in between.

Whatever mteb asks for is fused from stored embeddings, so a text is encoded once, however many tasks, methods and
alphas look at it. mteb checks its protocol by structure, so nothing here needs mteb until a similarity or the metadata
is asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from moee_topics.embed import Embedder
from moee_topics.encode import EncoderOptions, options_of
from moee_topics.errors import InputError, import_extra
from moee_topics.fuse import RAW, BatchFusion, Fusion, checked_fusion, find_method, fuse_all
from moee_topics.store import JSON

FloatMatrix = NDArray[np.float32]
AnyFusion = Fusion | BatchFusion


def reference_router(model: str) -> Literal["logits", "softmax"]:
    """What the published code takes for routing weights of a model: see :class:`moee_topics.fuse.BatchFusion`."""
    return "softmax" if "deepseek" in model.lower() else "logits"


class MTEBEncoder:
    """One fusion of MoEE behind mteb's encoder protocol: ``mteb.evaluate(MTEBEncoder(...), tasks)``.

    A text's prompt is the encoder's, whatever the task: mteb's instructions are not used.

    Attributes:
        embedder: where embeddings come from.
        fusion: how they become a vector; a :class:`Fusion` that learns from a corpus must be fitted.
        statistics: names the corpus of its statistics, in the folder of a result.
        mteb_model_meta: mteb's card of this fusion; no two fusions share one, so no two share a cached result.

    Raises:
        InputError: the fusion needs statistics that it has not learnt.
    """

    def __init__(self, embedder: Embedder, fusion: AnyFusion, *, statistics: str = "") -> None:
        self.embedder, self.statistics = embedder, statistics
        self.fusion = fusion.canonical() if isinstance(fusion, Fusion) else fusion
        if isinstance(self.fusion, Fusion) and self.fusion.needs_fit:
            raise InputError(f"The fusion {fusion.label!r} learns from a corpus. Fit it first.")
        self._meta: Any = None

    @property
    def mteb_model_meta(self) -> Any:
        """The ``ModelMeta`` that mteb asks for, of this fusion."""
        if self._meta is None:
            self._meta = model_meta(self.embedder.key, self.fusion, self.statistics)
        return self._meta

    @mteb_model_meta.setter
    def mteb_model_meta(self, meta: Any) -> None:
        # mteb's load_model puts the card it loaded by in the place of ours.
        self._meta = meta

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
        if kwargs.get("precision", "float32") != "float32":
            # mteb files the result under the precision that was asked for, so it must not be float32 in silence.
            raise InputError(f"Vectors are float32; precision={kwargs['precision']!r} is not made here. Leave it out.")
        batches = [list(batch["text"]) for batch in inputs]
        texts = [text for batch in batches for text in batch]
        if isinstance(self.fusion, Fusion):
            return fuse_all(self.embedder.blocks(texts), self.fusion, len(texts), texts)
        # Whole batches, since this fusion scales a vector by its neighbours; stored in one go before.
        self.embedder.ensure_texts(texts)
        return np.concatenate([self.fusion.transform(self.embedder.embed(batch)) for batch in batches])

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of all pairs, (N1, N2)."""
        return _similarities().cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of corresponding rows, (N,)."""
        return _similarities().pairwise_cos_sim(embeddings1, embeddings2)


def model_meta(key: Mapping[str, JSON], fusion: AnyFusion, statistics: str = "") -> Any:
    """Makes mteb's ``ModelMeta`` for a fusion of the encoder with this key.

    Everything that the vector depends on is in the name, the revision or ``experiment_kwargs``, which mteb makes the
    folder of the results from.

    Raises:
        MissingExtraError: mteb is not installed.
    """
    mteb_meta, model = import_extra("mteb.models.model_meta", "mteb"), str(key["model"])
    digest = hashlib.blake2b(json.dumps(dict(key), sort_keys=True).encode(), digest_size=4).hexdigest()
    experiment: dict[str, str | float] = {"method": fusion.method, "spec": digest}
    if isinstance(fusion, Fusion) and fusion.uses_alpha:
        experiment["alpha"] = fusion.alpha
    standardize = str(fusion.canonical().standardize) if isinstance(fusion, Fusion) else "reference"
    if standardize != "none":
        experiment["standardize"] = standardize
    if isinstance(fusion, Fusion) and fusion.lexical:
        experiment["lexical"] = fusion.lexical
    if isinstance(fusion, Fusion) and fusion.filters:
        experiment["filters"] = "-".join(fusion.filters)
    if experiment.keys() & {"standardize", "lexical", "filters"}:
        experiment["statistics"] = statistics or "unnamed"
    return mteb_meta.ModelMeta.create_empty(
        overwrites={
            # mteb takes owner/name and nothing else; the path of a folder has more slashes, or none.
            "name": model if model.count("/") == 1 else f"moee-topics/{model.replace('/', '-')}",
            "revision": str(key.get("revision") or "none"),
            "loader": loader_of(key),
            "languages": ["eng-Latn"],
            "max_tokens": key.get("max_tokens"),
            "framework": ["PyTorch", "Transformers"],
            "similarity_fn_name": mteb_meta.ScoringFunction.COSINE,
            "use_instructions": False,
            "reference": "https://arxiv.org/abs/2410.10814",
            "experiment_kwargs": experiment,
        }
    )


def loader_of(key: Mapping[str, JSON]) -> Any:
    """What ``ModelMeta.load_model`` calls: makes the encoder of a key again, and the fusion of the metadata."""

    def load(
        model_name: str,
        revision: str | None = None,
        *,
        device: str | None = None,
        **experiment: Any,
    ) -> MTEBEncoder:
        # What the metadata does not say of a fusion is as in RAW.
        if experiment.keys() & {"standardize", "lexical", "filters"}:
            raise InputError(
                "Vectors that are standardized, filtered or weigh words need a corpus to learn from; score them with "
                "a recipe."
            )
        # The revision that mteb hands back is that of the key, which the key says better: of a folder there is none.
        options = options_of(key)
        options["device"] = device
        method, alpha = find_method(experiment.get("method", RAW.method)), experiment.get("alpha", RAW.alpha)
        return load_mteb_encoder(str(key["model"]), fusion=replace(RAW, method=method, alpha=alpha), **options)

    return load


def load_mteb_encoder(
    model_name: str, *, fusion: Fusion = RAW, root: Path | None = None, **options: Unpack[EncoderOptions]
) -> MTEBEncoder:
    """Loads a model and puts a fusion of it behind mteb's protocol; ``options`` are those of ``EncoderSettings``.

    Example: ``mteb.evaluate(load_mteb_encoder("allenai/OLMoE-1B-7B-0924", quantize="nf4"), mteb.get_tasks(["STS12"]))``
    """
    # Loading a model is the other half of the house: torch comes in only here.
    from moee_topics.encode import MoEEncoder

    fusion = checked_fusion(fusion)
    encoder = MoEEncoder.from_pretrained(model_name, **options)
    return MTEBEncoder(Embedder.of(encoder, root), fusion)


def _similarities() -> Any:
    return import_extra("mteb.similarity_functions", "mteb")
