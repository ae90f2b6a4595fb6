"""To whom a run is served."""

from __future__ import annotations

import pytest

from moee_topics.errors import InputError
from moee_topics.serve.settings import TOKEN_VARIABLE, ServeSettings


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.5"])
def test_this_machine_needs_no_token(host: str) -> None:
    assert ServeSettings(host, token=None).is_local


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "topics.example", ""])
def test_other_machines_are_not_served_without_a_token(host: str) -> None:
    with pytest.raises(InputError, match=TOKEN_VARIABLE):
        ServeSettings(host, token=None)
    assert not ServeSettings(host, token="0123456789abcdef").is_local


def test_a_token_comes_from_the_environment_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "0123456789abcdef")
    settings = ServeSettings("0.0.0.0")
    assert settings.token == "0123456789abcdef" and "0123456789" not in repr(settings)
    monkeypatch.setenv(TOKEN_VARIABLE, "")
    with pytest.raises(InputError, match="0 characters, expected 16"):
        ServeSettings()


def test_a_port_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="70000, expected 0 to 65535"):
        ServeSettings(port=70_000)
