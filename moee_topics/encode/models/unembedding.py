"""The directions in which a model's states become tokens: singular vectors of its unembedding."""

from __future__ import annotations

import copy
import json
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.utils import cached_file

from moee_topics.encode.models.loading import quiet
from moee_topics.encode.settings import resolve

HEAD = "lm_head.weight"
"""What most families call it."""
_ROWS = 4096  # of the vocabulary at a time: the head of OLMoE in float64 would be 0.8 GB


def unembedding_directions(model: Any, name_or_path: str | Path, revision: str | None = None) -> NDArray[np.float32]:
    """The right singular vectors of a model's unembedding, (D, D) as rows, the largest singular value first.

    Args:
        model: the base model, which has no head; its input embeddings serve where both are one matrix. Where the
            checkpoint holds no head though they are two, they serve too, and a warning says so.
        name_or_path: where its checkpoint is.
        revision: a commit, branch or tag of a hub model.
    """
    size = model.get_input_embeddings().embedding_dim
    gram = torch.zeros(size, size, dtype=torch.float64)
    for rows in _head(model.config, name_or_path, revision) or _input_embeddings(model):
        gram += rows.double().T @ rows.double()
    # Eigenvectors of W'W are the right singular vectors of W, at the price of (D, D) and not of the vocabulary.
    _, directions = torch.linalg.eigh(gram)
    return np.ascontiguousarray(directions.T.flip(0).float().numpy())


def head_name(config: Any) -> str:
    """What the weight of a model's head is called, by the class of transformers that has one."""
    if type(config) not in AutoModelForCausalLM._model_mapping:  # a native class of this package
        return HEAD
    with torch.device("meta"), quiet():
        model = AutoModelForCausalLM.from_config(copy.deepcopy(config))
    head = model.get_output_embeddings()
    return next((name for name, weight in model.named_parameters() if head and weight is head.weight), HEAD)


def _head(config: Any, name_or_path: str | Path, revision: str | None) -> Iterator[Tensor] | None:
    """The rows of the head in a checkpoint of safetensors, read from its file; None where the embeddings stand in."""
    if config.get_text_config().tie_word_embeddings:
        return None
    head = head_name(config)
    for file, names in _files(str(resolve(name_or_path)), revision):
        # A model of text and images has its decoder's names under another one.
        if found := next((name for name in names if f".{name}".endswith(f".{head}")), None):
            return _rows_of(file(), found)
    warnings.warn(
        f"The checkpoint {str(name_or_path)!r} holds no head ({head}), and does not say that it is the embeddings of "
        "the tokens (tie_word_embeddings). The filter embed_filter takes these in its place.",
        stacklevel=2,
    )
    return None


def _files(place: str, revision: str | None) -> Iterator[tuple[Callable[[], str], list[str]]]:
    """The files of a checkpoint, fetched when they are asked for, each with the names of its weights."""
    missing_is_fine: Any = {"_raise_exceptions_for_missing_entries": False, "revision": revision}
    if index := cached_file(place, "model.safetensors.index.json", **missing_is_fine):
        names = defaultdict[str, list[str]](list)
        for name, file in json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].items():
            names[file].append(name)
        for file, of_file in names.items():
            yield partial(cached_file, place, file, revision=revision), of_file
    elif whole := cached_file(place, "model.safetensors", **missing_is_fine):
        with safe_open(whole, framework="pt") as weights:
            yield partial(str, whole), list(weights.keys())


def _rows_of(file: str, head_of_file: str) -> Iterator[Tensor]:
    with safe_open(file, framework="pt") as weights:
        head = weights.get_slice(head_of_file)
        for start in range(0, head.get_shape()[0], _ROWS):
            yield head[start : start + _ROWS]


def _input_embeddings(model: Any) -> Iterator[Tensor]:
    """Looked up and not read, since a quantized embedding has no plain weight."""
    embeddings = model.get_input_embeddings()
    tokens = torch.arange(embeddings.num_embeddings, device=model.device)
    with torch.inference_mode():
        for start in range(0, len(tokens), _ROWS):
            yield embeddings(tokens[start : start + _ROWS]).cpu()
