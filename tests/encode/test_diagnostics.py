"""Proofs on a tiny model: a broken kernel, unquantized experts or too many threads are failed checks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from moee_topics.encode import Check, diagnostics, guarded
from moee_topics.encode.models import experts, quantizer, small_operators
from moee_topics.errors import ModelError


def test_experts_left_in_16_bits_are_a_failed_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(model: object, kind: str) -> None:
        raise ModelError("experts take 2.000 bytes per weight")

    monkeypatch.setattr(quantizer, "check_quantized", refuse)
    with diagnostics.tiny_checkpoint() as folder:
        check = guarded(lambda: diagnostics.four_bit(folder))
    assert not check.ok
    assert "2.000 bytes" in check.detail


def test_a_wrong_experts_forward_is_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    right = experts.experts_forward
    monkeypatch.setattr(experts, "experts_forward", lambda *given: right(*given) * 1.5)
    with diagnostics.tiny_checkpoint() as folder:
        assert not diagnostics.four_bit(folder).ok


def test_too_many_threads_are_told_with_the_number_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(diagnostics.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert diagnostics.threads() == Check("threads", False, "64 threads on 2 cores", "Set OMP_NUM_THREADS=2.")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert diagnostics.threads() == Check("threads", True, "1 thread on 2 cores", "")


def test_the_passes_of_a_device_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = small_operators.Operators("triton", rms_norm=small_operators.rms_norm)
    monkeypatch.setattr(small_operators, "operators_for", lambda *_: found)
    assert diagnostics.operators().detail == "rms_norm by triton"
