"""The doctor: every check answers, and a broken machine is told apart from a sound one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import psutil
import pytest

from moee_topics.cli import doctor
from moee_topics.encode import POCKET
from moee_topics.topics.settings import Tokenizer

PROOFS = {"nf4 experts", "int8 experts", "packing", "router capture"}


def test_every_proof_holds_on_a_machine_that_passes_the_tests(capsys: pytest.CaptureFixture[str]) -> None:
    checks = {check.name: check for check in doctor.run_checks()}
    machine = {
        "versions",
        "device",
        "arithmetic",
        "8-bit integers",
        "float8",
        "small operators",
        "threads",
        "memory",
        "disk",
        "hub",
    }
    others = machine | {"embedded model", "tokenizers"}
    assert checks.keys() == PROOFS | others
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
    assert "config.json" in check.detail and "1 of 1 files of weights" in check.detail


def test_the_embedded_model_is_complete_and_a_lost_file_of_its_weights_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor.embedded_model() == doctor.Check("embedded model", True, "complete")
    for path in POCKET.iterdir():
        (tmp_path / path.name).touch()
    next(tmp_path.glob("*.safetensors")).unlink()
    monkeypatch.setattr("moee_topics.cli.doctor.POCKET", tmp_path)
    check = doctor.embedded_model()
    assert not check.ok and "files of weights" in check.detail


def test_every_tokenizer_of_a_recipe_is_told_with_its_language_and_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert doctor.TOKENIZERS.keys() == set(get_args(Tokenizer))
    monkeypatch.setattr(doctor, "installed_version", lambda package: "" if package == "pythainlp" else "1.0")
    check = doctor.tokenizers()
    assert check.ok and check.detail == "Chinese: jieba, Japanese: sudachi, Thai: none"
    assert "pip install 'moee-topics[thai]', then topics.tokenizer=pythainlp (Thai)." in check.advice
    monkeypatch.setattr(doctor, "installed_version", lambda package: "" if package == "sudachidict-core" else "1.0")
    assert "moee-topics[japanese]" in doctor.tokenizers().advice, "sudachi cuts nothing without its dictionary"
    monkeypatch.setattr(doctor, "installed_version", lambda package: "1.0")
    assert doctor.tokenizers().advice == ""


def test_the_extras_of_tokenizers_install_what_is_looked_for() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for _, extra, packages in doctor.TOKENIZERS.values():
        names = {re.split(r"[<>=]", requirement)[0] for requirement in project["optional-dependencies"][extra]}
        assert names == set(packages)


def test_little_memory_is_told_and_too_little_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, ok, told in ((8e9, True, False), (4e9, True, True), (1e9, False, True)):
        monkeypatch.setattr(psutil, "virtual_memory", lambda free=free: SimpleNamespace(available=free))
        check = doctor.memory()
        assert (check.ok, bool(check.advice)) == (ok, told)
