"""Memory of loaded weights on a CPU: each owns its pages, and what was freed goes back to the system."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch
from torch import nn


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


def give_back() -> None:
    """Returns freed memory to the system where the C library would keep it (glibc); elsewhere nothing happens."""
    # glibc keeps freed tensors of up to 32 MB for the next ones: half a gigabyte after OLMoE has been quantized.
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None
