"""Freed memory goes back to the system where the C library would keep it, and nothing breaks where there is no such."""

from __future__ import annotations

import ctypes
import weakref

import pytest
import torch
from torch import nn

from moee_topics.encode.models import memory


def test_where_the_c_library_has_no_such_function_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    memory.give_back()
    memory._trim.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    memory.give_back()
    memory._trim.cache_clear()


def test_weights_and_buffers_leave_the_memory_they_were_a_part_of() -> None:
    """A view holds the whole that it was a part of, here as a buffer of transformers holds a mapped file."""
    whole = torch.arange(1000.0)
    module = nn.Module()
    module.weight = nn.Parameter(whole[:10], requires_grad=False)
    module.buffer = nn.Buffer(whole[10:20])
    gone = weakref.ref(whole)
    memory.own_memory(module)
    del whole

    assert gone() is None, "nothing holds the whole any more"
    assert module.weight.untyped_storage().nbytes() == module.buffer.untyped_storage().nbytes() == 40
    assert module.state_dict()["buffer"].tolist() == [*range(10, 20)]
