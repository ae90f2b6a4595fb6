"""A language model behind HTTP, in the form of OpenAI's chat completions, as vLLM, llama.cpp and Ollama have it too."""

from __future__ import annotations

import ipaddress
import json
import os
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError

from moee_topics.defaults import OFFLINE_VARIABLES, SEED
from moee_topics.errors import InputError, ModelError
from moee_topics.messages import shortened

KEY_VARIABLE = "OPENAI_API_KEY"
BUSY = (408, 429, 500, 502, 503, 504)
"""Statuses after which the same request may be answered."""
LONGEST_ANSWER = 1 << 20
LONGEST_CONNECT, LONGEST_WAIT = 10, 30
BACKOFF = 0.5
"""Seconds before the second attempt; each further one waits twice as long, and up to as much again by chance."""
BYTES_PER_TOKEN = 4
"""Of English, roughly; the endpoint's own tokenizer is not here."""


@dataclass(frozen=True)
class ChatEndpoint:
    """An endpoint that is asked one prompt at a time.

    Attributes:
        base_url: such as ``http://localhost:11434/v1``.
        model: what the endpoint calls it.
        most_tokens: that an answer has.
        seconds: that one attempt may take.
        attempts: how often a busy, dead or slow endpoint is asked, with growing pauses.
        key: of the account, where the endpoint wants one. It comes from the environment and is written nowhere.
    """

    base_url: str
    model: str
    most_tokens: int
    seconds: float = 60
    attempts: int = 4
    key: str | None = field(default_factory=lambda: os.environ.get(KEY_VARIABLE) or None, repr=False)

    def __post_init__(self) -> None:
        """Looks at the address, and sends nothing.

        Raises:
            InputError: it is not an endpoint's address, would carry the key in the clear, or is on the network where
                that is forbidden.
        """
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            # A password in it would be shown here, and in every later message.
            raise InputError(
                "base_url is not the address of an endpoint. Expected one such as http://localhost:11434/v1, without "
                f"name or password; a key belongs in the environment variable {KEY_VARIABLE}."
            )
        if is_here(parts.hostname):
            return
        if any(os.environ.get(name, "0") not in ("", "0") for name in OFFLINE_VARIABLES):
            raise InputError(
                f"{self.base_url} is on the network, which --offline or {OFFLINE_VARIABLES[0]} forbids. Use a model of "
                "this machine."
            )
        if self.key and parts.scheme == "http":
            raise InputError(
                f"{self.base_url} would get the key of {KEY_VARIABLE} in the clear. Use https, or unset the variable."
            )

    @property
    def identity(self) -> dict[str, Any]:
        """What an answer depends on beside its prompt."""
        facts = {"provider": "openai", "base_url": self.base_url, "model": self.model}
        return {**facts, "most_tokens": self.most_tokens}

    def count(self, prompt: str) -> int:
        """Tokens of a prompt, roughly."""
        return -(-len(prompt.encode("utf-8", "replace")) // BYTES_PER_TOKEN)

    def answer(self, prompt: str) -> str:
        """What the model says to a prompt.

        Raises:
            ModelError: the endpoint is dead, too slow, refuses, or what it sends is not an answer.
        """
        blob = json.dumps(
            {"model": self.model, "messages": [{"role": "user", "content": prompt}], "temperature": 0, "seed": SEED}
            | {"max_tokens": self.most_tokens}
        ).encode()
        status, said = self._post(f"{self.base_url.rstrip('/')}/chat/completions", blob)
        if status != 200:
            text = self._without_key(said.decode("utf-8", "replace"))
            raise ModelError(f"{self.base_url} refuses with status {status}: {shortened(text)}.")
        try:
            content = json.loads(said)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError):
            content = None
        if not isinstance(content, str):
            text = self._without_key(said.decode("utf-8", "replace"))
            raise ModelError(
                f"{self.base_url} answers {shortened(text)}, expected a chat completion as JSON. Is it the address of "
                "an endpoint that is compatible with OpenAI's?"
            )
        return content

    def _post(self, url: str, blob: bytes) -> tuple[int, bytes]:
        """The status and the body of the last attempt."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        try:
            # No redirects: they would carry key and documents to another place.
            response = self._pool.request(
                "POST", url, body=blob, headers=headers, redirect=False, preload_content=False, retries=self._retries
            )
            try:
                return response.status, self._body(response)
            finally:
                response.close()
        except (HTTPError, ValueError, OSError) as error:
            raise ModelError(
                f"{self.base_url} did not answer ({type(error).__name__}, at most {self.attempts} attempts of "
                f"{self.seconds:g} s). Is the endpoint running?"
            ) from error

    def _body(self, response: urllib3.BaseHTTPResponse) -> bytes:
        """All that is said, in the time of one attempt: one byte a second would keep every single read alive."""
        ends, parts, size = time.monotonic() + self.seconds, [], 0
        while part := response.read1(1 << 16):
            parts.append(part)
            size += len(part)
            if time.monotonic() > ends or size > LONGEST_ANSWER:
                raise ReadTimeoutError(self._pool, self.base_url, "an answer without end")  # type: ignore[arg-type]
        return b"".join(parts)

    @property
    def _retries(self) -> urllib3.Retry:
        return urllib3.Retry(
            self.attempts - 1,
            allowed_methods=None,  # a question changes nothing, though it is a POST
            status_forcelist=BUSY,
            backoff_factor=BACKOFF,
            backoff_jitter=BACKOFF,
            backoff_max=LONGEST_WAIT,
            retry_after_max=LONGEST_WAIT,
            raise_on_status=False,
        )

    @cached_property
    def _pool(self) -> urllib3.PoolManager:
        timeout = urllib3.Timeout(connect=min(self.seconds, LONGEST_CONNECT), read=self.seconds)
        return urllib3.PoolManager(timeout=timeout)

    def _without_key(self, text: str) -> str:
        return text.replace(self.key, "…") if self.key else text


def is_here(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
