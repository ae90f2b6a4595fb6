"""A server in a thread, and a client that asks it."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from moee_topics.serve import ServeSettings, asgi_application
from moee_topics.serve.server import listening


@dataclass
class Answer:
    """What a server answered."""

    status: int
    body: bytes
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Asks one server."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask(urllib.request.Request(self.url(path), headers={**self.headers, **headers}))

    def post(self, path: str, body: Any) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **self.headers}
        return self._ask(urllib.request.Request(self.url(path), data, headers))

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    @staticmethod
    def _ask(request: urllib.request.Request) -> Answer:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Answer(answer.status, answer.read(), answer.headers)
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read(), error.headers)


class Served:
    """A server in a thread, at a free port of this machine."""

    def __init__(self, service: Any, settings: ServeSettings) -> None:
        self.socket = listening(settings)
        self.server = uvicorn.Server(uvicorn.Config(asgi_application(service, settings), log_level="warning"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)

    def __enter__(self) -> Client:
        self.thread.start()
        return Client(self.socket.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(30)
        self.socket.close()
