"""How many rows a product on a CPU is given: as few as are rounded like many.

The kernels of a product depend on its number of rows, and with them the order in which a row is added up. Rows are
therefore filled up to numbers whose kernels add alike, so that a vector does not depend on what else is in its pack.
Multiples of 64 are taken on trust; which smaller numbers do as well is measured once for each shape of a weight.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

MULTIPLE = 64
# oneDNN keeps a compiled kernel for each number of rows: with every number, the full OLMoE grows by 5 GB in use. With
# three significant bits there are a few dozen, and at most a quarter of a row is filler.
CANDIDATES = sorted(
    {-(-rows // step) * step for rows in range(1, 257) for step in [2 ** (rows - 1).bit_length() // 8 or 1]}
)
"""Numbers of rows that are tried; above them multiples of 64 fill less than a quarter."""


@dataclass(frozen=True)
class RowCounts:
    """The numbers of rows that products are given: multiples of 64, and others that round like these.

    Attributes:
        alike: the others, in their order.
    """

    alike: tuple[int, ...] = ()

    def filled(self, rows: int) -> int:
        """The least number of rows that holds so many."""
        multiple = -(-rows // MULTIPLE) * MULTIPLE
        place = bisect_left(self.alike, rows)
        return min([multiple, *self.alike[place : place + 1]])


MULTIPLES = RowCounts()
"""Of 64 alone, which need no measuring."""


class Product(NamedTuple):
    """What a kernel is chosen by, beside the number of rows."""

    columns: int
    inner: int
    dtype: torch.dtype
    transposed: bool = False
    biased: bool = False


def counts_for(products: Iterable[Product]) -> RowCounts:
    """The numbers of rows for which all of these products round alike, with as many threads as there are now."""
    found = [_alike(product, torch.get_num_threads()) for product in set(products)]
    return RowCounts(tuple(sorted(frozenset.intersection(*found))) if found else ())


def dense_products(model: Any, dtype: torch.dtype) -> Iterator[Product]:
    """The products with all tokens of a pack that the linear layers and routers of a model make."""
    for module in model.modules():
        if hasattr(module, "out_features"):
            yield Product(module.out_features, module.in_features, dtype, biased=module.bias is not None)
        elif not isinstance(module, nn.Embedding):
            for weight in module.parameters(recurse=False):
                if weight.dim() == 2 and weight.is_floating_point():
                    columns, inner = weight.shape
                    yield Product(columns, inner, dtype)
                    # In which many routers compute, whatever the rest of the model does.
                    yield Product(columns, inner, torch.float32)


@cache
def _alike(product: Product, _threads: int) -> frozenset[int]:
    """Candidates whose rows have the bits that they have among 64."""
    states, weight, bias = _mirrored(product)
    expected = torch.cat([_multiply(product, part, weight, bias) for part in torch.split(states, MULTIPLE)])
    return frozenset(
        rows for rows in CANDIDATES if torch.equal(_multiply(product, states[:rows], weight, bias), expected[:rows])
    )


def _multiply(product: Product, states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return states @ weight if product.transposed else functional.linear(states, weight, bias)


def _mirrored(product: Product) -> tuple[Tensor, Tensor, Tensor | None]:
    """States and a weight whose product is 0, so that what comes out is rounding alone."""
    # Of random numbers another order shows in one of thousands of bfloat16 results, of these in nearly every one.
    generator, half = torch.Generator().manual_seed(0), product.inner // 2
    # A model may be in the making, on the device "meta".
    order = torch.randperm(product.inner, generator=generator, device="cpu")

    def random(rows: int, sign: int) -> Tensor:
        some = torch.randn(rows, half, generator=generator, device="cpu")
        rest = some.new_zeros(rows, product.inner - 2 * half)
        return torch.cat([some, sign * some, rest], dim=1)[:, order].to(product.dtype)

    states, weight = random(CANDIDATES[-1], 1), random(product.columns, -1)
    bias = weight.new_zeros(product.columns) if product.biased else None
    return states, weight.T.contiguous() if product.transposed else weight, bias
