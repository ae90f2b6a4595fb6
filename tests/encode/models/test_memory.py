"""Freed memory goes back to the system where the C library would keep it, and nothing breaks where there is no such."""

from __future__ import annotations

import ctypes
import platform
import resource
import weakref

import pytest
import torch
from torch import nn

from moee_topics.encode.models import memory


def test_where_the_c_library_has_no_such_functions_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    memory.give_back()
    memory.keep_for_next_pass()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="tells glibc what to keep")
def test_what_a_pass_frees_is_there_for_the_next_one() -> None:
    memory.keep_for_next_pass()

    def faults_of_a_pass() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.ones(9 << 20, dtype=torch.uint8)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults_of_a_pass()
    assert faults_of_a_pass() < 2304, "fewer than the pages of one of its ten tensors"


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
