"""The doctor: every check answers, and a broken machine is told apart from a sound one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from moee_topics.cli import doctor

PROOFS = {"nf4 experts", "int8 experts", "packing", "router capture"}


def test_every_proof_holds_on_a_machine_that_passes_the_tests(capsys: pytest.CaptureFixture[str]) -> None:
    checks = {check.name: check for check in doctor.run_checks()}
    assert checks.keys() >= PROOFS | {"versions", "device", "arithmetic", "threads", "memory", "disk", "hub"}
    assert all(checks[name].ok for name in PROOFS), [checks[name] for name in PROOFS]
    assert all(check.detail for check in checks.values())
    assert all(check.advice for check in checks.values() if not check.ok)
    assert capsys.readouterr().out == ""


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
