"""What a request has to pass before anything is computed."""

from __future__ import annotations

import base64
import http.client
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from served_runs import Client, Served

from moee_topics.serve import ServeSettings
from moee_topics.serve.service import TopicService

TOKEN = "a-token-of-24-characters"


@pytest.fixture(scope="module")
def guarded(service: TopicService) -> Iterator[Client]:
    with Served(service, ServeSettings(port=0, token=TOKEN, body_mib=1, body_seconds=1)) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/health", "/topics", "/predict", "/openapi.json", "/nowhere"])
def test_nothing_is_shown_without_the_token(guarded: Client, path: str) -> None:
    answer = guarded.get(path)
    assert answer.status == 401 and "Basic" in answer.headers["WWW-Authenticate"]


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


@pytest.mark.parametrize("shown", [f"Bearer {TOKEN}", basic(f"anybody:{TOKEN}")])
def test_the_token_lets_in_as_bearer_and_as_password(guarded: Client, shown: str) -> None:
    assert guarded.get("/health", Authorization=shown).status == 200


@pytest.mark.parametrize(
    "shown", ["", TOKEN, "Bearer", "Bearer x", f"Digest {TOKEN}", basic(TOKEN), basic("a:b"), "Basic ###", "Basic /w=="]
)
def test_anything_else_does_not(guarded: Client, shown: str) -> None:
    assert guarded.get("/health", Authorization=shown).status == 401


def test_a_body_of_100_mb_is_refused_before_it_has_come(client: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", str(100_000_000))
    connection.endheaders(b'{"documents": ["')
    answer = connection.getresponse()
    assert answer.status == 413 and b"larger than 1 MiB" in answer.read()


def test_a_body_that_does_not_tell_its_size_is_counted(client: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
    parts = (b"x" * 65536 for _ in range(64))
    headers = {"Transfer-Encoding": "chunked"}
    with suppress(BrokenPipeError, ConnectionResetError):  # it is refused while it is sent
        connection.request("POST", "/predict", body=parts, encode_chunked=True, headers=headers)
    assert connection.getresponse().status == 413


def test_a_body_that_never_ends_is_not_waited_for(guarded: Client) -> None:
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=30) as own:
        head = (
            f"POST /predict HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 10\r\n\r\n"
        )
        own.sendall(head.encode() + b"{")
        assert b"408" in own.recv(4096).split(b"\r\n")[0]


def test_a_page_of_the_web_cannot_reach_it_by_a_name_of_its_own(client: Client) -> None:
    assert client.get("/topics", Host="evil.example").status == 400
    assert client.get("/topics", Host=f"localhost:{client.port}").status == 200
