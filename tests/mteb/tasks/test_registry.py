"""Tasks of mteb's registry by name."""

from __future__ import annotations

import pytest

from moee_topics.errors import InputError
from moee_topics.mteb.tasks import hub_task

pytest.importorskip("mteb")


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(InputError, match="STS12"):
        hub_task("STS12x")
    with pytest.raises(InputError, match="only text"):
        hub_task("CIFAR10")
