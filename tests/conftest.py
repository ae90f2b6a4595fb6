from __future__ import annotations

import os
import warnings
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command

# The suite gives the same answers on every machine, so it sees no GPU; `make test-gpu` runs what is about one.
if not os.environ.get("MOEE_TOPICS_TEST_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

from tiny_models import save_checkpoint, tiny_olmoe_config, tiny_qwen2_moe_config

import moee_topics  # noqa: F401 - before numba, which it holds to the threads of OpenMP


def as_utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """xdist 3.8 breaks off at a report that is not UTF-8, and of mutated files halves of letters come into the log."""
    report = yield
    report.sections = [(title, as_utf8(text)) for title, text in report.sections]
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_warning_recorded(warning_message: warnings.WarningMessage) -> None:
    """The same of warnings."""
    if isinstance(warning_message.message, Warning):
        arguments = warning_message.message.args
        warning_message.message.args = tuple(as_utf8(one) if isinstance(one, str) else one for one in arguments)


@pytest.fixture(scope="session", autouse=True)
def without_syncs() -> Iterator[None]:
    """Nothing loses its power here, and to wait for a disk takes milliseconds: whoever counts syncs puts in his own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def commands_made_once() -> Iterator[None]:
    """typer's runner would make all commands of the application anew for each call, half the time of a short one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.testing._get_command", cache(get_command))
        yield


@pytest.fixture(scope="session")
def tiny_olmoe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random OLMoE with config, tokenizer.json and sharded per-expert safetensors."""
    return save_checkpoint(tiny_olmoe_config(), tmp_path_factory.mktemp("hub") / "tiny-olmoe")


@pytest.fixture(scope="session")
def tiny_qwen2_moe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random Qwen2-MoE: one dense layer, two sparse ones, a shared expert."""
    return save_checkpoint(tiny_qwen2_moe_config(), tmp_path_factory.mktemp("hub") / "tiny-qwen2-moe")
