"""A chat endpoint on this machine that answers, refuses, stalls or talks nonsense, as a test tells it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, bytes, dict[str, str]]


def saying(content: Any, status: int = 200, **headers: str) -> Reply:
    """A reply in the form of a chat completion."""
    return status, json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode(), headers


class ChatServer(ThreadingHTTPServer):
    """Replies by a function of the number of the request, from 0, and of what it asks.

    Attributes:
        asked: path, headers and body of every request.
        drip: seconds before each byte of a reply.
        stall: seconds before a reply.
    """

    daemon_threads = True

    def __init__(self, reply: Callable[[int, dict[str, Any]], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply, self.drip, self.stall = reply, 0.0, 0.0
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *_: Any) -> None:
        """A client that went away is no error."""


class Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number = len(self.server.asked)
        self.server.asked.append((self.path, dict(self.headers), body))
        status, blob, headers = self.server.reply(number, body)
        time.sleep(self.server.stall)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(blob)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        for byte in [blob] if not self.server.drip else [blob[at : at + 1] for at in range(len(blob))]:
            time.sleep(self.server.drip)
            self.wfile.write(byte)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def chat_server(reply: Callable[[int, dict[str, Any]], Reply]) -> Iterator[ChatServer]:
    """A server in a thread, on a free port."""
    with ChatServer(reply) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
