"""A hub that does not answer costs no wait: its data comes from the cache, or an error says so at once."""

from __future__ import annotations

import ssl
import urllib.error
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from moee_topics.errors import InputError
from moee_topics.mteb.tasks import LocalTask, hub_retries, hub_task, load, local_task, texts_of

pytest.importorskip("mteb")
datasets = pytest.importorskip("datasets")
constants = pytest.importorskip("huggingface_hub").constants


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries as they are without HF_HUB_OFFLINE."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)


def answer(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def urlopen(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(hub_retries.urllib.request, "urlopen", urlopen)


@pytest.fixture
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(seconds: float) -> None:
        raise AssertionError("it was tried again")

    monkeypatch.setattr("time.sleep", sleep)


@pytest.mark.usefixtures("online", "no_sleep")
def test_a_task_whose_hub_does_not_answer_fails_without_a_second_try(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    answer(monkeypatch, urllib.error.URLError("no such host"))
    with pytest.raises(InputError, match=r"STS12 \(mteb/sts12-sts\).*does not answer.*Run once with a network"):
        load(hub_task("STS12"))
    assert not constants.HF_HUB_OFFLINE and not datasets.config.HF_HUB_OFFLINE


@pytest.mark.usefixtures("no_sleep")
def test_a_task_offline_on_purpose_fails_at_once_and_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    answer(monkeypatch, AssertionError("the network was asked"))
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        load(hub_task("STS12"))
    assert constants.HF_HUB_OFFLINE and datasets.config.HF_HUB_OFFLINE


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize(
    ("error", "answers"),
    [
        (urllib.error.HTTPError("https://hub", 405, "not allowed", Message(), None), True),
        (urllib.error.URLError(ssl.SSLCertVerificationError("unknown certificate")), True),
        (urllib.error.URLError("no such host"), False),
        (TimeoutError("timed out"), False),
    ],
)
def test_the_hub_is_there_if_anything_answers(monkeypatch: pytest.MonkeyPatch, error: Exception, answers: bool) -> None:
    answer(monkeypatch, error)
    with hub_retries.without_retries(hub_task("STS12")) as why_not_asked:
        assert (why_not_asked == "", constants.HF_HUB_OFFLINE) == (answers, not answers)
    assert not constants.HF_HUB_OFFLINE


@pytest.mark.usefixtures("online")
def test_a_cached_data_set_is_read_where_the_hub_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, urllib.error.URLError("no such host"))
    source = hub_task("STS12")
    offline: list[bool] = []
    monkeypatch.setattr(type(source.make()), "load_data", lambda self: offline.append(constants.HF_HUB_OFFLINE))
    load(source)
    assert offline == [True]


@pytest.mark.usefixtures("online")
def test_a_local_file_asks_no_hub(monkeypatch: pytest.MonkeyPatch, labelled: Path) -> None:
    answer(monkeypatch, AssertionError("the network was asked"))
    assert len(texts_of(local_task(LocalTask("Clustering", labelled)))) == 60
