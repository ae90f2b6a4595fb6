"""A chat endpoint that is well, busy, slow, dead, hostile or none; the key goes nowhere but there."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from chat_servers import Reply, chat_server, saying

from moee_topics import chat_endpoint
from moee_topics.chat_endpoint import KEY_VARIABLE, ChatEndpoint
from moee_topics.defaults import OFFLINE_VARIABLES
from moee_topics.errors import InputError, ModelError

KEY = "sk-very-secret"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_endpoint, "BACKOFF", 0.0)
    monkeypatch.setattr(chat_endpoint, "LONGEST_WAIT", 0)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


def asked(reply: Callable[[int, dict[str, Any]], Reply], **options: Any) -> tuple[str, list[Any]]:
    with chat_server(reply) as server:
        return ChatEndpoint(server.base_url, "m", 16, **options).answer("a question"), server.asked


def test_a_question_is_one_chat_completion_greedy_and_with_the_key() -> None:
    answer, requests = asked(lambda *_: saying("an answer"), key=KEY)
    ((path, headers, body),) = requests
    assert answer == "an answer" and path == "/v1/chat/completions" and headers["Authorization"] == f"Bearer {KEY}"
    assert body["messages"] == [{"role": "user", "content": "a question"}]
    assert body["temperature"] == 0 and body["max_tokens"] == 16 and body["model"] == "m"


def test_the_key_is_of_the_environment_and_in_no_repr_and_no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ChatEndpoint("http://localhost/v1", "m", 16).key is None
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    endpoint = ChatEndpoint("http://localhost/v1", "m", 16)
    assert endpoint.key == KEY and KEY not in f"{endpoint!r} {endpoint.identity}"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_endpoint_is_asked_again(status: int) -> None:
    answer, requests = asked(lambda number, _: saying("late", 200 if number == 2 else status, Retry_After="3600"))
    assert answer == "late" and len(requests) == 3


def test_one_that_stays_busy_is_asked_no_more_than_was_said() -> None:
    with chat_server(lambda *_: saying("no", 503)) as server:
        with pytest.raises(ModelError, match="refuses with status 503"):
            ChatEndpoint(server.base_url, "m", 16, attempts=3).answer("a question")
        assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ((401, f"Incorrect key {KEY}".encode(), {}), "refuses with status 401: 'Incorrect key …'"),
        ((302, b"", {"Location": "http://127.0.0.1:1/elsewhere"}), "status 302"),
        ((200, b"<html>hello</html>", {}), "expected a chat completion"),
        ((200, b"", {}), "expected a chat completion"),
        ((200, b'{"choices": []}', {}), "expected a chat completion"),
        ((200, b'{"choices": [{"message": null}]}', {}), "expected a chat completion"),
        ((200, b"\xff\xfe", {}), "expected a chat completion"),
        ((200, b"[" * 100_000, {}), "expected a chat completion"),
        (saying(None), "expected a chat completion"),
        (saying(["Space"]), "expected a chat completion"),
        ((200, b"short", {"Content-Length": "500"}), "did not answer"),
        ((200, b"x" * (2 << 20), {}), "did not answer"),
    ],
)
def test_nonsense_is_told_in_one_line_without_the_key(reply: Reply, said: str) -> None:
    with pytest.raises(ModelError) as caught:
        asked(lambda *_: reply, key=KEY, seconds=1)
    assert said in str(caught.value) and KEY not in str(caught.value) and len(str(caught.value)) < 400


def test_a_slow_endpoint_is_given_up_whether_it_stalls_or_drips() -> None:
    with chat_server(lambda *_: saying("an answer")) as server:
        endpoint = ChatEndpoint(server.base_url, "m", 16, seconds=0.2, attempts=2)
        server.stall = 0.6
        with pytest.raises(ModelError, match=r"did not answer.*2 attempts of 0\.2 s"):
            endpoint.answer("a question")
        assert len(server.asked) == 2
        server.stall, server.drip = 0, 0.05
        with pytest.raises(ModelError, match="did not answer"):
            endpoint.answer("a question")


def test_a_dead_endpoint_is_told() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(ModelError, match="Is the endpoint running"):
        ChatEndpoint(base_url, "m", 16, attempts=2, seconds=1).answer("a question")


@pytest.mark.parametrize("base_url", ["", "localhost:80", "ftp://host/v1", "http://", "http://me:secret@host/v1"])
def test_what_is_no_address_is_refused_and_a_password_is_not_shown(base_url: str) -> None:
    with pytest.raises(InputError, match="not the address of an endpoint") as caught:
        ChatEndpoint(base_url, "m", 16)
    assert "secret" not in str(caught.value)


def test_the_network_is_asked_only_where_it_may_be_and_never_told_the_key_in_the_clear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in OFFLINE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    ChatEndpoint("https://example.org/v1", "m", 16, key=KEY)
    ChatEndpoint("http://127.0.0.1/v1", "m", 16, key=KEY)
    with pytest.raises(InputError, match="in the clear"):
        ChatEndpoint("http://example.org/v1", "m", 16, key=KEY)
    monkeypatch.setenv(OFFLINE_VARIABLES[0], "1")
    with pytest.raises(InputError, match="--offline"):
        ChatEndpoint("https://example.org/v1", "m", 16)
    ChatEndpoint("http://localhost/v1", "m", 16)


def test_tokens_are_guessed_by_bytes() -> None:
    assert [ChatEndpoint("http://localhost/v1", "m", 16).count(text) for text in ("", "abc", "ab" * 4)] == [0, 1, 2]
