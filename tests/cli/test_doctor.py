"""The doctor: every check answers, and a broken machine is told apart from a sound one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from moee_topics.cli import doctor
from moee_topics.encode import Check, guarded, proofs
from moee_topics.encode.models import experts, quantization
from moee_topics.errors import ModelError

PROOFS = {"nf4 experts", "int8 experts", "packing", "router capture"}


def test_every_proof_holds_on_a_machine_that_passes_the_tests(capsys: pytest.CaptureFixture[str]) -> None:
    checks = {check.name: check for check in doctor.run_checks()}
    assert checks.keys() >= PROOFS | {"versions", "device", "arithmetic", "threads", "memory", "disk", "hub"}
    assert all(checks[name].ok for name in PROOFS), [checks[name] for name in PROOFS]
    assert all(check.detail for check in checks.values())
    assert all(check.advice for check in checks.values() if not check.ok)
    assert capsys.readouterr().out == ""


def test_experts_left_in_16_bits_are_a_failed_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(model: object, kind: str) -> None:
        raise ModelError("experts take 2.000 bytes per weight")

    monkeypatch.setattr(quantization, "check_quantized", refuse)
    with proofs.tiny_checkpoint() as folder:
        check = guarded(lambda: proofs.four_bit(folder))
    assert not check.ok
    assert "2.000 bytes" in check.detail


def test_a_wrong_experts_forward_is_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    right = experts.experts_forward
    monkeypatch.setattr(experts, "experts_forward", lambda *given: right(*given) * 1.5)
    with proofs.tiny_checkpoint() as folder:
        assert not proofs.four_bit(folder).ok


def test_too_many_threads_are_told_with_the_number_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(proofs.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert proofs.threads() == Check("threads", False, "64 threads on 2 cores", "Set OMP_NUM_THREADS=2.")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TESTED", {"torch": "2.13", "no-such-package": "1.0"})
    check = doctor.versions()
    assert not check.ok
    assert "no-such-package" in check.detail


def test_a_missing_embedded_model_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moee_topics.cli.doctor.POCKET", tmp_path)
    check = doctor.embedded_model()
    assert not check.ok
    assert "config.json" in check.detail


def test_little_memory_is_told_and_too_little_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, ok, told in ((8e9, True, False), (4e9, True, True), (1e9, False, True)):
        monkeypatch.setattr(psutil, "virtual_memory", lambda free=free: SimpleNamespace(available=free))
        check = doctor.memory()
        assert (check.ok, bool(check.advice)) == (ok, told)


def test_an_error_in_a_check_is_a_failed_check_not_a_crash() -> None:
    def broken() -> Check:
        raise RuntimeError("no kernel image")

    check = guarded(broken)
    assert (check.name, check.ok) == ("broken", False)
    assert "no kernel image" in check.detail
