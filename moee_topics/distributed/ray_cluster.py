"""The Ray cluster that is there, or one on this machine for as long as it is needed."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moee_topics.errors import InputError, ResourceError, import_extra
from moee_topics.messages import first_lines

# The texts of the groups in work are all that is in it, mostly a few MB each; more would go to the disk.
OBJECT_STORE_BYTES = 256_000_000


@contextmanager
def ray_cluster() -> Iterator[Any]:
    """The module ``ray``, connected: to what this process is connected to, ``RAY_ADDRESS``, a cluster that was begun
    on this machine, or one that is begun now and ends with the block.

    Raises:
        MissingExtraError: Ray is not installed.
        InputError: the cluster that is named does not answer.
        ResourceError: none could be begun on this machine.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray 2.60 warns of, and will do later
    ray = import_extra("ray", "ray")
    if ray.is_initialized():
        yield ray
        return
    terminate = signal.getsignal(signal.SIGTERM)
    _connect(ray)
    # Ray's own handler would end the process at once, with the store's lock in its hands.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)
    try:
        yield ray
    finally:
        ray.shutdown()


def _connect(ray: Any) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = os.environ.get("RAY_ADDRESS", "")
    if address.startswith("ray://"):
        raise InputError(
            f"RAY_ADDRESS is {address!r}, the address for clients outside. Begin this command on a machine of the "
            "cluster, or with ray job submit."
        )
    try:
        ray.init("auto", **quiet)
    except ray.exceptions.AuthenticationError as error:
        raise InputError(
            f"The Ray cluster does not let this process in ({first_lines(error)}). Its machines share a token: "
            "see ray get-auth-token."
        ) from error
    except ConnectionError as error:
        if address and address != "local":
            raise InputError(f"RAY_ADDRESS is {address!r}, and no Ray cluster answers there ({error}).") from error
        _begin(ray, quiet)


def _begin(ray: Any, options: dict[str, Any]) -> None:
    """A cluster on this machine, of which Ray gives up after half a minute and cannot be told to wait longer."""
    try:
        ray.init("local", include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **options)
    except Exception as error:
        if type(error) not in (Exception, RuntimeError, TimeoutError):
            raise
        # Ray 2.60 raises a bare Exception where its node is late, the others where one of its processes is.
        raise ResourceError(
            f"No Ray cluster could be begun on this machine ({first_lines(error)}). Ray waits half a minute, which a "
            "busy machine may not keep to: run the same command again when it has less to do, begin a cluster before "
            "with ray start --head, or leave out --ray, without which one process encodes."
        ) from error
