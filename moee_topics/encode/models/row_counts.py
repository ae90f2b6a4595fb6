"""How many rows a product on a CPU is given: as few as are rounded like many.

The kernels of a product depend on its number of rows, and with them the order in which a row is added up. Rows are
therefore filled up to numbers whose kernels add alike, so that a vector does not depend on what else is in its pack.
Which numbers these are is measured once for each shape of a weight, and beyond what is measured multiples are taken.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from moee_topics.encode.quantization import integer_products

STEPS = (64, 96)
"""Rows are multiples of the first of these whose multiples round alike. MKL goes through a product of fewer than 56
columns by twelve rows on a processor with AVX2 alone, and of 64 or 128 rows it rounds some otherwise than others."""
# oneDNN keeps a compiled kernel for each number of rows: with every number, the full OLMoE grows by 5 GB in use. With
# three significant bits there are a few dozen, and at most a quarter of a row is filler.
CANDIDATES = sorted(
    {-(-rows // step) * step for rows in range(1, 257) for step in [2 ** (rows - 1).bit_length() // 8 or 1]}
)
"""Numbers of rows that are tried; above them multiples of a step fill little more than a quarter."""
LARGE = (384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
"""Multiples of a step or both, up to a pack, by which all larger ones are judged."""
MOST_MULTIPLICATIONS = 2**28
"""Of one product of so many rows: a hundredth of a second where float32 is slow. Those of few columns, where large
numbers were found to differ (benchmarks/LOG.md), are measured up to a pack."""


@dataclass(frozen=True)
class RowCounts:
    """The numbers of rows that products are given: multiples of one, and others that round like these.

    Attributes:
        alike: the others, in their order.
        step: what the larger numbers are multiples of.
    """

    alike: tuple[int, ...] = ()
    step: int = STEPS[0]

    def filled(self, rows: int) -> int:
        """The least number of rows that holds so many."""
        multiple = -(-rows // self.step) * self.step
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
    """The numbers of rows for which all of these products round alike, with as many threads as there are now.

    Where no multiples do, as in bfloat16 by AMX, those of 64 are taken, and large packs round otherwise.
    """
    found = [_roundings(product, torch.get_num_threads()) for product in set(products)]
    step = next((step for step in STEPS if all(_are_alike(roundings, step) for roundings in found)), STEPS[0])
    alike = (rows for rows in CANDIDATES if all(some[rows] == some[step] is not None for some in found))
    return RowCounts(tuple(alike) if found else (), step)


def _are_alike(roundings: Mapping[int, bytes | None], step: int) -> bool:
    of_multiples = {rounding for rows, rounding in roundings.items() if rows % step == 0}
    return len(of_multiples) == 1 and None not in of_multiples


def dense_products(model: Any, dtype: torch.dtype) -> Iterator[Product]:
    """The products with all tokens of a pack that the linear layers and routers of a model make."""
    for module in model.modules():
        if integer_products.packed(module):
            continue  # sums of integers are the same in every order
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
def _roundings(product: Product, _threads: int) -> dict[int, bytes | None]:
    """Number of rows -> the bits that a row of a product with so many has, None where it depends on its place."""
    row, weight, bias = _mirrored(product)
    most = MOST_MULTIPLICATIONS // (product.columns * product.inner)
    roundings = dict[int, bytes | None]()
    with torch.inference_mode():
        for rows in [*CANDIDATES, *(rows for rows in LARGE if rows <= most)]:
            output = _multiply(product, row.repeat(rows, 1), weight, bias)
            is_uniform = bool((output == output[0]).all())
            roundings[rows] = output[0].view(torch.uint8).numpy().tobytes() if is_uniform else None
    return roundings


def _multiply(product: Product, states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return states @ weight if product.transposed else functional.linear(states, weight, bias)


def _mirrored(product: Product) -> tuple[Tensor, Tensor, Tensor | None]:
    """A row of states and a weight whose product is 0, so that what comes out is rounding alone."""
    # Of random numbers another order shows in one of thousands of bfloat16 results, of these in nearly every one.
    generator, half = torch.Generator().manual_seed(0), product.inner // 2
    # A model may be in the making, on the device "meta".
    order = torch.randperm(product.inner, generator=generator, device="cpu")

    def random(rows: int, sign: int) -> Tensor:
        some = torch.randn(rows, half, generator=generator, device="cpu")
        rest = some.new_zeros(rows, product.inner - 2 * half)
        return torch.cat([some, sign * some, rest], dim=1)[:, order].to(product.dtype)

    row, weight = random(1, 1), random(product.columns, -1)
    bias = weight.new_zeros(product.columns) if product.biased else None
    return row, weight.T.contiguous() if product.transposed else weight, bias
