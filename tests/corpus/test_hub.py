"""Data sets of the hub."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from corpus_files import opened, refused

from moee_topics.errors import MissingExtraError


def test_hub_data_sets_need_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"moee-topics\[hub\]"):
        list(opened("hub:someone/something"))


def test_hub_labels_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"text": "one", "label": 1}, {"text": "two", "label": 0}, {"text": "three", "label": -1}]

    class DataSet(list[dict[str, Any]]):
        features = SimpleNamespace(get={"label": SimpleNamespace(names=["no", "yes"])}.get)

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=lambda *_, **__: DataSet(rows)))
    assert [(document.text, document.label) for document in opened("hub:someone/something")] == [
        ("one", "yes"),
        ("two", "no"),
        ("three", "-1"),
    ]
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=lambda *_, **__: DataSet()))
    assert "corpus.split" in refused("hub:someone/something")


def test_a_hub_data_set_that_cannot_be_opened_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("Unknown split")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=fail))
    assert "someone/something" in (message := refused("hub:someone/something")) and "Unknown split" in message


def test_a_data_set_saved_to_disk_is_read_with_the_names_of_its_classes(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra [hub]")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    data = datasets.Dataset.from_dict({"text": ["one", "two"], "label": [1, 0]}, features=features)
    data.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=data, test=data.select([0])).save_to_disk(tmp_path / "two")
    expected = [("one", "yes"), ("two", "no")]
    for folder in ("one", "two"):
        assert [(document.text, document.label) for document in opened(tmp_path / folder)] == expected
    assert [document.text for document in opened(tmp_path / "two", split="test")] == ["one"]
    assert "has no split 'dev', but train, test" in refused(tmp_path / "two", split="dev")
    assert "has no column 'body'" in refused(tmp_path / "one", text="body")
    for damaged in ("one/state.json", "one/data-00000-of-00001.arrow"):
        (tmp_path / damaged).write_bytes(b"{}")
        assert "cannot be read as a saved data set" in refused(tmp_path / "one")
