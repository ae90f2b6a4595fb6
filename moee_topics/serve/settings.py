"""Where a run is served, to whom, and how much one request may ask for."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import ConfigDict, Field, with_config

from moee_topics.errors import InputError

TOKEN_VARIABLE = "MOEE_TOPICS_TOKEN"
SHORTEST_TOKEN = 16
LAST_PORT = 65_535
MIB = 1 << 20


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class ServeSettings:
    """Where a run is served, to whom, and how much one request may ask for.

    Attributes:
        host: the address to listen at. Any but this machine's own asks for a token.
        port: 0 takes one that is free.
        per_request: at most so many documents in one request.
        body_mib: at most so many MiB of the body of a request.
        body_seconds: in which it has to arrive.
        queue: at most so many documents of all requests wait; who would make them more is told to come again (503).
        one_by_one: each document goes through the model alone, in more than twice the time (docs/serve.md).
        token: what a client has to show, as a bearer token or as the password of any user; None lets everybody in. It
            comes from the environment, since others on the machine can read a command line.
    """

    host: Annotated[str, Field(description=f"Address to listen at; others need {TOKEN_VARIABLE} set.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, description="0 takes a free one.")] = 8000
    per_request: Annotated[int, Field(ge=1, description="Documents of a request, at most.")] = 1000
    body_mib: Annotated[int, Field(ge=1, description="MiB of the body of a request, at most.")] = 16
    body_seconds: Annotated[int, Field(ge=1, description="In which it has to arrive.")] = 30
    queue: Annotated[int, Field(ge=1, description="Documents of all requests that may wait.")] = 20_000
    one_by_one: Annotated[bool, Field(description="Bits that do not depend on what is asked beside.")] = False
    token: str | None = field(default_factory=lambda: os.environ.get(TOKEN_VARIABLE), repr=False)

    def __post_init__(self) -> None:
        """Refuses to serve other machines without a token: the report holds the documents.

        Raises:
            InputError: there is none, or a short one; or there is no such port.
        """
        if self.port > LAST_PORT:
            raise InputError(f"The port is {self.port}, expected 0 to {LAST_PORT}.")
        if self.token is not None and len(self.token) < SHORTEST_TOKEN:
            raise InputError(
                f"The token in {TOKEN_VARIABLE} has {len(self.token)} characters, expected {SHORTEST_TOKEN} or more, "
                "such as `openssl rand -hex 16` makes."
            )
        if self.token is None and not self.is_local:
            raise InputError(
                f"{self.host} can be reached from other machines, and everybody there could read the documents. Set a "
                f"token in the environment variable {TOKEN_VARIABLE}, or leave --host out to serve this machine alone."
            )

    @property
    def is_local(self) -> bool:
        """Whether nobody but this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
