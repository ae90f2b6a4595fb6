from __future__ import annotations

import pytest

from moee_topics.encode.quantization import float8_checks


@pytest.fixture
def had(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this processor were a GPU that has float8."""
    monkeypatch.setattr(float8_checks, "lacking", lambda *_: "")
