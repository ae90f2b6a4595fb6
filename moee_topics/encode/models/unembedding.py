"""The directions in which a model's states become tokens: singular vectors of its unembedding."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor
from transformers.utils import cached_file

from moee_topics.encode.settings import resolve

HEAD = "lm_head.weight"
_ROWS = 4096  # of the vocabulary at a time: the head of OLMoE in float64 would be 0.8 GB


def unembedding_directions(model: Any, name_or_path: str | Path, revision: str | None = None) -> NDArray[np.float32]:
    """The right singular vectors of a model's unembedding, (D, D) as rows, the largest singular value first.

    Args:
        model: the base model, which has no head; its input embeddings serve where the checkpoint has none either, as
            where both are one matrix.
        name_or_path: where its checkpoint is.
        revision: a commit, branch or tag of a hub model.
    """
    size = model.get_input_embeddings().embedding_dim
    gram = torch.zeros(size, size, dtype=torch.float64)
    for rows in _head(name_or_path, revision) or _input_embeddings(model):
        gram += rows.double().T @ rows.double()
    # Eigenvectors of W'W are the right singular vectors of W, at the price of (D, D) and not of the vocabulary.
    _, directions = torch.linalg.eigh(gram)
    return np.ascontiguousarray(directions.T.flip(0).float().numpy())


def _head(name_or_path: str | Path, revision: str | None) -> Iterator[Tensor] | None:
    """The rows of the head in a checkpoint of safetensors, read from its file; None where there is none."""
    missing_is_fine: Any = {"_raise_exceptions_for_missing_entries": False, "revision": revision}
    place = str(resolve(name_or_path))
    index = cached_file(place, "model.safetensors.index.json", **missing_is_fine)
    shards = json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"] if index else {}
    file = cached_file(place, shards.get(HEAD, "model.safetensors"), **missing_is_fine)
    if file is None:
        return None
    with safe_open(file, framework="pt") as weights:
        names = set(weights.keys())
    return _rows_of(file) if HEAD in names else None


def _rows_of(file: str) -> Iterator[Tensor]:
    with safe_open(file, framework="pt") as weights:
        head = weights.get_slice(HEAD)
        for start in range(0, head.get_shape()[0], _ROWS):
            yield head[start : start + _ROWS]


def _input_embeddings(model: Any) -> Iterator[Tensor]:
    """Looked up and not read, since a quantized embedding has no plain weight."""
    embeddings = model.get_input_embeddings()
    tokens = torch.arange(embeddings.num_embeddings, device=model.device)
    with torch.inference_mode():
        for start in range(0, len(tokens), _ROWS):
            yield embeddings(tokens[start : start + _ROWS]).cpu()
