"""One pass over a row does what several steps of torch do, and no row sees another."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from moee_topics.encode.kernels import row_kernels


def states(rows: int = 5, columns: int = 67) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, columns, generator=generator) * torch.logspace(-3, 3, rows)[:, None]


def rounded(values: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    codes, scales = np.empty(values.shape, np.uint8), np.empty(len(values), np.float32)
    row_kernels.round_float32(values.numpy(), codes, scales)
    return codes, scales


def test_a_row_is_rounded_to_the_nearest_of_255_levels_of_its_own() -> None:
    values = states()
    values[3] = 0
    codes, scales = rounded(values)
    largest = values.abs().amax(dim=1).numpy()
    np.testing.assert_array_equal(scales, largest / np.float32(127))
    assert (
        np.abs((codes.astype(float) - 128) * scales[:, None] - values.numpy()).max(axis=1).max() <= largest.max() / 253
    )
    assert (codes[3] == 128).all()
    assert all(1 in row or 255 in row for row in codes[[0, 1, 2, 4]])


def test_bfloat16_is_rounded_as_the_float32_of_the_same_value() -> None:
    values = states().bfloat16()
    codes, scales = np.empty(values.shape, np.uint8), np.empty(len(values), np.float32)
    row_kernels.round_bfloat16(values.view(torch.uint16).numpy(), codes, scales)
    for ours, plain in zip((codes, scales), rounded(values.float()), strict=True):
        np.testing.assert_array_equal(ours, plain)


def test_a_row_that_is_not_finite_spoils_itself_alone() -> None:
    values = states()
    values[1, 3], values[2, 4] = torch.nan, -torch.inf
    codes, scales = rounded(values)
    assert np.isnan(scales[1]) and np.isinf(scales[2])
    np.testing.assert_array_equal(codes[[0, 3, 4]], rounded(states())[0][[0, 3, 4]])


def test_a_gate_is_applied_and_rounded_as_in_torch() -> None:
    product, row_scales = torch.cat([states(), states().flip(1)], dim=1), torch.linspace(0.1, 2.0, 5)
    codes, scales = np.empty((5, 67), np.uint8), np.empty(5, np.float32)
    row_kernels.silu_and_round(product.numpy(), row_scales.numpy(), codes, scales)
    gate, up = (product * row_scales[:, None]).chunk(2, dim=1)
    plain = (functional.silu(gate) * up).numpy()
    steps = np.abs((codes.astype(float) - 128) - plain / scales[:, None])
    assert steps.max() < 0.501  # half a step, and the error of the sigmoid


def test_rows_are_scaled_and_added_where_their_tokens_lie() -> None:
    product, scales, tokens = states(), torch.linspace(0.5, 1.5, 3), np.array([4, 0, 2])
    total = np.ones((5, 67), np.float32)
    row_kernels.add_scaled(product.numpy(), scales.numpy(), tokens, total)
    plain = np.ones((5, 67), np.float32)
    plain[tokens] += product[:3].numpy() * scales[:, None].numpy()
    np.testing.assert_allclose(total, plain, rtol=1e-6)


def test_bfloat16_is_the_nearest_even_as_in_torch() -> None:
    product, scales = states(), torch.linspace(0.5, 1.5, 5)
    product[0, 0], product[1, 1] = torch.nan, torch.inf
    output = torch.empty(5, 67, dtype=torch.bfloat16)
    row_kernels.scale_to_bfloat16(product.numpy(), scales.numpy(), output.view(torch.uint16).numpy())
    torch.testing.assert_close(output, (product * scales[:, None]).bfloat16(), rtol=0, atol=0, equal_nan=True)


def test_a_kernel_on_disk_is_used_until_one_in_another_file_that_it_calls_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # Python too tells a changed file by its second and size
    kernels = Path(row_kernels.__file__).read_text(encoding="utf-8")

    def twice(step: int) -> Any:
        """A kernel that calls another, which adds so much, from the files as they are then."""
        (tmp_path / "its_row_kernels.py").write_text(f"{kernels}\n@compiled\ndef step(x):\n    return x + {step}\n")
        for name in ("its_row_kernels", "its_other_kernels"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("its_other_kernels").twice

    (tmp_path / "its_other_kernels.py").write_text(
        "from its_row_kernels import compiled, step\n\n@compiled\ndef twice(x):\n    return step(step(x))\n"
    )
    first, again, changed = twice(1), twice(1), twice(2)
    assert (first(0), again(0), changed(0)) == (2, 2, 4)
    assert again.stats.cache_hits and not changed.stats.cache_hits
