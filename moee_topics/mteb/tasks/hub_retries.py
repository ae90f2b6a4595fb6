"""Whether the hub answers, asked once and briefly, so that nobody waits where it does not."""

from __future__ import annotations

import contextlib
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator

from moee_topics.mteb.tasks.task_source import TaskSource

SECONDS = 3.0


@contextlib.contextmanager
def without_retries(source: TaskSource) -> Iterator[str]:
    """Inside, a task's data comes from the cache alone where the hub does not answer or ``HF_HUB_OFFLINE`` is set.

    Yields:
        Why the hub is not asked; empty where it is, or where the task is a local file.
    """
    from datasets import config
    from huggingface_hub import constants

    if source.local:
        yield ""
    elif constants.HF_HUB_OFFLINE or config.HF_HUB_OFFLINE:
        yield "HF_HUB_OFFLINE is set"
    elif hub_answers(constants.ENDPOINT):
        yield ""
    else:
        # huggingface_hub 1.x asks six times, with 23 s of sleep between, for each file of a data set. Both libraries
        # read the variable once, when they are imported, so it is their own values that must change.
        constants.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE = True
        try:
            yield f"{constants.ENDPOINT} does not answer"
        finally:
            constants.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE = False


def hub_answers(address: str) -> bool:
    """Whether anything answers there within three seconds; proxies of the environment are used."""
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=SECONDS).close()
    except urllib.error.HTTPError:
        return True  # it refuses this question, but it is there
    except OSError as error:
        # A certificate that Python does not know may be known to the hub's own client.
        return isinstance(getattr(error, "reason", None), ssl.SSLError)
    return True
