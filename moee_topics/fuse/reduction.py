"""Vectors of a large corpus by their principal components: learnt from a stream, and applied to anything later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from moee_topics.errors import InputError
from moee_topics.fuse.blocks import Matrix

LARGE_DIMENSIONS = 100
"""Of the vectors of a large corpus, where a recipe does not say it."""


@dataclass(frozen=True)
class ReduceSettings:
    """Whether vectors are reduced before UMAP sees them.

    Attributes:
        dimensions: to so many numbers, by principal components; "auto" is 100 in a large corpus (``large.documents``)
            and none in others, null leaves the vectors as the fusion made them.
    """

    dimensions: Annotated[int, Field(ge=2)] | Literal["auto"] | None = "auto"


@dataclass(frozen=True)
class Reduction:
    """The principal components of a corpus; fitted once, so that a reduced vector depends on its document alone.

    Attributes:
        mean: (D,) of the corpus, float32.
        components: (d, D) the directions in which it varies most, of length one, float32.
        kept: the share of the variance that lies in them, 0 to 1.
    """

    mean: Matrix
    components: Matrix
    kept: float

    @classmethod
    def fit(cls, parts: Iterable[Matrix], dimensions: int) -> Reduction:
        """Learns from a stream of vectors, whose order and cut change no more than the last digits.

        The covariance (D, D) is added up in float64, which at 3,072 numbers takes 75 MB however long the stream is,
        and is exact where incremental methods approximate (``benchmarks/scale.py`` has both).

        Args:
            parts: (n, D) vectors each.
            dimensions: components to keep; fewer where the vectors have fewer numbers.

        Raises:
            InputError: there are no vectors.
        """
        from scipy.linalg import eigh

        count, origin, total, products = 0, np.zeros(0, np.float32), np.zeros(0), np.zeros((0, 0))
        for part in parts:
            if not count:
                width = part.shape[1]
                # Near the mean, so that the products are not differences of large numbers.
                origin, total, products = part.mean(axis=0), np.zeros(width), np.zeros((width, width))
            shifted = part - origin
            total += shifted.sum(axis=0, dtype=np.float64)
            products += shifted.T @ shifted  # of one block in float32, which is twice as fast; of all in float64
            count += len(part)
        if not count:
            raise InputError("There are no documents to reduce.")
        shift = total / count
        covariance = products / count - np.outer(shift, shift)
        width = len(covariance)
        values, vectors = eigh(covariance, subset_by_index=(max(0, width - dimensions), width - 1))
        components = vectors.T[::-1]
        # An eigenvector has no sign of its own: its largest number is positive, whatever the library gave.
        largest = np.abs(components).argmax(axis=1)
        components = components * np.sign(components[np.arange(len(components)), largest])[:, None]
        kept = float(values.clip(min=0).sum() / max(np.trace(covariance), np.finfo(float).tiny))
        return cls((origin + shift).astype(np.float32), components.astype(np.float32, order="C"), kept)

    def transform(self, vectors: Matrix) -> Matrix:
        """(n, d) in float32.

        Raises:
            InputError: the vectors have another width than those it was fitted on.
        """
        if vectors.shape[1] != len(self.mean):
            raise InputError(
                f"Got vectors of {vectors.shape[1]} numbers, and those that the reduction was fitted on have "
                f"{len(self.mean)}. They come from different models."
            )
        # One document at a time gives the bytes that a block gives: a matrix product rounds by its shape.
        return (
            np.stack([self.components @ vector for vector in vectors - self.mean]) if len(vectors) else vectors[:, :0]
        )

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """What was learnt as named arrays, for a safetensors file."""
        kept = np.array(self.kept)
        return {"reduction.mean": self.mean, "reduction.components": self.components, "reduction.kept": kept}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Reduction | None:
        """What :meth:`tensors` gave, None where there is nothing of it.

        Raises:
            KeyError: a part is missing.
            ValueError: the parts do not belong together.
        """
        if "reduction.mean" not in tensors:
            return None
        mean, components = tensors["reduction.mean"], tensors["reduction.components"]
        if mean.ndim != 1 or components.ndim != 2 or components.shape[1] != len(mean):
            raise ValueError("the components of a reduction and its mean are not of one width")
        return cls(mean, components, float(tensors["reduction.kept"]))
