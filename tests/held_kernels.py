"""Products of 8-bit integers by every kernel of a processor: oneDNN reads its limit once, so each limit has a fork.

    python tests/held_kernels.py AVX2 AVX512_CORE_AMX

prints for each limit and each kind of integers whether the self-test passes, and how the products are then.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys

import torch

from moee_topics.encode.quantization import integer_products
from moee_topics.encode.settings import Integer

ROWS, INPUTS, OUTPUTS = 150, 96, 80
PARTS = (slice(0, 1), slice(149, 150), slice(20, 90))


def product_of(kind: Integer) -> dict[str, bool]:
    """Whether a product is that of its integers bit for bit, and whether a row has the same bits in any pack."""
    if not integer_products.is_exact(kind, OUTPUTS, INPUTS):
        return {"passes": False}
    levels, generator = integer_products.LEVELS[kind], torch.Generator().manual_seed(0)
    codes = torch.randint(1, 256, (ROWS, INPUTS), generator=generator, dtype=torch.uint8)
    weight = torch.randint(-levels, levels + 1, (OUTPUTS, INPUTS), generator=generator, dtype=torch.int8)
    matrix = integer_products.IntegerMatrix(weight, torch.full((OUTPUTS,), levels), kind)  # of scale 1
    found = matrix.product(codes)
    sums = (codes.long() - integer_products.ZERO) @ weight.long().T
    alike = all(torch.equal(matrix.product(codes[part]), found[part]) for part in PARTS)
    return {"passes": True, "exact": torch.equal(found, sums.float()), "alike": alike}


def main() -> None:
    for limit in sys.argv[1:]:
        os.environ["ONEDNN_MAX_CPU_ISA"] = limit  # this process itself never multiplies
        with multiprocessing.get_context("fork").Pool(1) as fork:
            kinds = integer_products.KINDS
            found = dict(zip(kinds, fork.map(product_of, kinds), strict=True))
        print(json.dumps({"limit": limit, "found": found}))


if __name__ == "__main__":
    main()
