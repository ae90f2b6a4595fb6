"""A run served over HTTP until it is interrupted."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from moee_topics.errors import InputError, import_extra
from moee_topics.serve.settings import ServeSettings

EXTRA = "serve"


def serve(
    folder: Path, settings: ServeSettings, *, device: str | None = None, ready: Callable[[str], None] | None = None
) -> None:
    """Loads a run and answers requests until it is interrupted; what was asked before is answered then.

    Args:
        folder: of a finished run.
        settings: where, to whom and how much.
        device: other than the one of the run.
        ready: is told the address, once requests are answered.

    Raises:
        MissingExtraError: fastapi or uvicorn is not installed.
        InputError: the folder holds no finished run, or the address cannot be listened at.
        ModelError: the model is gone, or is not the one the run was encoded with.
    """
    uvicorn = import_extra("uvicorn", EXTRA)
    import_extra("fastapi", EXTRA)
    from moee_topics.serve.application import asgi_application
    from moee_topics.serve.service import TopicService

    with listening(settings) as own_socket:  # before the model is loaded, since that takes minutes
        app = asgi_application(TopicService.load(folder, device=device), settings)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", server_header=False))
        if ready is not None:
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            ready(f"http://{host}:{own_socket.getsockname()[1]}")
        # uvicorn raises it once more after the last answer, when nothing is left to interrupt.
        with suppress(KeyboardInterrupt):
            server.run(sockets=[own_socket])


def listening(settings: ServeSettings) -> socket.socket:
    """A socket at the address of some settings.

    Raises:
        InputError: another program listens there, it is not an address of this machine, or the port is reserved.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        own_socket = socket.socket(family, kind, protocol)
        own_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own_socket.bind(address)
        own_socket.listen(128)
    except OSError as error:
        raise InputError(
            f"Nothing can be served at {settings.host}, port {settings.port}: {error.strerror}. Give another --port "
            "(0 takes a free one) or --host."
        ) from error
    return own_socket
