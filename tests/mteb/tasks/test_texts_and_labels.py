"""The texts of a task: what an evaluation encodes, and no data said so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moee_topics.errors import InputError
from moee_topics.mteb.tasks import LocalTask, hub_task, load, local_task, texts_of


def test_the_recorder_finds_exactly_what_is_encoded(labelled: Path) -> None:
    source = local_task(LocalTask("Clustering", labelled, sample=20))
    assert len(texts_of(source)) == 20
    assert texts_of(source) == texts_of(source)


def test_missing_data_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    source = hub_task("STS12")

    def no_network(self: Any, **kwargs: Any) -> None:
        raise ConnectionError("Couldn't reach the hub\nand more")

    monkeypatch.setattr(type(source.make()), "load_data", no_network)
    with pytest.raises(InputError, match=r"STS12 \(mteb/sts12-sts\).*Couldn't reach the hub\. Run once with a network"):
        load(source)
