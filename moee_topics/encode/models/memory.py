"""Memory: each weight owns its pages, what loading freed goes back, what a pass freed serves the next one.

And how a GPU is sent what a pass needs.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor, nn


def own_memory(model: nn.Module) -> None:
    """Copies every weight and buffer that still lies in the mapped file."""
    # One such tensor keeps the pages of its whole shard in memory: the router biases of the embedded model, 3 kB, kept
    # the 75 MB of its files.
    for parameter in model.parameters():
        if type(parameter) is nn.Parameter and parameter.device.type == "cpu":
            parameter.data = parameter.data.clone()
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if type(buffer) is torch.Tensor and buffer.device.type == "cpu":
                # A view, as transformers 5.23 makes of it, holds what it was a view of whatever its data is set to.
                module._buffers[name] = buffer.clone()


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the processor on a device, without waiting for what the device still computes."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)  # from other memory the copy waits


KEPT = 256 << 20
"""Bytes freed by a pass that are kept for the next one."""

LARGEST_KEPT = 128 << 20
"""Bytes of the largest tensor among them: in float32 the states of 8,192 tokens of 2,048 numbers take half of it."""

# Of mallopt(3), in malloc.h of glibc.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def give_back() -> None:
    """Returns freed memory to the system where the C library would keep it (glibc); elsewhere nothing happens."""
    # glibc keeps freed tensors of up to 32 MB for the next ones: half a gigabyte after OLMoE has been quantized.
    trim = _of_c_library("malloc_trim")
    if trim is not None:
        trim(0)


def keep_for_next_pass() -> None:
    """Lets glibc keep what a pass frees, up to ``KEPT``; elsewhere nothing happens."""
    # By default it gives a state of 2 MB back and takes it anew with the next operator, every page of it at a fault:
    # 290,000 faults in 4,000 tokens of the embedded model, a sixth of the time.
    tune = _of_c_library("mallopt")
    if tune is not None:
        tune(_M_MMAP_THRESHOLD, LARGEST_KEPT)
        tune(_M_TRIM_THRESHOLD, KEPT)


def _of_c_library(name: str) -> Any:
    """A function of glibc; None where there is another C library."""
    try:
        return getattr(ctypes.CDLL("libc.so.6"), name)
    except (OSError, AttributeError):
        return None
