"""A check of this machine or installation, and its outcome. Needs nothing that could be broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from moee_topics.errors import MoEETopicsError


@dataclass(frozen=True)
class Check:
    """One check and its outcome.

    Attributes:
        name: what was checked.
        ok: whether it is as it should be.
        detail: what it is.
        advice: what to do if it is not, or what would help; empty where nothing is to be done.
    """

    name: str
    ok: bool
    detail: str
    advice: str = ""


def guarded(check: Callable[[], Check]) -> Check:
    """Runs a check; one that fails by an error is a failed check with the error as its detail."""
    # What a broken installation raises. Anything else is a fault of ours, and has its traceback.
    try:
        return check()
    except (MoEETopicsError, ImportError, OSError, RuntimeError, ValueError, TypeError, AttributeError, KeyError) as e:
        name = getattr(getattr(check, "func", check), "__name__", "check").replace("_", " ")
        return Check(name, False, f"{type(e).__name__}: {e}", "Install the package again in a fresh environment.")
