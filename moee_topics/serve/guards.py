"""What a request has to pass before anything is computed: a known host name, the token, a body of bounded size."""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moee_topics.serve.settings import MIB, ServeSettings


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer to a request that is not carried out, in the form of the command line's ``--json``."""
    return JSONResponse({"error": {"kind": "RequestError", "message": message}}, status, dict(headers or {}))


class TokenGuard:
    """Lets in who shows the token: as a bearer token, or as the password of any user, for which browsers ask."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 401 to who does not show it."""
        if scope["type"] == "http" and not self._is_shown(Headers(scope=scope).get("authorization", "")):
            answer = refusal(
                401,
                "This server asks for a token: Authorization: Bearer TOKEN.",
                {"WWW-Authenticate": 'Basic realm="moee-topics", charset="UTF-8"'},
            )
            await answer(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _is_shown(self, authorization: str) -> bool:
        scheme, _, shown = authorization.partition(" ")
        if scheme.lower() == "basic":
            try:
                shown = base64.b64decode(shown, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return False
        elif scheme.lower() != "bearer":
            return False
        # In a time that does not tell how much of it was right.
        return secrets.compare_digest(shown.encode(), self.token)


class BodyGuard:
    """Reads the body of a request before the application sees any of it, unless it is too large or too slow."""

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 413 to a body that is too large, before the rest of it has come, and 408 to one that is too slow."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        largest = self.settings.body_mib * MIB
        told = Headers(scope=scope).get("content-length", "0")
        try:
            body = None if told.isdecimal() and int(told) > largest else await self._body(receive, largest)
        except TimeoutError:
            await refusal(408, f"The body did not come within {self.settings.body_seconds} seconds.")(
                scope, receive, send
            )
            return
        if body is None:
            message = f"The body is larger than {self.settings.body_mib} MiB. Send fewer documents at a time."
            # The rest is not read, so the connection cannot carry another request.
            await refusal(413, message, {"Connection": "close"})(scope, receive, send)
            return
        await self.app(scope, _again(body, receive), send)

    async def _body(self, receive: Receive, largest: int) -> bytes | None:
        """The body; None if it is too large."""
        body = bytearray()
        async with asyncio.timeout(self.settings.body_seconds):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > largest:
                    return None
                if not message.get("more_body", False):
                    return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already, and then what the connection says."""
    first = True

    async def received() -> Message:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return received
